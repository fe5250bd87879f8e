//! Built images, opened with outside tools: that they are what the table of variants says, that the rules which the
//! kernel keeps silently are kept, and that what lies beside an ISO belongs to it. Images are found through `MK_DIST`.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test may fail loudly")]

mod again;
mod bill;
mod drivers;
mod image;
mod secrets;

use std::collections::BTreeMap;
use std::fs;

use duct::cmd;
use image::{Image, VARIANTS};

/// Largest production ISO in bytes.
const MAX_ISO: u64 = 48 * 1024 * 1024;
/// On the kernel line of every entry.
const EVERY_LINE: [&str; 4] = ["rootfstype=ramfs", "panic=60", "raid=noautodetect", "cryptomgr.notests"];

fn images() -> impl Iterator<Item = &'static Image> {
    VARIANTS.into_iter().map(Image::open)
}

#[test]
fn remote_login_is_where_the_table_says() {
    for image in images() {
        let paths = image.everything();
        let sshd: Vec<_> = paths.iter().filter(|path| path.contains("ssh")).collect();
        if !image.has_ssh() {
            assert!(sshd.is_empty(), "a production image has {sshd:?}");
            assert!(image.members("site").is_empty(), "the slot of a production image is empty");
            continue;
        }
        assert!(sshd.iter().any(|path| path.ends_with("bin/sshd")), "{}: {sshd:?}", image.variant);
        assert!(!sshd.iter().any(|path| path.contains("ssh_host_")), "a host key that all images share: {sshd:?}");
        let config = image.text("root/etc/razor-mk/sshd_config");
        for line in ["PasswordAuthentication no", "KbdInteractiveAuthentication no", "AuthenticationMethods publickey"]
        {
            assert!(config.lines().any(|have| have == line), "{line}");
        }
        let site = image.members("site");
        let mode = |path: &str| site.iter().find(|entry| entry.path == path).map(|entry| entry.mode.clone());
        assert_eq!(mode("root/.ssh/authorized_keys").as_deref(), Some("-rw-------"), "{site:?}");
        assert_eq!(mode("root/.ssh").as_deref(), Some("drwx------"), "{site:?}");
    }
}

#[test]
fn consoles_have_a_shell_in_debug_images_only() {
    for image in images() {
        let units = fs::read_dir(image.path("root/etc/razor-mk/units.d")).into_iter().flatten().flatten();
        let mut units: Vec<String> = units.map(|entry| entry.file_name().into_string().unwrap()).collect();
        units.sort();
        let expected: &[&str] = match image.variant {
            "production" => &[],
            "development" => &["sshd.toml"],
            _ => &["shell-tty2.toml", "shell-ttys0.toml", "sshd.toml"],
        };
        assert_eq!(units, expected, "{}", image.variant);
        let inittab = image.text("root/etc/inittab");
        let commands = inittab.lines().filter(|line| !line.starts_with('#')).collect::<Vec<_>>().join("\n");
        assert!(!commands.contains("getty") && !commands.contains("/sh"), "{inittab}");
    }
}

#[test]
fn no_account_has_a_password() {
    for image in images() {
        for line in image.text("root/etc/shadow").lines() {
            assert_eq!(line.split(':').nth(1), Some("*"), "{line}");
        }
        assert!(!image.text("root/etc/sudoers").contains("NOPASSWD"));
    }
}

#[test]
fn boot_entries_are_as_the_table_says() {
    for image in images() {
        let (isolinux, grub) = image.kernel_lines();
        assert_eq!(isolinux, grub, "{}: both loaders have the same entries", image.variant);
        assert_eq!(isolinux.len(), if image.has_ssh() { 2 } else { 1 }, "{}", image.variant);
        let level = if image.variant == "debug" { "loglevel=7" } else { "loglevel=6" };
        for (index, line) in isolinux.iter().enumerate() {
            let words: Vec<&str> = line.split(' ').collect();
            assert!(EVERY_LINE.iter().chain([&level]).all(|word| words.contains(word)), "{line}");
            // Nothing else is started in its place: the kernel would go on to the base's init, and at last to a shell.
            for word in ["rdinit=/sbin/mk-agent", "init=/sbin/mk-agent"] {
                assert_eq!(words.contains(&word), index == 0, "{line}");
            }
            let core = ["base", "norestore", "noswap", "nofstab"].iter().all(|word| words.contains(word));
            assert_eq!(core, index == 1, "{line}");
        }
    }
}

#[test]
fn a_production_loader_is_locked_and_the_others_are_not() {
    for image in images() {
        let isolinux = image.text("iso/boot/isolinux/isolinux.cfg");
        let (grub, finder) = (image.text("iso/boot/grub/grub.cfg"), esp_file(image, "grub.cfg"));
        let locked = !image.has_ssh();
        for line in ["prompt 0", "noescape 1", "allowoptions 0"] {
            assert_eq!(isolinux.lines().any(|have| have == line), locked, "{}: {line}", image.variant);
        }
        for text in [&grub, &finder] {
            assert_eq!(text.contains("set superusers="), locked, "{}: {text}", image.variant);
            assert!(!text.contains("password"), "{text}");
        }
        assert_eq!(grub.contains("set timeout=0\n"), locked);
    }
}

