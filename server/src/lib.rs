//! Razor Microkernel's server: machines boot from it and check in to it, it decides which machine is which node, keeps
//! what they reported, and shows it to operators.
//!
//! Request to answer: [`http`] reads it, [`registry`] carries it out in one transaction by the rules of [`identity`],
//! [`store`] makes that durable. [`watchers`] and [`webhooks`] tell who wants to know. [`describe`], [`difference`] and [`wording`] put
//! it in words; [`page`] shows them in a browser, and [`cli`], a client of the API like any other, on a terminal.
//! [`simulate`] plays the machines.

pub mod backup;
pub mod bundles;
pub mod cli;
pub mod config;
pub mod describe;
pub mod difference;
pub mod drift;
pub mod fleet;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
pub mod health;
pub mod http;
pub mod human;
pub mod identity;
pub mod image;
pub mod limits;
pub mod logging;
pub mod metrics;
pub mod mirror;
pub mod narrate;
pub mod neighbours;
pub mod newcomers;
pub mod page;
pub mod rack;
pub mod ready;
pub mod registry;
pub mod serve;
pub mod simulate;
pub mod store;
pub mod tls;
pub mod upkeep;
pub mod waits;
pub mod watchers;
pub mod webhooks;
pub mod wording;
