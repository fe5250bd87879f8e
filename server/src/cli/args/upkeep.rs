//! Commands for the server itself: what it keeps, whom it trusts, and what machines boot.

use std::path::PathBuf;

use clap::{Args as ClapArgs, Subcommand};

use super::How;

/// Write everything that the server keeps into one archive.
#[derive(Debug, ClapArgs)]
pub struct Backup {
    /// The server's data folder.
    #[arg(long, value_name = "DIR")]
    pub data: PathBuf,
    /// The archive, which must not be there yet; `-` is standard output.
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
}

/// Make a data folder of a backup.
#[derive(Debug, ClapArgs)]
pub struct Restore {
    /// The archive; `-` is standard input.
    pub archive: PathBuf,
    /// The data folder, which must be empty, or not there yet.
    #[arg(long, value_name = "DIR")]
    pub data: PathBuf,
}

/// Make and revoke enrolment tokens.
#[derive(Debug, Subcommand)]
pub enum Enrolment {
    /// Make a token and print it, this once: the server keeps only its digest. Into an image: mkiso customize --enrolment-token.
    Create {
        /// Machines that it lets in.
        #[arg(long, value_name = "N", default_value_t = 1)]
        uses: u32,
        /// How long it is good, such as 90s, 15m, 2h or 7d.
        #[arg(long, value_name = "TIME", default_value = "1d")]
        expires: String,
        /// What it is for.
        #[arg(long, default_value = "")]
        note: String,
        /// How.
        #[command(flatten)]
        how: How,
    },
    /// All tokens, with what is left of each.
    List {
        /// Print the API's JSON instead.
        #[arg(long)]
        json: bool,
    },
    /// Take a token back; machines that it has let in stay.
    Revoke {
        /// Its number, as in the list.
        id: i64,
        /// How.
        #[command(flatten)]
        how: How,
    },
}

/// Make and renew the server's CA and certificate.
#[derive(Debug, Subcommand)]
pub enum Tls {
    /// Make a CA, and a certificate by it for this server.
    Init(Certificate),
    /// Make a new certificate by the same CA; a running server takes it up by itself.
    Renew(Certificate),
}

/// A certificate that is to be made.
#[derive(Debug, ClapArgs)]
pub struct Certificate {
    /// The server's data folder.
    #[arg(long, value_name = "DIR")]
    pub data: PathBuf,
    /// Name or address under which machines reach the server; may be given again [default for renew: those of before].
    #[arg(long, value_name = "NAME")]
    pub name: Vec<String>,
}

/// Manage the images that machines boot.
#[derive(Debug, Subcommand)]
pub enum Image {
    /// Check an ISO and keep its kernel and initrds for booting by PXE.
    Add {
        /// The ISO that `mkiso build` made.
        file: PathBuf,
    },
    /// The images that the server has.
    List {
        /// Print the API's JSON instead.
        #[arg(long)]
        json: bool,
    },
    /// Boot this one from now on.
    Use {
        /// Name of the image, or as much of its beginning as tells it apart.
        version: String,
    },
}