fn esp_file(image: &Image, name: &str) -> String {
    cmd!("mtype", "-i", image.path("iso/boot/efi.img"), format!("::/EFI/BOOT/{name}")).read().unwrap()
}

#[test]
fn initrds_are_loaded_in_order_by_both_loaders() {
    for image in images() {
        let initrds = ["/boot/corepure64.gz", "/boot/mk.gz", "/boot/site.img"];
        let lines = |file: &str, joint: &str| {
            let expected = format!("initrd {}", initrds.join(joint));
            image.text(file).lines().filter(|line| line.trim() == expected).count()
        };
        let entries = image.kernel_lines().0.len();
        assert_eq!(lines("iso/boot/isolinux/isolinux.cfg", ","), entries);
        assert_eq!(lines("iso/boot/grub/grub.cfg", " "), entries);
    }
}

#[test]
fn the_iso_boots_by_bios_and_uefi_from_cd_and_stick() {
    for image in images() {
        let report = |what: &str| {
            let report = cmd!("xorriso", "-indev", &image.iso, what, "plain").stderr_null();
            report.read().unwrap()
        };
        let catalog = report("-report_el_torito");
        assert!(catalog.contains("boot-info-table isohybrid-suitable"), "{catalog}");
        assert!(catalog.contains("UEFI") && catalog.contains("/boot/efi.img"), "{catalog}");
        let area = report("-report_system_area");
        assert!(area.contains("MBR isohybrid") && area.contains("GPT"), "{area}");
        let volume = cmd!("xorriso", "-indev", &image.iso, "-pvd_info").stderr_null().read().unwrap();
        assert!(volume.contains("Volume Id    : Razor MK "), "{volume}");
        for name in ["BOOTX64.EFI", "grubx64.efi"] {
            let program = image.path(name);
            cmd!("mcopy", "-n", "-i", image.path("iso/boot/efi.img"), format!("::/EFI/BOOT/{name}"), &program)
                .run()
                .unwrap();
            assert!(fs::read(&program).unwrap().starts_with(b"MZ"), "{name} is no program");
        }
        assert!(image.path("iso/.disk/info").is_file(), "Debian's GRUB knows its medium by this file");
    }
}

#[test]
fn folders_come_before_their_files_and_never_over_a_link() {
    for image in images() {
        let mut kinds: BTreeMap<String, char> = BTreeMap::new();
        let kind = |mode: &str| mode.chars().next().unwrap();
        for entry in image.members("base") {
            kinds.insert(entry.path.trim_start_matches("./").to_owned(), kind(&entry.mode));
        }
        for archive in ["first", "second", "site"] {
            for entry in image.members(archive) {
                assert_eq!(entry.owner, "root:root", "{}", entry.path);
                if let Some((parent, _)) = entry.path.rsplit_once('/') {
                    assert_eq!(kinds.get(parent), Some(&'d'), "the kernel would drop {}: {parent}", entry.path);
                }
                let before = kinds.insert(entry.path.clone(), kind(&entry.mode));
                assert_ne!((before, kind(&entry.mode)), (Some('l'), 'd'), "{} hides what it led to", entry.path);
            }
        }
    }
}

#[test]
fn the_bases_initrd_is_bit_for_bit_its_own() {
    let image = Image::open("production");
    let mkiso = std::env::var_os("MKISO_BIN").expect("MKISO_BIN names the program; use cargo xtask test");
    let (base, tree) = (image.path("base.iso"), image.path("base"));
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
    cmd!(mkiso, "base", "--out", &base).dir(root).stdout_null().run().unwrap();
    let extract = cmd!("xorriso", "-osirrox", "on", "-indev", &base, "-extract", "/boot", &tree);
    extract.stdout_null().stderr_null().run().unwrap();
    for name in ["vmlinuz64", "corepure64.gz"] {
        let (theirs, ours) = (fs::read(tree.join(name)).unwrap(), image.path(&format!("iso/boot/{name}")));
        assert!(theirs == fs::read(ours).unwrap(), "{name} was changed");
    }
}

