//! Host names of servers. They are resolved before the connection, so that a silent name server is told from a silent
//! server: each step has a time of its own and a message of its own.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Mutex, PoisonError};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use crate::limits::CHECKIN_NAME;
use crate::state::{Net, Published as _};

/// What names were last resolved to. The HTTP client is given these and asks nobody itself.
#[derive(Debug, Default)]
pub(super) struct Names(Mutex<BTreeMap<String, Vec<IpAddr>>>);

impl Names {
    /// The addresses of a host, by the system's resolver.
    ///
    /// # Errors
    /// Why there are none, and which name servers were asked.
    pub(super) async fn look_up(&self, host: &str) -> Result<Vec<IpAddr>, String> {
        let asked = match Net::read().map(|net| net.dns.join(", ")) {
            Some(servers) if servers.is_empty() => {
                "no name server is known: neither DHCP nor razor.dns gave one".to_owned()
            }
            Some(servers) => format!("asked {servers}"),
            None => "by /etc/resolv.conf".to_owned(),
        };
        let looked = tokio::time::timeout(CHECKIN_NAME, tokio::net::lookup_host((host, 0))).await;
        let found = looked.map_err(|_| format!("no answer in {} s; {asked}", CHECKIN_NAME.as_secs()))?;
        let found = found.map_err(|why| {
            let why = why.to_string();
            let why = match why.rsplit(": ").next().unwrap_or(&why) {
                "Temporary failure in name resolution" => "no name server gives an answer",
                "Name or service not known" | "No address associated with hostname" => "the name is not known",
                other => other,
            };
            format!("{why}; {asked}")
        })?;
        let mut addresses: Vec<IpAddr> = found.map(|a| a.ip()).collect();
        addresses.dedup();
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(host.to_owned(), addresses.clone());
        Ok(addresses)
    }

    /// What a host was last resolved to.
    pub(super) fn known(&self, host: &str) -> Vec<IpAddr> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(host).cloned().unwrap_or_default()
    }
}

impl Resolve for Names {
    fn resolve(&self, name: Name) -> Resolving {
        let addresses = self.known(name.as_str()).into_iter().map(|ip| SocketAddr::new(ip, 0));
        Box::pin(std::future::ready(Ok(Box::new(addresses) as Addrs)))
    }
}
