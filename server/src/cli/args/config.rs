//! `mk-server config`.

use clap::Subcommand;

use super::How;

/// What `config set` says of values that are no single word.
const SETTING_HELP: &str = "\
A value from a file or a folder:
  mk_facts_d=@DIR    files with facts: NAME.json, NAME.toml, NAME.txt
  mk_units=@DIR      unit files: NAME.toml
  KEY=@FILE          the value itself; of mk_facts_d, mk_units and mk_tce_sha256 a JSON object

Each takes the place of the whole value before. docs/OPERATORS.md has all keys.";

/// Show and change the configuration that nodes are sent.
#[derive(Debug, Subcommand)]
#[command(after_help = format!("Keys: {}.", wire::config::APPLIED.join(", ")))]
pub enum Config {
    /// What is set for all nodes; with a name, what that node should have, and what it says of it.
    Show {
        /// Name of a node, such as node1.
        name: Option<String>,
        /// Print the API's JSON instead.
        #[arg(long)]
        json: bool,
    },
    /// Set keys for all nodes, or for one.
    #[command(after_help = SETTING_HELP)]
    Set {
        /// For this node alone; its keys come before those of all nodes.
        #[arg(long, value_name = "NAME")]
        node: Option<String>,
        /// Keys and values, such as mk_checkin_interval=30; KEY=@PATH takes the value from a file.
        #[arg(required = true, value_name = "KEY=VALUE")]
        values: Vec<String>,
        /// How.
        #[command(flatten)]
        how: How,
    },
    /// Take keys back, so that nodes do as their image says.
    Unset {
        /// For this node alone, so that the keys of all nodes count for it again.
        #[arg(long, value_name = "NAME")]
        node: Option<String>,
        /// Keys, such as mk_checkin_interval.
        #[arg(required = true, value_name = "KEY")]
        keys: Vec<String>,
        /// How.
        #[command(flatten)]
        how: How,
    },
}
