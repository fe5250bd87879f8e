//! Values of the arguments that only the agent reads: URLs, and its own kind of log level. The others are in [`wire::argument`],
//! since an image may carry them. Each reader gives the value, or what would be accepted instead, as an imperative sentence.

use std::net::{IpAddr, Ipv6Addr};

use wire::argument;
use wire::routes::HTTP_PORT;

use crate::log::Level;

type Read<T> = Result<T, String>;

/// True for an address without prefix length.
pub(super) fn is_address(value: &str) -> bool {
    value.parse::<IpAddr>().is_ok()
}

/// A whole URL.
pub(super) fn url(value: &str) -> Read<String> {
    let want = || "write a URL such as http://10.0.0.1:8150/svc/checkin/7".to_owned();
    let url = reqwest::Url::parse(value).map_err(|_| want())?;
    let plain = matches!(url.scheme(), "http" | "https") && url.username().is_empty() && url.password().is_none();
    if !plain || !url.has_host() || url.fragment().is_some() {
        return Err(want());
    }
    Ok(url.as_str().trim_end_matches('/').to_owned())
}

/// A server: URL, name or address, with or without a port.
pub(super) fn server(value: &str) -> Read<String> {
    let want = |_| format!("write a URL such as http://10.0.0.1:{HTTP_PORT}, a name or an address");
    if value.contains("://") {
        return url(value).map_err(want);
    }
    if let Ok(address) = value.parse::<Ipv6Addr>() {
        return Ok(format!("http://[{address}]:{HTTP_PORT}"));
    }
    let authority = value.rsplit_once(']').map_or(value, |(_, after)| after);
    let port = if authority.contains(':') { String::new() } else { format!(":{HTTP_PORT}") };
    if value.contains(['/', '?', '#', '@', '\\']) {
        return Err(want(String::new()));
    }
    url(&format!("http://{value}{port}")).map_err(want)
}

/// A log level.
pub(super) fn level(value: &str) -> Read<Level> {
    argument::log_level(value).map(|at| Level::ALL[at])
}
