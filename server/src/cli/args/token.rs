//! `mk-server token`.

use clap::Subcommand;

use super::How;

/// Make and revoke tokens by which operators on other machines are let in.
#[derive(Debug, Subcommand)]
pub enum Token {
    /// Make a token and print it, this once: the server keeps only its digest. On the server's own machine alone.
    Create {
        /// What it is for; it stands in the log beside each command that was given with it.
        #[arg(long, default_value = "")]
        note: String,
        /// How long it is good, such as 12h or 90d; without this, until it is revoked.
        #[arg(long, value_name = "TIME")]
        expires: Option<String>,
        /// It only sees, and changes nothing.
        #[arg(long)]
        read_only: bool,
        /// How.
        #[command(flatten)]
        how: How,
    },
    /// All tokens, not the secrets themselves.
    List {
        /// Print the API's JSON instead.
        #[arg(long)]
        json: bool,
    },
    /// Take a token back, and log out who logged in with it.
    Revoke {
        /// Its number, as in the list.
        id: i64,
        /// How.
        #[command(flatten)]
        how: How,
    },
}