#[test]
fn files_for_pxe_are_those_of_the_iso() {
    for image in images() {
        let part = |name: &str| fs::read(image.path(&format!("iso/boot/{name}"))).unwrap();
        assert!(fs::read(image.beside("vmlinuz")).unwrap() == part("vmlinuz64"));
        let mut expected = part("corepure64.gz");
        expected.resize(expected.len().next_multiple_of(4), 0);
        expected.extend(part("mk.gz"));
        let slot = expected.len();
        expected.extend(part("site.img"));
        assert!(fs::read(image.beside("initrd")).unwrap() == expected, "{}", image.variant);
        let embed: serde_json::Value = serde_json::from_slice(&fs::read(image.beside("embed.json")).unwrap()).unwrap();
        assert_eq!(embed["site"]["path"].as_str(), image.beside("initrd").file_name().unwrap().to_str());
        assert_eq!(embed["site"]["offset"], slot);
        let embed = image.json("iso/mk/embed.json");
        assert_eq!(embed["site"]["path"], "/boot/site.img");
        assert_eq!(embed["site"]["length"], part("site.img").len());
        assert_eq!(embed["features"]["ssh_key"], image.has_ssh());
    }
}

#[test]
fn checksums_and_digests_are_right() {
    for image in images() {
        let sums = image.beside("sha256");
        cmd!("sha256sum", "--check", "--quiet", &sums).dir(sums.parent().unwrap()).run().unwrap();
        let metadata = image.text("iso/iso-metadata.yaml");
        for (key, file) in [("kernel_hash", "vmlinuz64"), ("initrd_hash", "corepure64.gz"), ("mk_initrd_hash", "mk.gz")]
        {
            let path = format!("iso/boot/{file}");
            let digest = &image.sha256(&[&path])[&path];
            assert!(metadata.lines().any(|line| line == format!("{key}: {digest}")), "{key} in {metadata}");
        }
        let about = image.json("root/etc/razor-mk/image.json");
        assert_eq!(about["variant"], image.variant);
        for name in image.extensions() {
            let path = format!("root/tmp/builtin/optional/{name}");
            assert_eq!(about["extensions"][&name], image.sha256(&[&path])[&path].as_str(), "{name}");
        }
    }
}

#[test]
fn the_agent_is_static_and_executable() {
    for image in images() {
        let agents: Vec<_> = image.members("first").into_iter().filter(|e| e.path.ends_with("/mk-agent")).collect();
        assert_eq!(agents.len(), 1, "{agents:?}");
        assert_eq!(agents[0].mode, "-rwxr-xr-x");
        let headers = cmd!("readelf", "-lW", image.path("root").join(&agents[0].path)).read().unwrap();
        assert!(!headers.contains("INTERP") && !headers.contains("DYNAMIC"), "{headers}");
    }
}

#[test]
fn built_in_extensions_are_there_with_drivers_and_firmware_first() {
    for image in images() {
        let extensions = image.extensions();
        assert!(extensions[0].starts_with("drivers-"), "{extensions:?}");
        for name in ["bash.tcz", "dmidecode.tcz", "lshw.tcz"] {
            assert!(extensions.iter().any(|have| have == name), "{name} in {extensions:?}");
        }
        let only_in_mirror = "open-vm-tools.tcz";
        assert!(!extensions.iter().any(|name| name == only_in_mirror), "{extensions:?}");
        assert!(image.path(&format!("root/tmp/builtin/optional/{only_in_mirror}")).is_file());
        let early = image.json("root/etc/razor-mk/image.json")["early"].as_array().unwrap().len();
        let all = image.everything();
        let early_firmware = all.iter().find(|path| path.contains("bnx2") && path.ends_with(".fw")).unwrap();
        assert!(extensions[..early].iter().any(|name| early_firmware.contains(name)), "{early_firmware}");
        for module in ["/bnx2.ko", "/megaraid_sas.ko", "/mpt3sas.ko", "/virtio_net.ko", "/nvme.ko"] {
            assert!(all.iter().any(|path| path.contains(module)), "{module}");
        }
    }
}

/// Open VM Tools call it when vSphere asks for it.
#[test]
fn shutdown_does_what_it_is_told_and_nothing_else() {
    let image = Image::open("production");
    let entry = image.members("first").into_iter().find(|entry| entry.path.ends_with("sbin/shutdown")).unwrap();
    assert_eq!(entry.mode, "-rwxr-xr-x");
    let (script, stubs) = (image.path("root").join(&entry.path), image.path("stubs"));
    fs::create_dir_all(&stubs).unwrap();
    for name in ["reboot", "poweroff"] {
        fs::write(stubs.join(name), format!("#!/bin/sh\necho {name}\n")).unwrap();
        cmd!("chmod", "755", stubs.join(name)).run().unwrap();
    }
    let run = |word: &str| {
        let command = cmd!("/bin/sh", &script, word, "now").env("PATH", &stubs);
        command.unchecked().stderr_null().read().unwrap()
    };
    let said = ["-r", "-h", "-P", "-c", ""].map(run);
    assert_eq!(said, ["reboot", "poweroff", "poweroff", "", ""]);
}

#[test]
fn a_production_iso_is_small() {
    let size = Image::open("production").iso.metadata().unwrap().len();
    println!("production ISO: {} MiB", size / 1024 / 1024);
    assert!(size <= MAX_ISO, "the production ISO has {size} bytes, more than {MAX_ISO}");
}
