//! A mirror whose extensions nobody pushed digests of: the unit `ext` takes what a signed index names, if a key of the image has
//! signed it for this release and kernel, and nothing else. Each lie has its code in the report.

use std::fs;

use minisign::KeyPair;
use serde_json::{Value, json};
use tce_mirror::checksum::{hex, md5};
use tce_mirror::signed::{Entry, Index};

use crate::extensions::{ENDLESS, Mirror, Node, TCZ, can_mount, extension, sha256};
use crate::sandbox::eventually;

/// The lowest number that the image takes.
const FLOOR: u64 = 100;
/// The number of the index that is right.
const NUMBER: u64 = 200;
const LATER: i64 = 4_000_000_000;

/// A mirror with two extensions, and the key of its owner.
struct Signed {
    mirror: Mirror,
    pair: KeyPair,
    good: Vec<u8>,
    index: Index,
}

impl Signed {
    fn new() -> Self {
        let mut index =
            Index::new("17.x/x86_64".to_owned(), Some("6.1.0".to_owned()), NUMBER, 1_700_000_000, Some(LATER));
        let mirror = Mirror::default();
        let (good, more) = (extension("good", 0), extension("more-6.1.0", 0));
        for (name, bytes, needs) in [("good.tcz", &good, vec!["more-KERNEL.tcz"]), ("more-6.1.0.tcz", &more, vec![])] {
            mirror.add(name, bytes, "");
            let needs = needs.into_iter().map(str::to_owned).collect();
            let entry = Entry { size: bytes.len() as u64, sha256: sha256(bytes), needs };
            index.extensions.insert(name.to_owned(), entry);
        }
        mirror.put("/tc/tce-install-list", b"good.tcz\n");
        let pair = KeyPair::generate_unencrypted_keypair().unwrap();
        Self { mirror, pair, good, index }
    }

    fn key(&self) -> String {
        self.pair.pk.to_base64()
    }

    /// Puts an index beside the extensions, signed by this key.
    fn put(&self, index: &Index, pair: &KeyPair) {
        let bytes = serde_json::to_vec(index).unwrap();
        let signature = minisign::sign(None, &pair.sk, &bytes[..], Some("t"), None).unwrap().into_string();
        self.mirror.put(&format!("{TCZ}/mk-index.json"), &bytes);
        self.mirror.put(&format!("{TCZ}/mk-index.json.minisig"), signature.as_bytes());
    }

    /// The right index, changed and signed.
    fn put_changed(&self, change: impl FnOnce(&mut Index)) {
        let mut index = self.index.clone();
        change(&mut index);
        self.put(&index, &self.pair);
    }

    /// Puts other bytes in the place of `good.tcz`, with the checksum that fits them.
    fn swap(&self, bytes: &[u8]) {
        self.mirror.put(&format!("{TCZ}/good.tcz"), bytes);
        self.mirror.put(&format!("{TCZ}/good.tcz.md5.txt"), format!("{}  good.tcz\n", hex(&md5(bytes))).as_bytes());
    }

    /// All as it should be.
    fn mend(&self) {
        self.swap(&self.good);
        self.put(&self.index, &self.pair);
    }
}

/// A node whose image has this key.
fn node(key: &str) -> Node {
    let node = Node::new(&[]);
    let image = json!({"kernel": "6.1.0", "mirror_keys": [key], "mirror_floor": FLOOR});
    fs::write(node.place.path("etc/razor-mk/image.json"), image.to_string()).unwrap();
    node
}

type Lie<'a> = (&'static str, &'static str, Box<dyn Fn() + 'a>);

/// What a mirror may do, with the report's code and words of it.
fn lies(signed: &Signed) -> Vec<Lie<'_>> {
    let other = KeyPair::generate_unencrypted_keypair().unwrap();
    let index = format!("{TCZ}/mk-index.json");
    let changed = move |change: fn(&mut Index)| -> Box<dyn Fn() + '_> { Box::new(move || signed.put_changed(change)) };
    let entry = |index: &mut Index, size| index.extensions.get_mut("good.tcz").unwrap().size = size;
    let endless = index.clone();
    vec![
        ("index_unsigned", "mk-index.json is not there", Box::new(|| {})),
        ("index_unknown_key", "key that is not in the image", Box::new(move || signed.put(&signed.index, &other))),
        ("index_bad_signature", "changed after it was signed", {
            Box::new(move || {
                signed.put_changed(|i| i.sequence = NUMBER + 1);
                signed.mirror.put(&index, &serde_json::to_vec(&signed.index).unwrap());
            })
        }),
        ("index_not_fetched", "longer than", Box::new(move || signed.mirror.put(&endless, ENDLESS))),
        ("index_wrong_kernel", "for the kernel 6.2.0, and 6.1.0 is running", {
            changed(|i| i.kernel = Some("6.2.0".to_owned()))
        }),
        ("index_wrong_release", "for 16.x/x86_64, not 17.x", changed(|i| i.repository = "16.x/x86_64".to_owned())),
        ("index_stale", "expired", changed(|i| i.expires = Some(1_700_000_001))),
        ("index_stale", "number 99, and number 100 was seen", changed(|i| i.sequence = FLOOR - 1)),
        ("extension_not_listed", "nor the mirror's signed index names it", changed(|i| i.extensions.clear())),
        ("extension_too_large", "there is room for", Box::new(move || signed.put_changed(|i| entry(i, 1 << 50)))),
        ("extension_swapped", "is not the pinned", Box::new(|| signed.swap(&extension("bad", 0)))),
        ("extension_swapped", "is not the pinned", Box::new(|| signed.swap(&signed.good[..signed.good.len() - 1]))),
        ("extension_swapped", "is longer than", {
            Box::new(|| signed.mirror.put(&format!("{TCZ}/good.tcz"), ENDLESS))
        }),
        ("extension_swapped", "MD5", Box::new(|| signed.mirror.put(&format!("{TCZ}/good.tcz"), b"x"))),
    ]
}

