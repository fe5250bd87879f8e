//! Tables of kernel lines, and lines that nobody would write.

use proptest::prelude::*;

use super::*;

fn read(line: &str) -> (KernelLine, Vec<Problem>) {
    interpret(&arguments(line, Source::KernelLine))
}

fn server(line: &str) -> Option<String> {
    read(line).0.server.map(|s| s.url)
}

fn codes(line: &str) -> Vec<String> {
    read(line).1.into_iter().map(|p| p.code).collect()
}

#[test]
fn words_are_split_as_the_kernel_does() {
    for (line, expected) in [
        ("a b", vec!["a", "b"]),
        ("  a\t b\n", vec!["a", "b"]),
        (r#"a="b c" d"#, vec![r#"a="b c""#, "d"]),
        (r#""a=b c" d"#, vec![r#""a=b c""#, "d"]),
        (r#"a="b c"#, vec![r#"a="b c"#]),
        ("", vec![]),
    ] {
        assert_eq!(words(line), expected, "{line}");
    }
}

#[test]
fn quotes_around_a_value_or_a_word_are_taken_off() {
    for line in [r#"razor.fact.site="rack 4""#, r#""razor.fact.site=rack 4""#] {
        assert_eq!(read(line).0.facts["site"], "rack 4", "{line}");
    }
    assert_eq!(read(r#"razor.fact.a=5"disk"#).0.facts["a"], r#"5"disk"#);
}

#[test]
fn what_an_image_may_carry_is_known() {
    for key in wire::site::ARGUMENTS {
        assert_eq!(codes(&format!("razor.{key}=?")), ["bad_argument"], "{key}");
    }
}

#[test]
fn servers_are_urls_names_and_addresses() {
    for (value, url) in [
        ("http://10.0.0.1:8150", "http://10.0.0.1:8150"),
        ("https://razor.example/", "https://razor.example"),
        ("http://proxy.example/razor/", "http://proxy.example/razor"),
        ("razor.example", "http://razor.example:8150"),
        ("10.0.0.1:9000", "http://10.0.0.1:9000"),
        ("fd00::1", "http://[fd00::1]:8150"),
        ("[fd00::1]:9000", "http://[fd00::1]:9000"),
    ] {
        assert_eq!(server(&format!("razor.server={value}")).as_deref(), Some(url), "{value}");
    }
    for value in ["", "ftp://x", "http://", "a b", "http://me@host", "host/path", "http://h:99999", "x?y"] {
        assert_eq!(codes(&format!("razor.server=\"{value}\"")), ["bad_argument"], "{value}");
    }
}

#[test]
fn a_bare_address_in_ip_is_the_server() {
    assert_eq!(server("razor.ip=192.0.2.7").as_deref(), Some("http://192.0.2.7:8150"));
    assert_eq!(server("razor.ip=192.0.2.7 razor.server=a.example").as_deref(), Some("http://a.example:8150"));
    let (line, problems) = read("razor.ip=192.0.2.7 razor.gw=192.0.2.1");
    assert_eq!((line.server, line.ip), (None, None));
    assert_eq!(problems[0].code, "ambiguous_ip");
}

#[test]
fn static_addresses() {
    let ip = read("razor.ip=AA-BB-CC-00-11-22,10.0.0.5/24 razor.gw=10.0.0.1 razor.dns=10.0.0.2,fd00::2").0;
    assert_eq!(
        ip.ip,
        Some(StaticIp {
            port: Some(PortName::Mac("aa:bb:cc:00:11:22".to_owned())),
            address: "10.0.0.5".parse().unwrap(),
            prefix: 24
        })
    );
    assert_eq!((ip.gw, ip.dns.len()), ("10.0.0.1".parse().ok(), 2));
    assert_eq!(read("razor.ip=eno1,fd00::5/64").0.ip.unwrap().port, Some(PortName::Name("eno1".to_owned())));
    for bad in
        ["10.0.0.5/33", "10.0.0.5/0", "eth0,10.0.0.5", "eth0/24", "a b,10.0.0.5/24", "/", "0.0.0.0/8", "224.0.0.1/4"]
    {
        assert_eq!(codes(&format!("razor.ip=\"{bad}\"")), ["bad_argument"], "{bad}");
    }
}

#[test]
fn vlans_and_bonds() {
    assert_eq!(read("razor.vlan=eth0,42").0.vlan.unwrap().id, 42);
    assert_eq!(read("razor.bond=802.3ad,eth0,eth1").0.bond.unwrap().ports.len(), 2);
    for bad in ["razor.vlan=0", "razor.vlan=4095", "razor.bond=team,eth0", "razor.bond=802.3ad", "razor.bond=802.3ad,"]
    {
        assert_eq!(codes(bad), ["bad_argument"], "{bad}");
    }
}

#[test]
fn the_originals_arguments() {
    let checkin = |line: &str| read(line).0.checkin.map(|c| c.url);
    assert_eq!(checkin("razor.register=http://s/svc/checkin/7").as_deref(), Some("http://s/svc/checkin/7"));
    assert_eq!(checkin("razor.register=http://s/old razor.checkin=http://s/new").as_deref(), Some("http://s/new"));
    assert_eq!(codes("razor.extend=http://s/svc/mk/extension.zip"), ["extend_refused"]);
}

#[test]
fn the_last_of_equal_keys_wins_and_others_programs_keys_are_left_alone() {
    let (line, problems) =
        read("quiet root=/dev/sda razor.interval=5 RAZOR.Interval=7 xrazor.log=debug razor.log=debug --");
    assert_eq!((line.interval, line.log, problems.len()), (Some(7), Some(Level::Debug), 0));
    let codes = codes("razor.colour=red razor.log=loud razor.interval=0");
    assert_eq!(codes, ["unknown_argument", "bad_argument", "bad_argument"]);
}

proptest! {
    #[test]
    fn no_line_panics(line in "\\PC*") {
        read(&line);
    }

    #[test]
    fn no_value_panics(
        key in "(server|checkin|register|ip|gw|dns|vlan|bond|interval|log|extend|fact\\.a|fact\\.)",
        value in "[\\PC]{0,40}",
    ) {
        read(&format!("razor.{key}={value}"));
    }

    #[test]
    fn a_url_that_is_taken_is_taken_unchanged_again(value in "[a-z0-9:/.\\[\\]@?-]{1,30}") {
        if let Some(url) = server(&format!("razor.server={value}")) {
            prop_assert!(url.starts_with("http://") || url.starts_with("https://"));
            prop_assert_eq!(server(&format!("razor.server={url}")), Some(url));
        }
    }

    #[test]
    fn facts_keep_their_values(name in "[a-zA-Z0-9_]{1,20}", value in "[a-zA-Z0-9 ,=./:]{0,30}") {
        let (line, problems) = read(&format!("x razor.fact.{name}=\"{value}\" y"));
        prop_assert_eq!(line.facts.get(&name), Some(&value));
        prop_assert!(problems.is_empty());
    }
}
