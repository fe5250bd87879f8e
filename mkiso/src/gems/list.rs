//! What `gem.list` asks for: names with what is required of their versions. Pure.

use anyhow::{Context as _, Result, ensure};
use wire::gems;

use super::version::Requirement;

/// A gem that is wanted or needed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// Its name.
    pub name: String,
    /// What is required of its version.
    pub requirement: Requirement,
}

impl Wanted {
    /// A name and conditions on its version, of which there may be none.
    ///
    /// # Errors
    /// The name or a condition is none.
    pub fn new(name: &str, conditions: &str) -> Result<Self> {
        ensure!(gems::is_name(name), "{name:.60?} cannot be the name of a gem");
        let requirement = match conditions.trim() {
            "" => Requirement::any()?,
            conditions => Requirement::parse(conditions).with_context(|| name.to_owned())?,
        };
        Ok(Self { name: name.to_owned(), requirement })
    }
}

/// The gems of a list.
///
/// # Errors
/// The line that is wrong.
pub fn parse(text: &str) -> Result<Vec<Wanted>> {
    let mut list = Vec::new();
    for (number, name, requirement) in gems::lines(text) {
        list.push(Wanted::new(name, requirement).with_context(|| format!("line {number}"))?);
    }
    Ok(list)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_originals_list() {
        let gems = parse("facter\r\njson_pure  >= 1.7.7\n\n# remark\nstomp 1.2.8 # exactly\n").unwrap();
        let shown: Vec<String> = gems.iter().map(|g| format!("{} {}", g.name, g.requirement)).collect();
        assert_eq!(shown, ["facter >= 0", "json_pure >= 1.7.7", "stomp = 1.2.8"]);
        let error = format!("{:#}", parse("facter\n../x\n").unwrap_err());
        assert!(error.contains("line 2") && error.contains("../x"), "{error}");
        assert!(format!("{:#}", parse("facter => 1").unwrap_err()).contains("line 1"));
    }

    proptest! {
        #[test]
        fn any_list_is_read_or_refused(text in "\\PC{0,60}") {
            for gem in parse(&text).unwrap_or_default() {
                prop_assert!(!gem.name.contains('/') && !gem.name.starts_with('.'));
            }
        }
    }
}
