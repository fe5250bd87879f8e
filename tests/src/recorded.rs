//! What a genuine razor-server answered, byte for byte: `tests/recorded/razor-server.json`. `tests/tests/razor_server.rs`
//! made it and says how to record anew.
//!
//! The exchanges stand in the order in which they were made, on a server with an empty database and the original's
//! defaults (`match_nodes_on: [mac]`). Each connection was closed after its answer. Scripts of iPXE, which are text of the
//! other project, are left out; their heads are there.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// The file.
#[must_use]
pub fn file() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/recorded/razor-server.json"))
}

/// All of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Recording {
    /// Which program, in which version.
    pub of: String,
    /// What ran it, and what its headers therefore do not show.
    pub made_with: String,
    /// Requests and answers.
    pub exchanges: Vec<Exchange>,
}

/// A request and its answer.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Exchange {
    /// What it is about.
    pub name: String,
    /// `GET` or `POST`.
    pub method: String,
    /// Path and query.
    pub path: String,
    /// Header of the request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_type: Option<String>,
    /// The request's body.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// The answer's status line and headers, with the empty line after them.
    pub head: String,
    /// The answer's body; `None` where it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer: Option<String>,
}

impl Recording {
    /// Reads the file.
    ///
    /// # Errors
    /// When it is not there or is no recording.
    pub fn read() -> anyhow::Result<Self> {
        Ok(serde_json::from_slice(&std::fs::read(file())?)?)
    }

    /// The exchange of this name.
    ///
    /// # Errors
    /// When there is none.
    pub fn named(&self, name: &str) -> anyhow::Result<&Exchange> {
        let found = self.exchanges.iter().find(|e| e.name == name);
        found.ok_or_else(|| anyhow::anyhow!("nothing is recorded as {name:?}"))
    }
}

impl Exchange {
    /// The answer's status.
    #[must_use]
    pub fn status(&self) -> u16 {
        self.head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0)
    }

    /// A header of the answer.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.head.lines().filter_map(|line| line.split_once(": "));
        headers.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// The answer as it came.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        [self.head.as_bytes(), self.answer.as_deref().unwrap_or_default().as_bytes()].concat()
    }
}
