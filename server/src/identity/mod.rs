//! Which node is this machine? Pure decisions over claims and reports: no database, no clock, no network.
//!
//! [`canonical`] brings hardware values into razor-server's form, [`report`] takes them from facts and inventory, [`keys`]
//! says which of them may decide ([`mac`] and [`placeholders`] judge single values), and [`decide`] chooses a row of the
//! decision table, weighing [`evidence`] by [`comparison`]. [`change`] says what a machine with other parts would report.

pub mod canonical;
pub mod change;
pub mod comparison;
pub mod decide;
pub mod evidence;
pub mod keys;
pub mod length;
pub mod mac;
pub mod placeholders;
pub mod report;
