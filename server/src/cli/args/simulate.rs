//! `mk-server simulate`.

use clap::Args as ClapArgs;

/// Let made-up machines boot and check in.
#[derive(Debug, ClapArgs)]
pub struct Simulate {
    /// How many.
    #[arg(long, value_name = "N")]
    pub nodes: u32,
    /// Number of the first one, from 0; machines with the same numbers are the same machines.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub first: u32,
    /// Seconds between two check-ins of a machine, more or less a tenth; 0: each checks in again as soon as it is answered.
    #[arg(long, value_name = "SECONDS", default_value_t = 60.0, value_parser = seconds)]
    pub interval: f64,
    /// Seconds for which they do so, once all are in.
    #[arg(long, value_name = "SECONDS", default_value_t = 60.0, value_parser = seconds)]
    pub duration: f64,
    /// Of a hundred check-ins, those with a report in which something has changed.
    #[arg(long, value_name = "PERCENT", default_value_t = 1, value_parser = clap::value_parser!(u8).range(0..=100))]
    pub changed: u8,
    /// Least length of a whole report: parts of the recorded machines are repeated until it is reached.
    #[arg(long, value_name = "BYTES", default_value_t = 40_000)]
    pub report_bytes: usize,
    /// Connections at a time.
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..))]
    pub connections: u32,
    /// First ask for /healthz over the same connections for as long, as fast as answers come, to compare with.
    #[arg(long)]
    pub healthz: bool,
    /// Do so although the server has nodes that are real machines. They and the made-up ones stay in one database.
    #[arg(long)]
    pub among_real_nodes: bool,
    /// Print JSON instead.
    #[arg(long)]
    pub json: bool,
}

fn seconds(text: &str) -> Result<f64, String> {
    let seconds = text.parse().ok().filter(|s: &f64| (0.0..=1e8).contains(s));
    seconds.ok_or_else(|| "it must be a number of seconds from 0".to_owned())
}
