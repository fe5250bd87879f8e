//! What an operator wants of an image, put over what is in it already. Pure: files have been read before.

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use tce_mirror::signed;
use wire::argument;
use wire::embed::Features;
use wire::enrolment::{PREFIX, is_token};
use wire::limits::MAX_FACT_NAME;
use wire::site::{ARGUMENTS, Site};

use super::units;
use crate::image::Own;
use crate::input;
use crate::slot::public_keys;

/// What is to be set; what is empty stays as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settings {
    /// URL of the server.
    pub server: Option<String>,
    /// Text of a file of CA certificates.
    pub ca: Option<String>,
    /// Text of a file with an enrolment token.
    pub enrolment: Option<String>,
    /// Text of a file of public keys.
    pub ssh_key: Option<String>,
    /// Texts of files of public keys by which mirrors are believed.
    pub mirror_keys: Vec<String>,
    /// Facts, each `NAME=VALUE`.
    pub facts: Vec<String>,
    /// Arguments of the microkernel, each `razor.KEY=VALUE`.
    pub args: Vec<String>,
    /// Arguments of the kernel.
    pub kernel_args: Vec<String>,
    /// Texts of unit files.
    pub units: Vec<String>,
}

/// Whether an image's kernel line can be extended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KernelLine {
    /// Yes.
    Open,
    /// It was built before that was possible.
    Fixed,
    /// The server hands it out.
    OfServer,
}

impl Settings {
    /// Puts the settings over what is there.
    ///
    /// # Errors
    /// A value is wrong, or the image cannot honour it: `features` and `line` say what it can.
    pub fn apply(&self, mut own: Own, features: Features, line: KernelLine) -> Result<Own> {
        if let Some(text) = &self.ca {
            ensure!(features.ca, "this image's agent pins no CA: it is of an earlier mkiso; build it again");
            own.content.site.ca_pem = Some(input::ca_certificates(text)?);
        }
        let has_ca = own.content.site.ca_pem.is_some();
        if let Some(server) = &self.server {
            own.content.site.server = Some(input::server_url(server, has_ca)?);
        } else if let Some(server) = own.content.site.server.as_ref().filter(|_| self.ca.is_some()) {
            input::server_url(server, has_ca).context("the server that is in the image already cannot stay")?;
        }
        if let Some(text) = &self.enrolment {
            own.content.site.enrolment = Some(enrolment_token(text)?);
        }
        if let Some(text) = &self.ssh_key {
            ensure!(
                features.ssh_key,
                "an image without sshd cannot honour an ssh key; take a development or debug image"
            );
            own.content.authorized_keys = public_keys(text)?;
        }
        for text in &self.mirror_keys {
            ensure!(
                features.mirror_keys,
                "this image's agent knows no signed mirrors: it is of an earlier mkiso; build it again"
            );
            let key = signed::public_key(text).map_err(anyhow::Error::msg)?;
            own.content.site.mirror_keys.retain(|have| *have != key);
            own.content.site.mirror_keys.push(key);
        }
        for fact in &self.facts {
            add_fact(&mut own.content.site, fact)?;
        }
        for arg in &self.args {
            add_argument(&mut own.content.site, arg)?;
        }
        if !self.units.is_empty() {
            ensure!(
                features.units,
                "this image does not say that its agent starts units of a site: it is of an earlier mkiso; build it again"
            );
            units::add(&mut own.content.units, &self.units)?;
        }
        if !self.kernel_args.is_empty() {
            match line {
                KernelLine::Open => {}
                KernelLine::Fixed => {
                    bail!("its boot lines cannot be extended: it is of an earlier mkiso; build it again")
                }
                KernelLine::OfServer => bail!(
                    "a network boot's kernel line is the server's: add kernel arguments there, with microkernel.kernel_args in \
                     its config.toml"
                ),
            }
            own.kernel_arguments = extended(&own.kernel_arguments, &self.kernel_args)?;
        }
        Ok(own)
    }
}

