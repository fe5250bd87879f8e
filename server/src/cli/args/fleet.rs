//! `mk-server outliers` and `rack`.

use std::path::PathBuf;

use clap::{Args as ClapArgs, Subcommand};

use super::How;

/// Name the machines that differ from the others of their product, and what the others have.
#[derive(Debug, ClapArgs)]
pub struct Outliers {
    /// Only products with this in their name, in any case.
    #[arg(long, value_name = "TEXT")]
    pub product: Option<String>,
    /// Print the API's JSON instead.
    #[arg(long)]
    pub json: bool,
}

/// Say which machines are expected in the racks, and which of them were found.
#[derive(Debug, Subcommand)]
pub enum Rack {
    /// Put a file in the place of the one before. A CSV file has a line with the names of its columns first: name, slot,
    /// serial, switch, port, mac, uuid, asset; a file that ends in .toml has a [[machine]] for each with the same keys.
    Set {
        /// The file; - is standard input, in CSV.
        file: PathBuf,
        /// How.
        #[command(flatten)]
        how: How,
    },
    /// All expected machines, in the order of the file.
    Show {
        /// Print the API's JSON instead.
        #[arg(long)]
        json: bool,
    },
    /// Those that are missing, swapped, elsewhere or ambiguous, and nodes that nobody expects. Ends with status 1 where there are any.
    Check {
        /// Print the API's JSON instead.
        #[arg(long)]
        json: bool,
    },
    /// Expect no machines any more.
    Unset {
        /// How.
        #[command(flatten)]
        how: How,
    },
}
