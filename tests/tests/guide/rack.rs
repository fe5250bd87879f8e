//! A copy of this machine in namespaces of its own, with port `eth1` towards a network that a guest and a DHCP client are on. What
//! is written there goes with it. Of a whole machine it lacks systemd and the internet: `systemctl` starts what a unit file
//! says, and `apt-get` unpacks packages that were fetched before.

use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::{env, fs};

use mk_tests::{built, skip, skip_even_there};
use serde_json::Value;

/// Ends what a step prints, before its exit status.
const END: &str = "end of the step:";

/// Puts a copy of `/` over itself, and starts a shell in it.
const PREPARE: &str = r#"
mount --make-rprivate /
mount -t tmpfs tmpfs /mnt
mkdir /mnt/new /mnt/work /mnt/root
mount -t overlay overlay -o lowerdir=/,upperdir=/mnt/new,workdir=/mnt/work /mnt/root
mkdir -p /mnt/root/rack /mnt/root/srv/razor
mount --bind "$1" /mnt/root/rack
mount -t proc proc /mnt/root/proc
mount -t sysfs sysfs /mnt/root/sys
mount --rbind /dev /mnt/root/dev
mount -t tmpfs tmpfs /mnt/root/run
mount -t tmpfs tmpfs /mnt/root/tmp
install /mnt/root/rack/bin/* /mnt/root/usr/local/bin/
exec env PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin chroot /mnt/root sh
"#;

/// What all of that needs of the machine.
const PROBE: &str = "mount -t tmpfs tmpfs /mnt && mkdir /mnt/new /mnt/work /mnt/root && test -e /dev/net/tun && \
    mount -t overlay overlay -o lowerdir=/,upperdir=/mnt/new,workdir=/mnt/work /mnt/root";

/// `eth1` is a cable to a bridge in another network namespace, which a guest is on too.
const NETWORK: &str = "\
unshare --net sleep 100000 >/dev/null 2>&1 &
echo $! >/run/lan
sleep 1
lan='nsenter --net --target '$(cat /run/lan)
ip link set lo up
ip link add eth1 type veth peer name uplink
ip link set uplink netns $(cat /run/lan)
ip address add 10.0.0.1/24 dev eth1
ip link set eth1 up
$lan ip link set lo up
$lan ip link add br0 type bridge
$lan ip tuntap add tap0 mode tap
for port in uplink tap0; do $lan ip link set $port master br0 up; done
$lan ip address add 10.0.0.2/24 dev br0
$lan ip link set br0 up
";

/// Unpacks all packages that the guide asks for, with what they need, the first time.
const APT_GET: &str = r#"#!/bin/sh -e
for name; do
    case $name in install | --yes) continue ;; update) exit ;; esac
    ls /rack/packages/"$name"_*.deb >/dev/null 2>&1 || dpkg -s "$name" >/dev/null
done
if test -e /run/unpacked; then exit; fi
touch /run/unpacked
# /bin is a link, and in some packages a folder.
for package in /rack/packages/*.deb; do
    dpkg-deb --fsys-tarfile "$package" | tar --extract --directory / --keep-directory-symlink
done
ldconfig
"#;

/// Starts what a unit's file says, as the user that it names where there is one, or else a service's script.
const SYSTEMCTL: &str = r#"#!/bin/sh -e
LISTEN='import socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.bind(sys.argv[1])
s.settimeout(60)
sys.exit(s.recv(100) != b"READY=1\n")'
for name; do :; done
for file in /etc/systemd/system/$name.service /lib/systemd/system/$name.service /usr/lib/systemd/system/$name.service; do
    test -e "$file" && break
done
test -e "$file" || exec /etc/init.d/$name restart
value() { sed -n "s/^$1=//p" "$file"; }
for folder in $(value RuntimeDirectory); do mkdir -p "/run/$folder"; done
for folder in $(value StateDirectory); do mkdir -p "/var/lib/$folder"; done
as=
user=$(value User)
if id "$user" >/dev/null 2>&1; then as="setpriv --reuid $user --regid $user --init-groups"; fi
NOTIFY_SOCKET=
if test "$(value Type)" = notify; then
    NOTIFY_SOCKET=/run/$name.notify
    python3 -c "$LISTEN" $NOTIFY_SOCKET &
    listener=$!
    while ! test -e $NOTIFY_SOCKET; do sleep 0.1; done
    chmod 777 $NOTIFY_SOCKET
    export NOTIFY_SOCKET
fi
setsid $as $(value ExecStart) >/tmp/$name.log 2>&1 </dev/null &
if test -n "$NOTIFY_SOCKET"; then wait $listener; else sleep 3; fi
"#;

/// What udhcpc does with a lease: it shows it.
const SHOW: &str = "#!/bin/sh\n[ \"$1\" != bound ] || env | grep -E '^(boot_file|siaddr|ip)=' | tr '\\n' ' '\n";

/// The copy. It ends, with all that runs in it, with the value.
pub(crate) struct Rack {
    shell: Child,
    commands: ChildStdin,
    output: BufReader<ChildStdout>,
    _input: tempfile::TempDir,
}

impl Drop for Rack {
    fn drop(&mut self) {
        let _ = self.shell.kill();
        let _ = self.shell.wait();
    }
}

impl Rack {
    /// With the programs and the production image in their places; nothing where it cannot be made, having said why.
    pub(crate) fn new() -> Option<Self> {
        if !nix::unistd::geteuid().is_root() {
            skip("a copy of the machine needs root");
            return None;
        }
        let probe = Command::new("unshare").args(["--mount", "--net", "--pid", "--fork", "sh", "-c", PROBE]).output();
        if !probe.is_ok_and(|output| output.status.success()) {
            skip_even_there(
                "a copy of the machine is an overlay in namespaces, with a tap port, which may not be made here",
            );
            return None;
        }
        let Some(packages) = env::var_os("MK_GUIDE_PACKAGES") else {
            skip("MK_GUIDE_PACKAGES is not set");
            return None;
        };
        let input = tempfile::tempdir().unwrap();
        lay(input.path(), Path::new(&packages));
        let mut shell = Command::new("unshare")
            .args(["--mount", "--net", "--pid", "--fork", "--kill-child", "sh", "-ec", PREPARE, "sh"])
            .arg(input.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (commands, output) = (shell.stdin.take().unwrap(), BufReader::new(shell.stdout.take().unwrap()));
        let mut rack = Self { shell, commands, output, _input: input };
        rack.run("cp /rack/image/* /srv/razor/ && apt-get install busybox");
        rack.run(NETWORK);
        Some(rack)
    }

    /// Runs commands as a script that ends at the first failure; gives what they print.
    pub(crate) fn run(&mut self, script: &str) -> String {
        let (status, text) = self.tries(script);
        assert_eq!(status, "0", "this failed:\n{script}\n{text}");
        text
    }

    fn tries(&mut self, script: &str) -> (String, String) {
        // From a file, since a command might read what follows it of a script that comes by its standard input.
        let step = format!(
            "cat >/run/step <<'END-OF-STEP'\n{script}\nEND-OF-STEP\n\
             sh -e /run/step </dev/null 2>&1; status=$?; echo; echo '{END}' $status\n"
        );
        self.commands.write_all(step.as_bytes()).unwrap();
        let mut text = String::new();
        loop {
            let mut line = String::new();
            assert!(self.output.read_line(&mut line).unwrap() > 0, "the copy's shell has ended\n{text}");
            if let Some(status) = line.strip_prefix(END) {
                return (status.trim().to_owned(), text);
            }
            text.push_str(&line);
        }
    }

    /// The same in the machines' network.
    pub(crate) fn on_the_lan(&mut self, script: &str) -> String {
        self.run(&format!("nsenter --net --target $(cat /run/lan) sh -e -c '{script}'"))
    }

    /// Writes a file.
    pub(crate) fn write(&mut self, path: &str, text: &str) {
        let mut script = format!("mkdir -p $(dirname {path})\n");
        write!(script, "cat >{path} <<'END-OF-FILE'\n{text}END-OF-FILE\n").unwrap();
        self.run(&script);
    }

    /// Asks for a lease with these options of udhcpc; gives what came, as `name=value`.
    pub(crate) fn asks_for_an_address(&mut self, options: &str) -> String {
        self.on_the_lan(&format!("busybox udhcpc -i br0 -n -q -t 20 -T 3 -s /rack/show {options} 2>&1 || {{ tail -n 20 /tmp/*.log; exit 1; }}"))
    }

    /// Ends all DHCP servers, and waits until they are gone.
    pub(crate) fn stop_dhcp(&mut self) {
        self.run("for name in dnsmasq dhcpd kea-dhcp4; do while busybox killall $name 2>/dev/null; do sleep 0.2; done; done; true");
    }

    /// Switches a machine on whose UEFI boots from the network by itself.
    pub(crate) fn switch_on(&mut self) {
        let flash = "-drive if=pflash,format=raw";
        self.on_the_lan(&format!(
            "cp /usr/share/OVMF/OVMF_VARS_4M.fd /tmp/vars.fd
             setsid qemu-system-x86_64 -machine q35 -accel tcg -m 1024 -display none -serial file:/tmp/serial.log \
             {flash},readonly=on,file=/usr/share/OVMF/OVMF_CODE_4M.fd {flash},file=/tmp/vars.fd \
             -netdev tap,id=lan,ifname=tap0,script=no,downscript=no \
             -device virtio-net-pci,netdev=lan,mac=52:54:00:aa:bb:01,bootindex=0,romfile= >/tmp/qemu.log 2>&1 </dev/null &"
        ));
    }

    /// The first node, where there is one.
    pub(crate) fn node(&mut self) -> Option<Value> {
        let (status, text) = self.tries("mk-server nodes show node1 --json");
        (status == "0").then(|| serde_json::from_str(&text).unwrap())
    }
}

/// Lays what the copy gets from outside.
fn lay(input: &Path, packages: &Path) {
    for folder in ["bin", "image", "packages"] {
        fs::create_dir(input.join(folder)).unwrap();
    }
    let program = |variable: &str| -> PathBuf {
        env::var_os(variable).unwrap_or_else(|| panic!("{variable} is not set; run: cargo xtask test")).into()
    };
    fs::copy(program("MK_SERVER_BIN"), input.join("bin/mk-server")).unwrap();
    fs::copy(program("MKISO_BIN"), input.join("bin/mkiso")).unwrap();
    for (name, text) in [("bin/apt-get", APT_GET), ("bin/systemctl", SYSTEMCTL), ("show", SHOW)] {
        fs::write(input.join(name), text).unwrap();
        fs::set_permissions(input.join(name), fs::Permissions::from_mode(0o755)).unwrap();
    }
    let image = built::image("production").unwrap();
    let stem = image.file_stem().unwrap().to_str().unwrap();
    let beside = |path: &Path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(stem));
    let copy =
        |from: &Path, to: &str| fs::copy(from, input.join(to).join(from.file_name().unwrap())).map(drop).unwrap();
    let files =
        |folder: &Path| -> Vec<PathBuf> { folder.read_dir().unwrap().map(|entry| entry.unwrap().path()).collect() };
    files(image.parent().unwrap()).iter().filter(|path| beside(path)).for_each(|path| copy(path, "image"));
    files(packages)
        .iter()
        .filter(|path| path.extension().is_some_and(|e| e == "deb"))
        .for_each(|path| copy(path, "packages"));
}
