//! The server's own TLS: a CA that images pin, and a certificate by it for the names under which machines reach the server. Both
//! lie in the folder `tls` of the data folder, made by `mk-server tls init` and renewed by `mk-server tls renew`.

pub mod acceptor;
pub mod expiry;
pub mod issue;
pub mod names;

use std::path::{Path, PathBuf};

/// Folder within the data folder.
const FOLDER: &str = "tls";

/// The files.
#[derive(Debug, Clone)]
pub struct Files {
    folder: PathBuf,
}

impl Files {
    /// Those of a data folder, whether they are there or not.
    #[must_use]
    pub fn of(data: &Path) -> Self {
        Self { folder: data.join(FOLDER) }
    }

    /// The CA's certificate, for images and browsers.
    #[must_use]
    pub fn ca(&self) -> PathBuf {
        self.folder.join("ca.pem")
    }

    /// The CA's key. Who has it can make a server that every image trusts.
    #[must_use]
    pub fn ca_key(&self) -> PathBuf {
        self.folder.join("ca.key")
    }

    /// The server's certificate, and its key behind it.
    #[must_use]
    pub fn certificate(&self) -> PathBuf {
        self.folder.join("server.pem")
    }

    /// Names and addresses that the server's certificate is for, one in each line.
    #[must_use]
    pub fn names(&self) -> PathBuf {
        self.folder.join("names")
    }
}
