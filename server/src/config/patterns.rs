//! Lists of fact names: literal names, or `/regex/` over the whole name.

use regex_lite::Regex;

/// A compiled list. An empty one matches nothing.
#[derive(Debug, Clone, Default)]
pub struct Patterns {
    literals: Vec<String>,
    expressions: Vec<Regex>,
}

impl Patterns {
    /// Compiles the list that the configuration has under `key`.
    ///
    /// # Errors
    /// Names key, entry and the fault of an expression that does not compile.
    pub fn compile(key: &str, list: &[String]) -> anyhow::Result<Self> {
        let mut patterns = Self::default();
        for entry in list {
            let inner = entry.strip_prefix('/').and_then(|e| e.strip_suffix('/'));
            if let Some(expression) = inner {
                let whole = Regex::new(&format!("^(?:{expression})$"))
                    .map_err(|e| anyhow::anyhow!("{key} has {entry:?}, which is no regular expression: {e}"))?;
                patterns.expressions.push(whole);
            } else {
                patterns.literals.push(entry.clone());
            }
        }
        Ok(patterns)
    }

    /// True when the list names this fact.
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        self.literals.iter().any(|l| l == name) || self.expressions.iter().any(|e| e.is_match(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_matched_whole() {
        let list = ["id".to_owned(), "/kernel.*/".to_owned(), "/a|b/".to_owned()];
        let patterns = Patterns::compile("facts.blacklist", &list).unwrap();
        for yes in ["id", "kernel", "kernelrelease", "a", "b"] {
            assert!(patterns.matches(yes), "{yes}");
        }
        for no in ["idx", "xid", "akernel", "ab", "ax", ""] {
            assert!(!patterns.matches(no), "{no}");
        }
    }

    #[test]
    fn a_bad_expression_is_named() {
        let error = Patterns::compile("facts.match_on", &["/(/".to_owned()]).unwrap_err().to_string();
        assert!(error.contains("facts.match_on") && error.contains("/(/"), "{error}");
    }
}
