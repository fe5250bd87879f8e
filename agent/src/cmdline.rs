//! The kernel line: which of its arguments are ours, and what they say. Pure functions over text; a wrong argument is
//! reported with what to write instead and otherwise ignored, since a machine that does not boot can tell nobody.
//!
//! The site's own arguments are merged in before the values are read, key by key: what comes later in the list wins.

mod values;

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

use wire::argument;
use wire::error::Problem;
use wire::fact_file::is_fact_name;
use wire::limits::MAX_FACT_NAME;

use crate::log::Level;

pub(crate) use wire::argument::{BOND_MODES, Bond, PortName, StaticIp, Vlan};

/// Where an argument stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    /// In the image's site configuration.
    Site,
    /// On the kernel line.
    KernelLine,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Site => "site configuration",
            Self::KernelLine => "kernel line",
        })
    }
}

/// One argument as written, its key in lower case but for a fact's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Argument {
    /// Key without `razor.`.
    pub(crate) key: String,
    /// Value without its quotes; empty if there is none.
    pub(crate) value: String,
    /// Where it stands.
    pub(crate) source: Source,
}

/// A URL that was given, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct GivenUrl {
    /// `http://` or `https://` URL without a slash at its end.
    pub(crate) url: String,
    /// Where it stands.
    pub(crate) source: Source,
}

/// What the arguments say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct KernelLine {
    /// Base URL of the server: `razor.server`, or a bare address in `razor.ip`.
    pub(crate) server: Option<GivenUrl>,
    /// Check-in URL with this node's id: `razor.checkin`, or the original's `razor.register`.
    pub(crate) checkin: Option<GivenUrl>,
    /// Seconds between check-ins.
    pub(crate) interval: Option<u32>,
    /// How much is logged.
    pub(crate) log: Option<Level>,
    /// Static address instead of DHCP.
    pub(crate) ip: Option<StaticIp>,
    /// Gateway for it.
    pub(crate) gw: Option<IpAddr>,
    /// Name servers, before those of DHCP.
    pub(crate) dns: Vec<IpAddr>,
    /// VLAN that is made.
    pub(crate) vlan: Option<Vlan>,
    /// Bond that is made.
    pub(crate) bond: Option<Bond>,
    /// Facts by name.
    pub(crate) facts: BTreeMap<String, String>,
}

/// Arguments of a kernel line that are ours, in order. Quoting is the kernel's: a double quote keeps blanks together;
/// quotes around a value or a whole word are taken off, others stay.
pub(crate) fn arguments(line: &str, source: Source) -> Vec<Argument> {
    words(line).iter().filter_map(|word| argument(word, source)).collect()
}

fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quoted) = (Vec::new(), String::new(), false);
    for c in line.chars() {
        quoted ^= c == '"';
        if !quoted && (c.is_ascii_whitespace() || c == '\0') {
            words.push(std::mem::take(&mut word));
        } else {
            word.push(c);
        }
    }
    words.push(word);
    words.retain(|w| !w.is_empty());
    words
}

fn argument(word: &str, source: Source) -> Option<Argument> {
    let word = unquote(word);
    let (key, value) = word.split_once('=').unwrap_or((word, ""));
    let (prefix, name) = key.split_once('.')?;
    if !prefix.eq_ignore_ascii_case("razor") {
        return None;
    }
    let key = match name.split_once('.') {
        Some((kind, fact)) if kind.eq_ignore_ascii_case("fact") => format!("fact.{fact}"),
        _ => name.to_ascii_lowercase(),
    };
    Some(Argument { key, value: unquote(value).to_owned(), source })
}

fn unquote(text: &str) -> &str {
    match text.strip_prefix('"') {
        Some(rest) => rest.strip_suffix('"').unwrap_or(rest),
        None => text,
    }
}

/// Reads the values. Of equal keys the last one counts, and a name of ours counts more than the original's.
pub(crate) fn interpret(arguments: &[Argument]) -> (KernelLine, Vec<Problem>) {
    let latest: BTreeMap<&str, &Argument> = arguments.iter().map(|a| (a.key.as_str(), a)).collect();
    let (mut line, mut problems) = (KernelLine::default(), Vec::new());
    for argument in latest.values() {
        if let Err(problem) = take(&mut line, argument, &latest) {
            problems.push(problem);
        }
    }
    (line, problems)
}

