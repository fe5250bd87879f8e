//! `/etc/resolv.conf`, for the C library's resolver, from what all ports were told.

use std::net::IpAddr;
use std::path::Path;

use crate::file;

/// Where the C library looks.
pub(crate) const PATH: &str = "/etc/resolv.conf";
/// The C library takes no more servers.
const MOST_SERVERS: usize = 3;
/// Nor more domains.
const MOST_DOMAINS: usize = 6;

/// Name servers and search domains, best first, each once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Resolvers {
    /// Name servers.
    pub(crate) servers: Vec<IpAddr>,
    /// Search domains.
    pub(crate) search: Vec<String>,
}

impl Resolvers {
    /// Adds what one source says, behind what is there.
    pub(crate) fn add(&mut self, servers: impl IntoIterator<Item = IpAddr>, search: &[String]) {
        for server in servers {
            if !self.servers.contains(&server) {
                self.servers.push(server);
            }
        }
        for domain in search {
            if !self.search.iter().any(|d| d.eq_ignore_ascii_case(domain)) {
                self.search.push(domain.clone());
            }
        }
    }

    /// The file's text. A dead server costs 2 seconds, not 5.
    pub(crate) fn text(&self) -> String {
        let mut text = String::from("# Written by mk-agent from all leases.\noptions timeout:2 attempts:2\n");
        if !self.search.is_empty() {
            let domains = &self.search[..self.search.len().min(MOST_DOMAINS)];
            text.push_str(&format!("search {}\n", domains.join(" ")));
        }
        for server in self.servers.iter().take(MOST_SERVERS) {
            text.push_str(&format!("nameserver {server}\n"));
        }
        text
    }

    /// Replaces the file.
    ///
    /// # Errors
    /// Names the path when it cannot be written.
    pub(crate) fn write(&self, path: &Path) -> anyhow::Result<()> {
        file::replace(path, self.text().as_bytes(), 0o644)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn each_server_and_domain_once_and_no_more_than_the_library_takes() {
        let mut resolvers = Resolvers::default();
        let servers = |list: &[u8]| list.iter().map(|n| IpAddr::from([10, 0, 0, *n])).collect::<Vec<_>>();
        resolvers.add(servers(&[1, 2]), &["a.example".to_owned()]);
        resolvers.add(servers(&[2, 3, 4]), &["A.example".to_owned(), "b.example".to_owned()]);
        assert_eq!(resolvers.servers.len(), 4);
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("resolv.conf");
        fs::write(&path, "old").unwrap();
        resolvers.write(&path).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        let lines: Vec<&str> = text.lines().skip(2).collect();
        assert_eq!(
            lines,
            ["search a.example b.example", "nameserver 10.0.0.1", "nameserver 10.0.0.2", "nameserver 10.0.0.3"]
        );
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "no temporary file is left");
    }
}
