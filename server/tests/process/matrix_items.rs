//! The original's test matrix of node identity: where each item is tested, or why it is not.

/// Where an item is tested, or why it is not.
enum Item {
    /// In a test of `matrix.rs`.
    Here,
    /// In a unit test beside the code, or in another file: path from the crate's folder and the test's name.
    At(&'static str, &'static str),
    /// This server has no such thing.
    No(&'static str),
}
use Item::{At, Here, No};

const POLICIES: &str = "policies, tags, tasks and brokers are out of scope: this server installs nothing";
const CANONICAL: &str = "src/identity/canonical.rs";
const COMMANDS: &str = "tests/process/matrix_commands.rs";
const CONFIG: &str = "src/config/mod.rs";

/// All items, each once, by first and last number.
const ITEMS: [(u32, u32, Item); 54] = [
    (1, 1, At(CANONICAL, "matrix_1_numbered_ports_become_mac")),
    (2, 2, At(CANONICAL, "matrix_2_macs_are_lower_case_and_sorted")),
    (3, 3, At(CANONICAL, "matrix_3_keys_are_sorted")),
    (4, 4, At(CANONICAL, "matrix_4_blank_values_are_dropped")),
    (5, 5, At(CANONICAL, "matrix_5_hash_form_reads_back")),
    (6, 7, Here),
    (8, 8, No(POLICIES)),
    (9, 14, Here),
    (15, 15, No("freezing an object is a matter of Ruby")),
    (16, 29, Here),
    (30, 32, No(POLICIES)),
    (33, 34, Here),
    (35, 35, At("src/registry/action.rs", "matrix_35_the_log_names_the_setting")),
    (36, 38, No(POLICIES)),
    (39, 39, Here),
    (40, 42, No(POLICIES)),
    (43, 49, Here),
    (50, 51, At("src/identity/report.rs", "matrix_50_51_blacklisted_facts_are_not_stored")),
    (52, 57, Here),
    (58, 60, No(POLICIES)),
    (61, 61, No("nodes have no hostname before something is installed on them")),
    (62, 69, Here),
    (70, 70, No(POLICIES)),
    (71, 71, Here),
    (72, 73, No("templates and metadata belong to installation")),
    (74, 76, Here),
    (77, 77, No(POLICIES)),
    (78, 85, Here),
    (86, 88, Here),
    (89, 98, At(COMMANDS, "items_89_to_98_register_node")),
    (99, 107, At(COMMANDS, "items_99_to_107_set_node_hw_info")),
    (108, 108, No(POLICIES)),
    (109, 109, Here),
    (110, 110, No(POLICIES)),
    (111, 112, Here),
    (113, 113, No(POLICIES)),
    (114, 115, At(COMMANDS, "items_114_and_115_delete_node")),
    (116, 119, Here),
    (120, 120, No("this server speaks HTTP; TLS is for a proxy before it")),
    (121, 121, Here),
    (122, 123, No("this server speaks HTTP; TLS is for a proxy before it")),
    (124, 126, Here),
    (127, 128, At(CONFIG, "defaults_are_the_originals_but_for_the_agents_interval")),
    (129, 129, At("src/config/patterns.rs", "names_are_matched_whole")),
    (130, 130, At("src/config/patterns.rs", "a_bad_expression_is_named")),
    (131, 131, At("src/config/patterns.rs", "names_are_matched_whole")),
    (132, 132, At(CONFIG, "defaults_are_the_originals_but_for_the_agents_interval")),
    (133, 134, At(CONFIG, "wrong_values_are_named")),
    (135, 135, At(CONFIG, "a_users_facts_block_replaces_its_own_keys_only")),
    (136, 137, At("tests/process/limits.rs", "a_nodes_own_log_lines_are_kept")),
    (138, 138, Here),
    (139, 139, No("the API answers callers on the same machine only; there are no users")),
    (140, 140, Here),
    (141, 144, No(POLICIES)),
];

/// Last item of the matrix.
const LAST: u32 = 144;

#[test]
fn each_item_stands_exactly_once_and_its_test_exists() {
    let mut next = 1;
    let here = include_str!("matrix.rs");
    for (first, last, item) in &ITEMS {
        assert_eq!(*first, next, "items are in order, without gap and overlap");
        assert!(last >= first);
        next = last + 1;
        match item {
            Here => {
                for number in *first..=*last {
                    assert!(tested(here).contains(&number), "no test names item {number}");
                }
            }
            At(file, name) => {
                let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
                let text = std::fs::read_to_string(&path).unwrap();
                assert!(text.contains(&format!("fn {name}()")), "{file} has no test {name}");
            }
            No(why) => assert!(!why.is_empty()),
        }
    }
    assert_eq!(next, LAST + 1);
}

/// Numbers in the names of that file's tests: `items_6_to_12_and_69_…`.
fn tested(text: &str) -> std::collections::BTreeSet<u32> {
    let mut numbers = std::collections::BTreeSet::new();
    for name in text.lines().filter_map(|l| l.trim().strip_prefix("async fn item")) {
        let (mut from, mut before) = (None, None);
        for word in name.trim_start_matches('s').split('_').skip(1) {
            match (word, word.parse::<u32>()) {
                (_, Ok(number)) => {
                    numbers.extend(from.take().unwrap_or(number)..=number);
                    before = Some(number);
                }
                ("to", _) => from = before,
                ("and", _) => {}
                _ => break,
            }
        }
    }
    numbers
}