fn take(line: &mut KernelLine, argument: &Argument, all: &BTreeMap<&str, &Argument>) -> Result<(), Problem> {
    let value = argument.value.as_str();
    let given = |url: String| Some(GivenUrl { url, source: argument.source });
    let read = match argument.key.as_str() {
        "server" => values::server(value).map(|url| line.server = given(url)),
        "checkin" => values::url(value).map(|url| line.checkin = given(url)),
        "register" if all.contains_key("checkin") => Ok(()),
        "register" => values::url(value).map(|url| line.checkin = given(url)),
        "ip" if values::is_address(value) && all.contains_key("gw") => return Err(bare_address_with_gateway(argument)),
        "ip" if values::is_address(value) && all.contains_key("server") => Ok(()),
        "ip" if values::is_address(value) => values::server(value).map(|url| line.server = given(url)),
        "ip" => argument::static_ip(value).map(|ip| line.ip = Some(ip)),
        "gw" => argument::address(value).map(|gw| line.gw = Some(gw)),
        "dns" => argument::addresses(value).map(|dns| line.dns = dns),
        "vlan" => argument::vlan(value).map(|vlan| line.vlan = Some(vlan)),
        "bond" => argument::bond(value).map(|bond| line.bond = Some(bond)),
        "interval" => argument::interval(value).map(|seconds| line.interval = Some(seconds)),
        "log" => values::level(value).map(|level| line.log = Some(level)),
        "extend" => return Err(extend_refused(argument)),
        key => match key.strip_prefix("fact.") {
            Some(name) if is_fact_name(name) => {
                line.facts.insert(name.to_owned(), value.to_owned());
                Ok(())
            }
            Some(_) => Err(format!("a fact's name has letters, digits, `_`, `-` and `.`, at most {MAX_FACT_NAME}")),
            None => return Err(unknown(argument)),
        },
    };
    read.map_err(|want| bad_value(argument, &want))
}

fn bad_value(argument: &Argument, want: &str) -> Problem {
    let Argument { key, value, source } = argument;
    Problem::new(
        "bad_argument",
        format!("razor.{key}={value} ({source}) is not understood and is ignored"),
        format!("Correct it: {want}."),
    )
}

fn unknown(argument: &Argument) -> Problem {
    let Argument { key, source, .. } = argument;
    Problem::new(
        "unknown_argument",
        format!("razor.{key} ({source}) is no argument of this microkernel and is ignored"),
        "Known are razor.server, checkin, interval, log, ip, gw, dns, vlan, bond and fact.NAME.",
    )
}

fn bare_address_with_gateway(argument: &Argument) -> Problem {
    let Argument { value, source, .. } = argument;
    Problem::new(
        "ambiguous_ip",
        format!("razor.ip={value} ({source}) has no prefix length, and razor.gw is given: it may mean server or node"),
        format!("Write razor.ip={value}/24 for the node's own address, or razor.server={value} for the server."),
    )
}

fn extend_refused(argument: &Argument) -> Problem {
    let Argument { value, source, .. } = argument;
    Problem::new(
        "extend_refused",
        format!("razor.extend={value} ({source}) is refused: it would run unsigned code as root"),
        "Build what it carries into the image as an extension, or load a signed extension from the mirror.",
    )
}

/// For the fuzzer: each argument is read or complained about, and a line that is read again says the same.
#[cfg(any(test, fuzzing))]
pub(crate) fn fuzz(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let arguments = arguments(&text, Source::KernelLine);
    let (line, problems) = interpret(&arguments);
    assert!(problems.len() + line.facts.len() <= arguments.len());
    assert_eq!(interpret(&arguments), (line, problems));
    let written: usize = arguments.iter().map(|argument| argument.key.len() + argument.value.len()).sum();
    assert!(written <= text.len());
}

#[cfg(test)]
mod tests;