#[test]
fn only_what_a_key_of_the_image_signed_for_this_machine_is_loaded() {
    if !can_mount() {
        return;
    }
    let signed = Signed::new();
    let node = node(&signed.key());
    let config = json!({"mk_tce_mirror_uri": signed.mirror.serve()});
    let _unit = node.place.start("checkin");
    let mut version = 0;
    for (code, words, lie) in lies(&signed) {
        if version > 0 {
            signed.mend();
        }
        version += 1;
        lie();
        let state = node.push(version, &config);
        let problem = &state["refused"]["problem"];
        assert_eq!(problem["code"], code, "{words}: {state}");
        assert!(problem["error"].as_str().unwrap().contains(words), "{words}: {state}");
        assert!(!problem["remedy"].as_str().unwrap().is_empty() && state["version"] == 0, "{state}");
        assert!(node.said().is_empty() && node.downloads().is_empty(), "{code}: {:?}", node.downloads());
    }
    signed.mend();
    // The index of before, as who comes while the folder is being signed has it.
    let former = Index { sequence: NUMBER - 1, ..signed.index.clone() };
    signed.mirror.put_once(&format!("{TCZ}/mk-index.json"), &serde_json::to_vec(&former).unwrap());
    assert_eq!(node.push(50, &config), json!({"version": 50}));
    assert_eq!(node.said(), "more-6.1.0\ngood\n", "with what the index says that it needs");
    let told = eventually("the number", || {
        let seen = node.server.seen.lock().unwrap();
        seen.last().map(|s| s.json()["agent"]["mirror_index"].clone()).filter(Value::is_object)
    });
    assert_eq!(told, json!({signed.key(): NUMBER}));
}

#[test]
fn an_index_from_before_is_refused_in_this_boot_and_in_the_next() {
    if !can_mount() {
        return;
    }
    let mut signed = Signed::new();
    let node = node(&signed.key());
    let url = signed.mirror.serve();
    let config = |list: &str| json!({"mk_tce_mirror_uri": url, "mk_tce_install_list_uri": list});
    signed.mirror.put("/tc/more", b"more-6.1.0.tcz\n");
    let unit = node.place.start("checkin");
    signed.mend();
    assert_eq!(node.push(1, &config("/more")), json!({"version": 1}));
    let refused = |state: &Value, words: &str| {
        assert_eq!(state["refused"]["problem"]["code"], "index_stale", "{state}");
        assert!(state["refused"]["problem"]["error"].as_str().unwrap().contains(words), "{state}");
    };
    signed.put_changed(|index| index.sequence = NUMBER - 1);
    refused(&node.push(2, &config("/tce-install-list")), "number 199, and number 200 was seen");

    // Restarted, the units still know.
    drop(unit);
    let _unit = node.place.start("checkin");
    refused(&node.push(3, &config("/tce-install-list")), "number 199, and number 200 was seen");

    // The server knows a later one of a boot before; what it says of a key that is not the image's is nothing.
    signed.mend();
    let number = NUMBER + 1;
    let told = json!({signed.key(): number, "another": u64::MAX});
    *node.push.lock().unwrap() = json!({"mirror_index": told});
    eventually("the word", || (node.place.state("config")["mirror_index"][signed.key()] == number).then_some(()));
    refused(&node.push(4, &config("/tce-install-list")), "number 200, and number 201 was seen");
    assert_eq!(node.place.state("config")["mirror_index"], json!({signed.key(): number}));

    // The same number is no step back.
    signed.index.sequence = number;
    signed.mend();
    assert_eq!(node.push(5, &config("/tce-install-list")), json!({"version": 5}));
}
