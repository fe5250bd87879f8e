//! All codes with which a request is refused. Programs tell refusals apart by them, so that none is changed.

/// In order.
pub const CODES: [&str; 83] = [
    "bad_bundle",
    "bad_change",
    "bad_checkin",
    "bad_command",
    "bad_config",
    "bad_content_type",
    "bad_host",
    "bad_http_port",
    "bad_hw_info",
    "bad_image",
    "bad_json",
    "bad_key",
    "bad_mirror",
    "bad_nic_max",
    "bad_node",
    "bad_node_id",
    "bad_parameter",
    "bad_query",
    "bad_rack",
    "bad_remedy",
    "bad_request",
    "bad_signature",
    "bad_token",
    "body_broke_off",
    "busy",
    "changed_since",
    "database_away",
    "disk_full",
    "duplicate_node",
    "foreign_host",
    "foreign_origin",
    "held",
    "internal",
    "is_alias",
    "log_began_anew",
    "mirror_busy",
    "missing_argument",
    "needs_tls",
    "no_caller",
    "no_extension",
    "no_facts",
    "no_former_report",
    "no_match_value",
    "no_report_yet",
    "no_such_alias",
    "no_such_boot",
    "no_such_bundle",
    "no_such_command",
    "no_such_file",
    "no_such_image",
    "no_such_node",
    "no_such_part",
    "no_such_path",
    "no_such_report",
    "no_such_token",
    "no_such_value",
    "no_token",
    "no_undo",
    "nodes_conflict",
    "not_asked",
    "not_local",
    "not_newest",
    "not_registered",
    "not_signed",
    "not_supported",
    "only_there",
    "other_key",
    "pending",
    "read_only_token",
    "replay",
    "same_node",
    "session_over",
    "through_proxy",
    "token_in_the_clear",
    "too_large",
    "too_many_attempts",
    "too_many_new",
    "too_many_pending",
    "too_many_tokens",
    "too_slow",
    "wrong_key",
    "wrong_method",
    "wrong_node",
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::{Path, PathBuf};

    use super::*;

    /// Codes that are not written where a refusal is made from its parts.
    const ELSEWHERE: [&str; 12] = [
        "bad_token",
        "database_away",
        "disk_full",
        "duplicate_node",
        "internal",
        "needs_tls",
        "no_match_value",
        "no_token",
        "not_local",
        "replay",
        "session_over",
        "token_in_the_clear",
    ];

    fn sources(folder: &Path) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let (folders, files): (Vec<_>, Vec<_>) = entries.partition(|path| path.is_dir());
        files.into_iter().chain(folders.iter().flat_map(|folder| sources(folder))).collect()
    }

    #[test]
    fn every_code_in_the_source_is_described_and_no_other() {
        let made = r#"(?:Refusal|Failure)::new\(\s*(?:\d+|StatusCode::\w+|parts\.status),\s*"(\w+)""#;
        let made = regex_lite::Regex::new(made).unwrap();
        let mut found: BTreeSet<String> = ELSEWHERE.map(str::to_owned).into();
        for file in sources(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src"))) {
            let text = std::fs::read_to_string(&file).unwrap();
            let code = text.split("#[cfg(test)]\nmod tests").next().unwrap();
            found.extend(made.captures_iter(code).map(|codes| codes[1].to_owned()));
        }
        assert!(CODES.is_sorted());
        assert_eq!(CODES.map(str::to_owned).into_iter().collect::<BTreeSet<_>>(), found);
    }
}
