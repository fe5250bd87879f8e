//! Which index is taken, case by case, with keys of the program that signs.

use minisign::KeyPair;
use proptest::prelude::*;

use super::*;

struct Key {
    pair: KeyPair,
    public: String,
}

fn key() -> Key {
    let pair = KeyPair::generate_unencrypted_keypair().unwrap();
    let public = pair.pk.to_base64();
    Key { pair, public }
}

fn signed(bytes: &[u8], key: &Key) -> Vec<u8> {
    minisign::sign(None, &key.pair.sk, bytes, Some("trusted"), None).unwrap().into_string().into_bytes()
}

fn index() -> Index {
    let entry = Entry { size: 3, sha256: "0f".repeat(32), needs: vec!["net-KERNEL.tcz".to_owned()] };
    let mut index = Index::new("17.x/x86_64".to_owned(), Some("6.1.0".to_owned()), 7, 1_700_000_000, None);
    index.extensions.insert("a.tcz".to_owned(), entry);
    index
}

fn fault<T: fmt::Debug>(result: Result<T, Refusal>) -> Fault {
    result.unwrap_err().fault
}

#[test]
fn only_what_a_known_key_signed_is_read() {
    let (own, other) = (key(), key());
    let bytes = serde_json::to_vec(&index()).unwrap();
    let signature = signed(&bytes, &own);
    let keys = [other.public.clone(), own.public.clone()];
    assert_eq!(open(&bytes, &signature, &keys).unwrap(), (index(), own.public.as_str()));
    assert_eq!(fault(open(&bytes, &signature, &keys[..1])), Fault::UnknownKey);
    assert_eq!(fault(open(&bytes, &signature, &[])), Fault::UnknownKey);
    assert_eq!(fault(open(&bytes, b"no signature", &keys)), Fault::BadSignature);
    assert_eq!(fault(open(&bytes, &[0xff; 300], &keys)), Fault::BadSignature);
    let mut changed = bytes.clone();
    for at in 0..bytes.len() {
        changed[at] ^= 1;
        assert_eq!(fault(open(&changed, &signature, &keys)), Fault::BadSignature, "byte {at}");
        changed[at] ^= 1;
    }
    // The number of another key, over our own signature.
    let text = String::from_utf8(signed(&bytes, &other)).unwrap();
    let ours = String::from_utf8(signature).unwrap();
    let mixed: Vec<&str> = text.lines().take(2).chain(ours.lines().skip(2).take(2)).collect();
    assert_eq!(fault(open(&bytes, mixed.join("\n").as_bytes(), &keys)), Fault::BadSignature);
}

#[test]
fn a_signed_index_that_makes_no_sense_is_refused() {
    let own = key();
    let whole = serde_json::to_value(index()).unwrap();
    let with = |pointer: &str, value: serde_json::Value| {
        let mut changed = whole.clone();
        *changed.pointer_mut(pointer).unwrap() = value;
        serde_json::to_vec(&changed).unwrap()
    };
    let cases = [
        b"{}".to_vec(),
        with("/format", 2.into()),
        with("/extensions/a.tcz/sha256", "0f".into()),
        with("/extensions/a.tcz/sha256", "zz".repeat(32).into()),
        with("/extensions/a.tcz/size", (-1).into()),
        with("/extensions/a.tcz/needs", serde_json::json!(["../x.tcz"])),
        with("/extensions", serde_json::json!({"../a.tcz": whole["extensions"]["a.tcz"]})),
        with("/extensions", serde_json::json!({"a": whole["extensions"]["a.tcz"]})),
    ];
    for bytes in cases {
        let keys = [own.public.clone()];
        let shown = String::from_utf8_lossy(&bytes).into_owned();
        assert_eq!(fault(open(&bytes, &signed(&bytes, &own), &keys)), Fault::BadIndex, "{shown}");
    }
}

#[test]
fn an_index_is_for_one_release_one_kernel_and_a_time() {
    let of = |change: &dyn Fn(&mut Index)| {
        let mut index = index();
        change(&mut index);
        index
    };
    let here = Expected { repository: "17.x/x86_64", kernel: Some("6.1.0"), floor: 7, now: 1_700_000_000 };
    index().check(&here).unwrap();
    index().check(&Expected { kernel: None, ..here }).unwrap();
    of(&|i| i.kernel = None).check(&here).unwrap();
    of(&|i| i.expires = Some(here.now + 1)).check(&here).unwrap();
    for (wrong, what, words) in [
        (of(&|i| i.repository = "16.x/x86_64".into()), Fault::WrongRelease, "16.x/x86_64, not 17.x"),
        (of(&|i| i.repository = "17.x/x86".into()), Fault::WrongRelease, "17.x/x86,"),
        (of(&|i| i.kernel = Some("6.1.0-1".into())), Fault::WrongKernel, "6.1.0-1, and 6.1.0 is running"),
        (of(&|i| i.sequence = 6), Fault::Stale, "number 6, and number 7 was seen"),
        (of(&|i| i.expires = Some(here.now)), Fault::Stale, "expired 0 days ago"),
        (of(&|i| i.expires = Some(here.now - 200_000)), Fault::Stale, "expired 2 days ago"),
        (of(&|i| i.expires = Some(i64::MIN)), Fault::Stale, "expired"),
    ] {
        let refusal = wrong.check(&here).unwrap_err();
        assert!(refusal.fault == what && refusal.why.contains(words), "{refusal:?}");
    }
}

#[test]
fn a_public_key_is_taken_in_both_forms() {
    let public = key().public;
    let file = format!("untrusted comment: minisign public key\r\n{public}\r\n\n");
    assert_eq!(public_key(&file).unwrap(), public);
    assert_eq!(public_key(&public).unwrap(), public);
    for bad in ["", "RWx", "untrusted comment: x\n", &public[1..]] {
        assert!(public_key(bad).unwrap_err().contains("no public key"), "{bad}");
    }
}

proptest! {
    #[test]
    fn any_bytes_are_refused(index in ".{0,60}", signature in "(untrusted comment: .{0,9}\n)?.{0,99}(\n.{0,80}){0,3}") {
        let keys = ["RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3".to_owned()];
        let refused = open(index.as_bytes(), signature.as_bytes(), &keys).unwrap_err();
        prop_assert!(matches!(refused.fault, Fault::BadSignature | Fault::UnknownKey));
    }
}
