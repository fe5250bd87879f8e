//! How the command line reaches a server.

use std::path::PathBuf;

use clap::Args as ClapArgs;

/// Where the server is, and by what it knows who asks; for all commands that speak to one.
#[derive(Debug, ClapArgs)]
pub struct Remote {
    /// Where the server is, for all commands but `serve`.
    #[arg(
        long = "server",
        global = true,
        env = "MK_SERVER",
        value_name = "URL",
        default_value = "http://127.0.0.1:8150"
    )]
    pub url: String,
    /// The server's CA (DIR/tls/ca.pem there), for https://; without this, those that the system trusts.
    #[arg(long, global = true, env = "MK_CA", value_name = "FILE")]
    pub ca: Option<PathBuf>,
    /// File with a token, which a server on another machine wants; `-` is standard input. It comes before MK_TOKEN.
    #[arg(long, global = true, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// The token itself; better in MK_TOKEN or a file, where no list of processes shows it.
    #[arg(long, global = true, env = "MK_TOKEN", hide_env_values = true, value_name = "TOKEN")]
    pub token: Option<String>,
}