/// The token of a file; it is not repeated where it is wrong.
fn enrolment_token(text: &str) -> Result<String> {
    let token = text.trim();
    ensure!(
        is_token(token),
        "that is no enrolment token, which is one line that begins with {PREFIX}; make one with `mk-server enrolment create`"
    );
    Ok(token.to_owned())
}

fn add_fact(site: &mut Site, fact: &str) -> Result<()> {
    let (name, value) =
        fact.split_once('=').with_context(|| format!("fact {fact:?} has no value; write it such as rack=B12"))?;
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    ensure!(
        !name.is_empty() && name.len() <= MAX_FACT_NAME && name.chars().all(allowed),
        "{name:?} is no name of a fact: it has letters, digits, `_`, `-` and `.`, at most {MAX_FACT_NAME}"
    );
    ensure!(!value.chars().any(char::is_control), "the value of fact {name} has a control character");
    site.facts.insert(name.to_owned(), value.to_owned());
    Ok(())
}

/// One argument, in the place of the one with the same key.
fn add_argument(site: &mut Site, arg: &str) -> Result<()> {
    let split = arg.strip_prefix("razor.").and_then(|rest| rest.split_once('='));
    let (key, value) = split
        .with_context(|| format!("{arg:?} is no argument of the microkernel; write it such as razor.ip=10.0.0.5/24"))?;
    match key {
        "server" => bail!("the server is set with --server {value}"),
        _ if key.starts_with("fact.") => bail!("a fact is set with --fact {}", arg.trim_start_matches("razor.fact.")),
        _ => {}
    }
    ensure!(
        ARGUMENTS.contains(&key),
        "razor.{key} is no argument that an image may carry; these are: razor.{}",
        ARGUMENTS.join(", razor.")
    );
    let plain = |c: char| c.is_ascii_graphic() && c != '"';
    ensure!(
        !value.is_empty() && value.chars().all(plain),
        "the value of razor.{key} is {value:?}; it has no blanks or quotes"
    );
    understood(key, value)?;
    site.args.retain(|have| have.split_once('=').is_none_or(|(have, _)| have != format!("razor.{key}")));
    site.args.push(arg.to_owned());
    Ok(())
}

/// Further arguments of the kernel; one that is there already comes last, since for most of them the last one counts.
fn extended(before: &str, more: &[String]) -> Result<String> {
    let mut words: Vec<&str> = before.split_whitespace().collect();
    for word in more.iter().flat_map(|line| line.split_whitespace()) {
        let key = word.split_once('=').map_or(word, |(key, _)| key);
        ensure!(
            !["rdinit", "init", "initrd", "rootfstype"].contains(&key),
            "{key} is the image's own: without it the microkernel does not start"
        );
        check_ours(word)?;
        words.retain(|have| *have != word);
        words.push(word);
    }
    Ok(words.join(" "))
}

/// An argument of the microkernel that stands on the kernel line. There a bare address in `razor.ip` may be the server's.
fn check_ours(word: &str) -> Result<()> {
    let ours = word.strip_prefix("razor.").and_then(|rest| rest.split_once('='));
    let Some((key, value)) = ours.filter(|(key, _)| ARGUMENTS.contains(key)) else { return Ok(()) };
    if key == "ip" && argument::address(value).is_ok() { Ok(()) } else { understood(key, value) }
}

