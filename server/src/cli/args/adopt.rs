//! `mk-server adopt`.

use clap::Args as ClapArgs;

use super::How;

/// Take over the nodes of a razor-server, with their ids.
#[derive(Debug, ClapArgs)]
pub struct Adopt {
    /// Where they are: the URL of a running razor-server, such as http://razor:8150; or a file with what its
    /// /api/collections/nodes?depth=1 gave, or a folder of such files.
    #[arg(long, value_name = "FILE|DIR|URL")]
    pub from: String,
    /// How.
    #[command(flatten)]
    pub how: How,
}
