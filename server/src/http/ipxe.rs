//! iPXE scripts. Pure text; every value that goes in is either ours or made harmless first.

use std::fmt::Write as _;

use wire::error::Problem;

/// Retries of the bootstrap script; it waits one second longer before each.
const TRIES: u32 = 60;
/// Seconds before a script starts over, so that its message can be read.
const READING_PAUSE_S: u32 = 10;
/// Tells the microkernel by which port it came, in PXELINUX's form: iPXE puts in the port that it opened last.
const BOOT_PORT: &str = "BOOTIF=01-${netX/mac:hexhyp}";
/// Variable by which a script tells the bootstrap script that called it to ask again.
const ASK_AGAIN: &str = "razor_ask_again";

/// A microkernel to boot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Microkernel<'a> {
    /// URL of the folder with `vmlinuz` and `initrd`.
    pub files: String,
    /// Where it shall check in.
    pub checkin: String,
    /// The image's own arguments.
    pub image_args: &'a str,
    /// The operator's arguments.
    pub kernel_args: &'a str,
    /// `quiet`, `debug` or empty.
    pub debug_level: &'a str,
    /// Seconds for which a failure is shown.
    pub interval: u32,
}

/// Boots the microkernel. Under UEFI the kernel finds its initrd only by the name on its command line.
#[must_use]
pub fn microkernel(title: &str, kernel: &Microkernel<'_>) -> String {
    let Microkernel { files, checkin, image_args, kernel_args, debug_level, interval } = kernel;
    let checkin = format!("razor.checkin={checkin}");
    let args = ["initrd=initrd", image_args, debug_level, &checkin, BOOT_PORT, kernel_args];
    let args: Vec<&str> = args.into_iter().filter(|a| !a.is_empty()).collect();
    format!(
        "#!ipxe\necho {}\nkernel {files}/vmlinuz {} || goto failed\ninitrd {files}/initrd || goto failed\nboot || goto \
         failed\n:failed\necho The microkernel could not be loaded from {files}\nprompt --key s --timeout {} Press s for \
         the iPXE shell; rebooting in {interval} seconds || reboot\nshell\n",
        harmless(title),
        args.join(" "),
        u64::from(*interval) * 1000,
    )
}

/// Starts what is installed on the machine.
#[must_use]
pub fn boot_local(title: &str, sanboot: bool) -> String {
    // Firmware of virtual machines starts over after an exit, so these get the first disk itself, as in the original.
    let disk = if sanboot { "sanboot --no-describe --drive 0x80 ||\n" } else { "" };
    format!("#!ipxe\necho {}: booting from its own disk\nsleep 3\n{disk}exit 0\n", harmless(title))
}

/// Shows why nothing can be booted, and lets the bootstrap script ask again. It does not fail: iPXE would add that it
/// could not boot, and the bootstrap script that nobody answered.
#[must_use]
pub fn nothing_to_boot(title: &str, problem: &Problem) -> String {
    let (title, shown) = (harmless(title), shown(problem));
    format!("#!ipxe\necho {title}\n{shown}sleep {READING_PAUSE_S}\nset {ASK_AGAIN} yes\nexit 0\n")
}

/// Shows why the machine was not recognised, then goes on with `then`, a script of its own.
#[must_use]
pub fn refused(problem: &Problem, then: &str) -> String {
    let then = then.strip_prefix("#!ipxe\n").unwrap_or(then);
    format!("#!ipxe\n{}sleep 5\n{then}", shown(problem))
}

fn shown(problem: &Problem) -> String {
    format!("echo {}: {}\necho {}\n", harmless(&problem.code), harmless(&problem.error), harmless(&problem.remedy))
}

/// The script that every machine loads first: gets an address where there is none, then asks for the machine's own
/// script, with all that iPXE knows of it. Serial and asset come last, since iPXE never escapes an `&` in them.
#[must_use]
pub fn bootstrap(base: &str, nic_max: u32) -> String {
    let mut ports = String::new();
    for n in 0..nic_max {
        let _ = write!(
            ports,
            ":net{n}\nisset ${{net{n}/mac}} || goto net{next}\ndhcp net{n} || goto net{next}\necho net{n} has \
             DHCP\nset dhcp_mac ${{net{n}/mac:hexhyp}}\ngoto chain\n",
            next = n + 1,
        );
    }
    let macs: Vec<String> = (0..nic_max).map(|n| format!("net{n}=${{net{n}/mac:hexhyp}}")).collect();
    let query = format!(
        "{}&dhcp_mac=${{dhcp_mac}}&uuid=${{uuid}}&fact_boot_type=${{platform}}&serial=${{serial:uristring}}&\
         asset=${{asset:uristring}}",
        macs.join("&")
    );
    format!(
        "#!ipxe\necho Razor Microkernel: asking {base} what to boot\nset tries:int32 0\nset maxtries:int32 {TRIES}\n\
         :retry\nisset ${{ip}} || goto net0\nset dhcp_mac ${{mac:hexhyp}}\ngoto chain\n{ports}\
         :net{nic_max}\necho No port got an address by DHCP\ngoto error\n\
         :chain\nclear {ASK_AGAIN} ||\nchain {base}/svc/boot?{query} || goto why\ngoto done\n\
         :why\nchain {base}/svc/boot/why?{query} || goto error\n\
         :done\nisset ${{{ASK_AGAIN}}} && goto chain ||\necho Going on with the next boot device\nexit\n\
         :error\niseq ${{tries}} ${{maxtries}} && goto failed ||\ninc tries\n\
         echo No answer from {base}; try ${{tries}} of ${{maxtries}} follows in ${{tries}} seconds\n\
         sleep ${{tries}}\ngoto retry\n\
         :failed\necho {base} could not be reached. Check the cable, the DHCP server and the server; rebooting\nsleep \
         60\nreboot\n"
    )
}

