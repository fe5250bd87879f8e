//! Unit `devices`: what udev does elsewhere. It mounts the extensions that carry drivers and firmware, loads a module for
//! every device that names one, goes on doing so for devices that appear later, and says by name what is missing.
//! Nodes in `/dev` are the kernel's own affair (devtmpfs).

mod alias;
mod coldplug;
mod database;
mod early;
mod findings;
mod firmware;
mod insert;
pub(crate) mod kmsg;
pub(crate) mod pattern;
mod schedule;
pub(crate) mod table;
pub(crate) mod uevent;
mod unit;

use std::collections::BTreeMap;
use std::sync::mpsc::{Sender, channel};
use std::thread;
use std::time::Instant;

use anyhow::{Context as _, bail, ensure};
use wire::card::Span;

use self::database::Database;
use self::unit::{Event, Unit};
use crate::limits::SMALL_STACK;
use crate::settings::Settings;
use crate::state::uptime_ms;

/// Runs the unit until it is told to stop.
///
/// # Errors
/// When no thread can be started or all sources of events ended.
pub(crate) fn run() -> anyhow::Result<()> {
    let (sender, events) = channel();
    // Subscribed before the first look at the devices, so that none falls between the two.
    listen(&sender)?;
    let (begin, begin_ms) = (Instant::now(), uptime_ms());
    let image = Settings::load().image;
    let database = tables(&image.deny_modules);
    tracing::debug!("module tables read after {} ms", begin.elapsed().as_millis());
    let first = early::load_mounting(&database);
    let extensions = early::mount_all(&image);
    early::mount_efi_variables(&database);
    tracing::debug!("drivers and firmware in place after {} ms", begin.elapsed().as_millis());
    let mounting = Span::between(begin_ms, uptime_ms());
    Unit::new(database, extensions, first, mounting, sender).run(&events)
}

/// The running kernel's tables; empty ones, with an error in the log, if there are none: what is built into the kernel
/// works all the same.
fn tables(denied: &BTreeMap<String, String>) -> Database {
    let load = || {
        let system = nix::sys::utsname::uname().context("the kernel does not tell its release")?;
        Database::load(&system.release().to_string_lossy(), denied)
    };
    load().unwrap_or_else(|error| {
        tracing::error!("{error:#}");
        Database::default()
    })
}

/// Loads these modules with what they need; gives the names of those that do not load, each with the reason. Tables are read
/// anew, since an extension may have brought modules.
pub(crate) fn load_modules(names: &[String], denied: &BTreeMap<String, String>) -> Vec<String> {
    if names.is_empty() {
        return Vec::new();
    }
    let database = tables(denied);
    let load = |name: &str| -> anyhow::Result<()> {
        let name = table::underscored(name.split(".ko").next().unwrap_or(name));
        let steps = database.steps(std::slice::from_ref(&name));
        ensure!(!steps.is_empty() || database.is_built_in(&name), "the kernel's tables do not name it");
        if let Some((step, why)) = steps.iter().find_map(|step| Some((step, database.denied(&step.module)?))) {
            bail!("{} is never loaded: {why}", step.module);
        }
        steps
            .iter()
            .try_for_each(|step| insert::insert(&database.path(&step.file)).with_context(|| step.module.clone()))
    };
    names.iter().filter_map(|name| Some(format!("{name:.80}: {:#}", load(name).err()?))).collect()
}

/// Starts the threads that listen to the kernel. Without one of them the unit works, but learns less.
fn listen(sender: &Sender<Event>) -> anyhow::Result<()> {
    let spawn = |name: &str, listener: Box<dyn FnOnce() -> anyhow::Result<()> + Send>| {
        let logged = move || {
            if let Err(error) = listener() {
                tracing::error!("{error:#}");
            }
        };
        thread::Builder::new()
            .name(name.to_owned())
            .stack_size(SMALL_STACK)
            .spawn(logged)
            .map(drop)
            .with_context(|| format!("no thread can be started for {name}"))
    };
    match uevent::Listener::open() {
        Ok(listener) => {
            let sender = sender.clone();
            spawn(
                "uevents",
                Box::new(move || {
                    loop {
                        sender.send(Event::Kernel(listener.next()?)).context("nobody listens to device events")?;
                    }
                }),
            )?;
        }
        Err(error) => tracing::error!("{error:#}"),
    }
    let sender = sender.clone();
    spawn(
        "firmware",
        Box::new(move || {
            kmsg::follow(|missing| {
                let _: Result<(), _> = sender.send(Event::Firmware(missing));
            })
        }),
    )
}
