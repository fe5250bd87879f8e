//! What must not leave the machine in a bundle or in a command's result: the enrolment token, and user and password of any
//! URL. Pure, but for [`Secrets::load`].

use regex_lite::Regex;

use crate::settings::Settings;

/// What stands in the place of a secret.
const BLANK: &str = "[blanked]";
/// What may be the user's part of a URL: all up to the last `@` before a slash or a blank, since passwords hold `@` and
/// quotes too. Rather too much than too little.
const USER_INFO: &str = r"://[^/\s]*@";

/// The words that are secret by themselves.
pub(super) struct Secrets(Vec<String>);

impl Secrets {
    /// Those of this machine.
    pub(super) fn load() -> Self {
        let token = Settings::load().site.enrolment;
        Self(token.into_iter().filter(|token| !token.is_empty()).collect())
    }

    /// The text without them, and without users and passwords of URLs.
    pub(super) fn blank(&self, text: &str) -> String {
        let text = self.0.iter().fold(text.to_owned(), |text, secret| text.replace(secret.as_str(), BLANK));
        match Regex::new(USER_INFO) {
            Ok(user_info) => user_info.replace_all(&text, format!("://{BLANK}@")).into_owned(),
            // The pattern is a constant, which a test reads.
            Err(_) => text,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_blanked_wherever_they_stand() {
        let text = "mirror http://user:pass@m/x, \"https://tok-en@h\", token s3cret! http://plain/a@b mail a@b";
        let clean = Secrets(vec!["s3cret".to_owned()]).blank(text);
        let expected =
            "mirror http://[blanked]@m/x, \"https://[blanked]@h\", token [blanked]! http://plain/a@b mail a@b";
        assert_eq!(clean, expected);
    }

    #[test]
    fn a_password_may_hold_what_ends_other_words() {
        for url in ["http://user:p@ss@m/x", "http://user:pa\"ss@m/x", "ftp://user:pa'ss@m/x", "http://@ss:a@b@\"'@m/x"]
        {
            let clean = Secrets(Vec::new()).blank(&format!("(from {url})"));
            let scheme = url.split(':').next().unwrap();
            assert_eq!(clean, format!("(from {scheme}://[blanked]@m/x)"));
        }
    }
}