/// What the agent would say of a value, before it is written.
fn understood(key: &str, value: &str) -> Result<()> {
    argument::check(key, value).map_err(|want| anyhow!("razor.{key}={value} is not understood. Correct it: {want}."))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn applied(settings: &Settings, own: Own) -> Result<Own> {
        settings.apply(own, Features { ssh_key: true, ca: true, units: true, mirror_keys: true }, KernelLine::Open)
    }

    fn texts(words: &[&str]) -> Vec<String> {
        words.iter().map(|&word| word.to_owned()).collect()
    }

    #[test]
    fn what_is_not_named_stays_and_the_same_key_is_replaced() {
        let first = Settings {
            server: Some("http://a:1".into()),
            facts: texts(&["rack=4", "row=2"]),
            args: texts(&["razor.ip=10.0.0.5/24", "razor.gw=10.0.0.1"]),
            kernel_args: texts(&["nomodeset console=ttyS1"]),
            ..Settings::default()
        };
        let own = applied(&first, Own::default()).unwrap();
        let second = Settings {
            facts: texts(&["rack=5=b"]),
            mirror_keys: texts(
                &["untrusted comment: x\nRWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3\n"; 2],
            ),
            args: texts(&["razor.ip=10.0.0.6/24"]),
            kernel_args: texts(&["nomodeset"]),
            ..Settings::default()
        };
        let own = applied(&second, own).unwrap();
        let site = &own.content.site;
        assert_eq!(site.server.as_deref(), Some("http://a:1"));
        assert_eq!((site.facts["rack"].as_str(), site.facts["row"].as_str()), ("5=b", "2"));
        assert_eq!(site.args, ["razor.gw=10.0.0.1", "razor.ip=10.0.0.6/24"]);
        assert_eq!(site.mirror_keys, ["RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3"]);
        assert_eq!(own.kernel_arguments, "console=ttyS1 nomodeset");
    }

    #[test]
    fn what_is_wrong_or_cannot_be_honoured_is_named() {
        let of = |facts: &[&str], args: &[&str], kernel: &[&str]| Settings {
            facts: texts(facts),
            args: texts(args),
            kernel_args: texts(kernel),
            ..Settings::default()
        };
        for (settings, words) in [
            (of(&["rack"], &[], &[]), "no value"),
            (of(&["ra ck=4"], &[], &[]), "no name of a fact"),
            (of(&["rack=a\nb"], &[], &[]), "control character"),
            (of(&[], &["quiet"], &[]), "no argument of the microkernel"),
            (of(&[], &["razor.server=x"], &[]), "--server x"),
            (of(&[], &["razor.fact.rack=x"], &[]), "--fact rack=x"),
            (of(&[], &["razor.extend=x"], &[]), "razor.extend is no argument"),
            (of(&[], &["razor.gw=a b"], &[]), "no blanks"),
            (
                of(&[], &["razor.ip=10.0.0.5/33"], &[]),
                "razor.ip=10.0.0.5/33 is not understood. Correct it: write razor.ip=",
            ),
            (of(&[], &[], &["razor.ip=10.0.0.1 razor.vlan=4095"]), "razor.vlan=4095 is not understood"),
            (of(&[], &[], &["quiet rdinit=/bin/sh"]), "rdinit is the image's own"),
        ] {
            let error = applied(&settings, Own::default()).unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
        for (line, words) in [(KernelLine::Fixed, "build it again"), (KernelLine::OfServer, "microkernel.kernel_args")]
        {
            let error = of(&[], &[], &["quiet"]).apply(Own::default(), Features::default(), line).unwrap_err();
            assert!(error.to_string().contains(words), "{error}");
        }
        let unit = Settings { units: texts(&["name = \"a\"\ncommand = [\"/a\"]"]), ..Settings::default() };
        assert!(applied(&unit, Own::default()).unwrap().content.units.contains_key("a"));
        let refusal = unit.apply(Own::default(), Features::default(), KernelLine::Open).unwrap_err().to_string();
        assert!(refusal.contains("units of a site"), "{refusal}");
        let mirror = Settings { mirror_keys: texts(&["RWx"]), ..Settings::default() };
        let refusal = mirror.apply(Own::default(), Features::default(), KernelLine::Open).unwrap_err().to_string();
        assert!(refusal.contains("knows no signed mirrors"), "{refusal}");
        let refusal = applied(&mirror, Own::default()).unwrap_err().to_string();
        assert!(refusal.contains("no public key of minisign"), "{refusal}");
        let token = Settings { enrolment: Some("s3cret\n".into()), ..Settings::default() };
        let refusal = applied(&token, Own::default()).unwrap_err().to_string();
        assert!(refusal.contains("no enrolment token") && !refusal.contains("s3cret"), "{refusal}");
        let key = Settings { ssh_key: Some("x".into()), ..Settings::default() };
        let refusal = key.apply(Own::default(), Features::default(), KernelLine::Open).unwrap_err().to_string();
        assert!(refusal.contains("without sshd"), "{refusal}");
    }
}