/// Text that iPXE prints as it is: printable ASCII without the characters that it gives a meaning to.
fn harmless(text: &str) -> String {
    let harmless = |c: char| match c {
        ';' => ',',
        '$' | '&' | '|' | '#' => '?',
        ' '..='~' => c,
        _ => '?',
    };
    text.chars().map(harmless).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bootstrap_mends_both_bugs_of_dhcp_mac() {
        let script = bootstrap("http://10.0.2.2:8150", 2);
        assert!(script.contains("set dhcp_mac ${net0/mac:hexhyp}\ngoto chain\n:net1\n"), "{script}");
        assert!(!script.contains("netN$") && !script.contains("net0$"), "{script}");
        assert!(
            script.contains("goto net2") && script.contains("\n:net2\n"),
            "the last port fails to a label that exists"
        );
        let query = script.lines().find(|l| l.starts_with("chain") && l.contains("/svc/boot?")).unwrap();
        assert!(query.ends_with("serial=${serial:uristring}&asset=${asset:uristring} || goto why"), "{query}");
    }

    #[test]
    fn a_script_with_nothing_to_boot_is_asked_for_again() {
        let script = nothing_to_boot("node1", &Problem::new("no_image", "none", "add one"));
        assert!(script.ends_with("\nset razor_ask_again yes\nexit 0\n"), "{script}");
        let bootstrap = bootstrap("http://h", 1);
        let chain = bootstrap.find("\n:chain\nclear razor_ask_again ||\nchain http://h/svc/boot?").unwrap();
        let done = bootstrap.find("\n:done\nisset ${razor_ask_again} && goto chain ||\n").unwrap();
        assert!(chain < done, "{bootstrap}");
    }

    #[test]
    fn every_label_exists() {
        let script = bootstrap("http://h", 4);
        let labels: Vec<&str> = script.lines().filter_map(|l| l.strip_prefix(':')).collect();
        for target in script.split("goto ").skip(1).filter_map(|rest| rest.split_whitespace().next()) {
            assert!(labels.contains(&target), "{target} is missing");
        }
    }

    #[test]
    fn the_kernel_gets_its_initrd_name_check_in_and_boot_port() {
        let kernel = Microkernel {
            files: "http://h/svc/repo/microkernel/1".into(),
            checkin: "http://h/svc/checkin/7".into(),
            image_args: "rdinit=/sbin/mk-agent",
            kernel_args: "console=ttyS0",
            debug_level: "",
            interval: 15,
        };
        let script = microkernel("node7", &kernel);
        let line = "kernel http://h/svc/repo/microkernel/1/vmlinuz initrd=initrd rdinit=/sbin/mk-agent \
                    razor.checkin=http://h/svc/checkin/7 BOOTIF=01-${netX/mac:hexhyp} console=ttyS0 || goto failed";
        assert!(script.lines().any(|l| l == line), "{script}");
        assert!(script.contains("--timeout 15000 "), "{script}");
    }

    #[test]
    fn a_sentence_of_two_parts_stays_one() {
        let script = refused(&Problem::new("c", "e", "Boot it; or forget it, for $5"), "");
        assert!(script.contains("\necho Boot it, or forget it, for ?5\n"), "{script}");
    }

    proptest::proptest! {
        #[test]
        fn no_text_breaks_out_of_its_line(code in ".*", error in ".*") {
            let script = refused(&Problem::new(&code, error, "r"), "#!ipxe\nboot\n");
            proptest::prop_assert_eq!(script.lines().count(), 5);
            // Words that end a command, so that the next word begins another one.
            let ends = script.split_whitespace().any(|word| matches!(word, ";" | "&&" | "||"));
            proptest::prop_assert!(!ends, "{}", script);
            let variable = script.contains("${");
            proptest::prop_assert!(!variable);
        }
    }
}
