//! Where a pushed configuration says that extensions come from. Server and agent read it alike: the one to hash what the
//! other will load.

use crate::config::Config;
use crate::routes::MIRROR_PORT;

/// The mirror within the image, as the original's configuration names it.
pub const INTERNAL_MIRROR: &str = "http://localhost:2157/tinycorelinux";
/// Where this server's own mirror is on it; alone, it is a value of `mk_tce_mirror_uri`.
pub const OWN_MIRROR: &str = "/svc/repo/tce";
/// Release and architecture whose extensions are taken unless the configuration says otherwise.
pub const DEFAULT_REPOSITORY: &str = "17.x/x86_64";

/// URLs of a mirror and its lists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// The mirror, without a slash at the end.
    pub mirror: String,
    /// Release and architecture, such as `17.x/x86_64`.
    pub repository: String,
    /// List of the extensions to load; none when those of the image will do.
    pub install_list: Option<String>,
    /// List of the kernel modules to load.
    pub kmod_list: Option<String>,
}

impl Source {
    /// Of a configuration that came from the server with this base URL.
    #[must_use]
    pub fn of(config: &Config, server: &str) -> Self {
        let own = |uri: &str| {
            if uri.starts_with('/') { format!("{}{uri}", server.trim_end_matches('/')) } else { uri.to_owned() }
        };
        let mirror = config.mk_tce_mirror_uri.as_deref().map_or_else(|| INTERNAL_MIRROR.to_owned(), own);
        let mirror = mirror.trim_end_matches('/').to_owned();
        let external = !is_internal(&mirror);
        // As in Hanlon, a list's path without a host is one on the mirror.
        let below = |path: &str| if path.starts_with('/') { format!("{mirror}{path}") } else { path.to_owned() };
        let list = |uri: &Option<String>, usual: &str| {
            uri.as_deref().map(below).or_else(|| external.then(|| format!("{mirror}/{usual}")))
        };
        Self {
            install_list: list(&config.mk_tce_install_list_uri, "tce-install-list"),
            kmod_list: list(&config.mk_kmod_install_list_uri, "kmod-install-list"),
            repository: config.mk_tce_repository.clone().unwrap_or_else(|| DEFAULT_REPOSITORY.to_owned()),
            mirror,
        }
    }

    /// The mirror is the one within the image, whose extensions are proven by the image's manifest.
    #[must_use]
    pub fn is_internal(&self) -> bool {
        is_internal(&self.mirror)
    }

    /// Folder of the extensions on the mirror.
    #[must_use]
    pub fn folder(&self) -> String {
        format!("{}/tcz", self.repository)
    }
}

/// The mirror's URL, and the extensions that are proven by it, differ between two configurations.
#[must_use]
pub fn differ(one: &Config, other: &Config) -> bool {
    let parts = |c: &Config| {
        let own = (c.mk_tce_repository.clone(), c.mk_tce_kernel.clone(), c.mk_tce_sha256.clone());
        (c.mk_tce_mirror_uri.clone(), c.mk_tce_install_list_uri.clone(), c.mk_kmod_install_list_uri.clone(), own)
    };
    parts(one) != parts(other)
}

/// The names in an install list: a JSON array, or one a line with comments behind `#`.
#[must_use]
pub fn list(text: &str) -> Vec<String> {
    if let Ok(names) = serde_json::from_str(text) {
        return names;
    }
    let bare = |line: &str| line.split('#').next().unwrap_or_default().trim().to_owned();
    text.lines().map(bare).filter(|name| !name.is_empty()).collect()
}

fn is_internal(mirror: &str) -> bool {
    let host = mirror.strip_prefix("http://").and_then(|rest| rest.split('/').next()).unwrap_or_default();
    ["localhost", "127.0.0.1"].iter().any(|name| host == format!("{name}:{MIRROR_PORT}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(mirror: Option<&str>, install: Option<&str>) -> Source {
        let own = |text: &str| Some(text.to_owned());
        let config = Config {
            mk_tce_mirror_uri: mirror.and_then(own),
            mk_tce_install_list_uri: install.and_then(own),
            ..Config::default()
        };
        Source::of(&config, "http://10.0.0.1:8150/")
    }

    #[test]
    fn mirrors_and_their_lists() {
        let own = source(Some(OWN_MIRROR), None);
        assert_eq!(own.mirror, "http://10.0.0.1:8150/svc/repo/tce");
        assert_eq!(own.install_list.as_deref(), Some("http://10.0.0.1:8150/svc/repo/tce/tce-install-list"));
        assert_eq!(own.kmod_list.as_deref(), Some("http://10.0.0.1:8150/svc/repo/tce/kmod-install-list"));
        assert_eq!((own.folder().as_str(), own.is_internal()), ("17.x/x86_64/tcz", false));
        let other = source(Some("https://m.example/tc/"), Some("/lists/a"));
        assert_eq!(other.install_list.as_deref(), Some("https://m.example/tc/lists/a"));
        let elsewhere = source(Some("http://m.example/tc"), Some("http://l.example/a"));
        assert_eq!(elsewhere.install_list.as_deref(), Some("http://l.example/a"));
    }

    #[test]
    fn the_images_own_mirror_needs_no_list() {
        for mirror in [None, Some(INTERNAL_MIRROR), Some("http://127.0.0.1:2157/tinycorelinux")] {
            let internal = source(mirror, None);
            assert!(internal.is_internal() && internal.install_list.is_none() && internal.kmod_list.is_none());
        }
        let list = source(None, Some("/tce-install-list")).install_list;
        assert_eq!(list.as_deref(), Some("http://localhost:2157/tinycorelinux/tce-install-list"));
        assert!(!source(Some("http://localhost:2157.example/"), None).is_internal());
    }

    #[test]
    fn both_forms_of_a_list() {
        let expected = ["a.tcz", "b.tcz"];
        assert_eq!(list(r#"["a.tcz","b.tcz"]"#), expected);
        assert_eq!(list("a.tcz\r\n\n# no\nb.tcz # why\n"), expected);
        assert_eq!(list(""), [""; 0]);
    }
}
