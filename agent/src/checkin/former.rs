//! What the server was told of the machine before this unit was started again. As long as this run has not read what an
//! earlier run of this boot had read, the server keeps that: what a slow collector does not say yet is not gone. It lies in
//! `/run`, a line for each field. Pure, but for reading and writing it.

use std::fs;
use std::path::Path;

use wire::error::Problem;
use wire::inventory::Inventory;

use super::compose::View;
use crate::facts::unread;
use crate::file;
use crate::state::RUN_DIR;

const FILE: &str = "checkin.report";

/// What a server of ours has of this machine.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Former {
    /// Its URL.
    pub(super) server: String,
    /// The machine's id by its ports.
    pub(super) hw_id: String,
    /// Digest of the stable inventory.
    pub(super) digest: String,
    /// What could not be read.
    unread: Vec<String>,
}

impl Former {
    /// As an earlier run of the unit left it.
    pub(super) fn load() -> Option<Self> {
        Self::parse(&fs::read_to_string(Path::new(RUN_DIR).join(FILE)).ok()?)
    }

    fn parse(text: &str) -> Option<Self> {
        let mut lines = text.lines().map(str::to_owned);
        let (server, hw_id, digest) = (lines.next()?, lines.next()?, lines.next()?);
        Some(Self { server, hw_id, digest, unread: lines.collect() })
    }

    fn text(&self) -> String {
        format!("{}\n{}\n{}\n{}", self.server, self.hw_id, self.digest, self.unread.join("\n"))
    }

    /// Keeps it.
    ///
    /// # Errors
    /// Names the path when it cannot be written.
    pub(super) fn keep(&self) -> anyhow::Result<()> {
        file::replace(&Path::new(RUN_DIR).join(FILE), self.text().as_bytes(), 0o600)
    }

    /// This server has this now. What was read once in this boot, as `before` says, stays so.
    pub(super) fn of(server: &str, view: &View, before: Option<&Self>) -> Self {
        let mut unread = unread(&view.inventory).unwrap_or_default();
        if let Some(before) = before.filter(|before| before.server == server) {
            unread.retain(|name| before.unread.contains(name));
        }
        Self {
            server: server.to_owned(),
            hw_id: wire::facts::hw_id(&view.inventory.stable),
            digest: view.digest.clone(),
            unread,
        }
    }

    /// What is not read yet although it was before.
    pub(super) fn lacks(&self, inventory: &Inventory) -> Option<Problem> {
        let missing = match unread(inventory) {
            Some(mut unread) => {
                unread.retain(|name| !self.unread.contains(name));
                unread.join(", ")
            }
            None => "the whole inventory".to_owned(),
        };
        (!missing.is_empty()).then(|| {
            let text =
                format!("not read since the unit checkin was started again: {missing}; what was told before stands");
            let remedy = "Wait, or see the kernel's log on this node for hardware that does not answer, and reboot it.";
            Problem::new("facts", text, remedy)
        })
    }
}

#[cfg(test)]
mod tests {
    use wire::inventory::Volatile;

    use super::*;

    fn view(failures: &[&str]) -> View {
        let failures = failures.iter().map(|name| ((*name).to_owned(), "abandoned".to_owned())).collect();
        let volatile = Some(Volatile { failures, ..Volatile::default() });
        View::of(Inventory { volatile, ..Inventory::default() }, None)
    }

    #[test]
    fn what_was_read_before_is_lacking_until_it_is_read_again() {
        let former = Former::of("http://s", &view(&["bmc"]), None);
        let lacks = |view: &View| former.lacks(&view.inventory).map(|problem| problem.error);
        assert_eq!(Former::parse(&former.text()), Some(former.clone()));
        assert_eq!((Former::parse("http://s\n"), Former::parse("")), (None, None));
        assert_eq!(lacks(&view(&[])), None);
        assert_eq!(lacks(&view(&["bmc"])), None, "it could not be read before either");
        assert!(lacks(&view(&["bmc", "disks", "tpm"])).unwrap().contains("disks, tpm"));
        let later = |server| Former::of(server, &view(&["bmc", "tpm"]), Some(&former)).unread;
        assert_eq!(
            (later("http://s").len(), later("http://other").len()),
            (1, 2),
            "the TPM was read by this server's word"
        );
        assert!(lacks(&View::default()).unwrap().contains("whole inventory"), "a collection that hangs as a whole");
    }
}
