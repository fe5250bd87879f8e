#!/bin/sh
# Makes the recordings of this folder: boots QEMU guests with Debian's kernel, in which `mk-agent facts --record` writes
# them. Needs qemu-system-x86, ovmf, swtpm, kmod, cpio, and apt (kernel and busybox are downloaded, nothing is installed).
# Use: make.sh AGENT [MACHINE...], AGENT a static mk-agent, as `cargo xtask build-iso` leaves it in target/.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT INT TERM
agent=$(realpath "${1:?make.sh AGENT [MACHINE...]}")
shift

modules="virtio_pci virtio_blk virtio_net virtio_scsi nvme ahci ata_piix sd_mod sr_mod megaraid_sas mptsas sym53c8xx
vmw_pvscsi e1000 e1000e e100 8139cp 8139too ne2k-pci pcnet32 vmxnet3 usb_storage uas xhci_pci cdc_ether
sdhci_pci mmc_block efivarfs tpm_tis tpm_crb ipmi_si ipmi_devintf drivetemp"

prepare() {
    cd "$work"
    kernel=$(apt-cache depends linux-image-amd64 | grep -o 'linux-image-[0-9][^ ]*' | head -n 1)
    apt-get download -q "$kernel" busybox-static
    for package in ./*.deb; do
        dpkg-deb -x "$package" root
    done
    release=${kernel#linux-image-}
    mkdir -p init/bin init/proc init/sys init/lib/modules
    cp root/bin/busybox init/bin/
    cp "$agent" init/mk-agent
    depmod -b root "$release"
    # In the order in which they must be loaded.
    for module in $modules; do
        modprobe -d root -S "$release" --show-depends "$module" 2>/dev/null
    done | grep '^insmod' | awk '!seen[$2]++ { print $2 }' >list
    : >init/order
    while read -r path; do
        cp "$path" init/lib/modules/
        echo "${path##*/}" >>init/order
    done <list
    cat >init/init <<'INIT'
#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
while read -r module; do insmod /lib/modules/$module; done </order
[ -d /sys/firmware/efi ] && mount -t efivarfs efivarfs /sys/firmware/efi/efivars
sleep 8
for interface in /sys/class/net/eth*; do ip link set "${interface##*/}" up; done
sleep 3
/mk-agent facts --record >/recording
{ echo; cat /recording; } >/dev/ttyS1
sync
poweroff -f
INIT
    chmod +x init/init
    (cd init && find . | cpio -o -H newc --quiet | gzip -1) >initrd
    cp "root/boot/vmlinuz-$release" vmlinuz
}

disk() {
    truncate -s "$2" "$work/$1.img"
    printf '%s' "$work/$1.img"
}

# An SMBIOS structure of type 17: module in slot $1, of 1 GiB; the third slot is empty.
module_table() {
    size='\000\004'
    [ "$1" = 2 ] && size='\000\000'
    # Type, length 40, handle, array, no error, widths, size in MiB, form factor DIMM, set, locators, DDR4.
    printf '\021\050%b\021\000\020\376\377\110\000\100\000%b\011\000\001\002\032\200\000' "\\002$1" "$size"
    # Speed 3200, manufacturer, serial, asset, part, two ranks, no extended size, configured 2933, voltages.
    printf '\200\014\003\004\000\005\002\000\000\000\000\165\013\260\004\260\004\260\004'
    printf 'DIMM A%s\000NODE 0\000ACME Memory\000M00%s\000AC4-3200R\000\000' $(($1 + 1)) "$1"
}

boot() {
    name=$1
    shift
    : >"$work/serial"
    qemu-system-x86_64 -accel tcg -display none -no-reboot -kernel "$work/vmlinuz" -initrd "$work/initrd" \
        -serial "file:$work/console" -serial "file:$work/serial" "$@"
    # The firmware writes to the serial ports as well.
    tr -d '\r' <"$work/serial" | sed -n '/^=== /,$p' >"$work/$name.machine"
    grep -q '^=== file /proc/cpuinfo' "$work/$name.machine" || { cat "$work/console"; exit 1; }
    mv "$work/$name.machine" "$here/$name.machine"
}

# A UEFI server with two sockets, two nodes, modules in slots and a disk of every kind.
q35_server() {
    for slot in 0 1 2; do module_table $slot >"$work/module$slot"; done
    cp /usr/share/OVMF/OVMF_VARS_4M.fd "$work/vars"
    boot q35-server -machine q35,smm=on -m 2048 -smp 4,sockets=2,cores=2,threads=1 -cpu Skylake-Server \
        -append "$line BOOTIF=01-52-54-00-aa-00-02" \
        -object memory-backend-ram,id=m0,size=1024M -object memory-backend-ram,id=m1,size=1024M \
        -numa node,nodeid=0,cpus=0-1,memdev=m0 -numa node,nodeid=1,cpus=2-3,memdev=m1 \
        -drive if=pflash,format=raw,readonly=on,file=/usr/share/OVMF/OVMF_CODE_4M.secboot.fd \
        -drive "if=pflash,format=raw,file=$work/vars" \
        -uuid 11223344-5566-7788-99aa-bbccddeeff00 \
        -smbios type=0,vendor=ACME,version=1.2.3,date=02/03/2024,release=4.5 \
        -smbios type=1,manufacturer=ACME,product="Server 9000",version=r2,serial=SYS-0001,sku=S9K,family=Servers \
        -smbios type=2,manufacturer=ACME,product=Board-9,version=b1,serial=BRD-0001,asset=BA-1 \
        -smbios type=3,manufacturer=ACME,version=c1,serial=CHS-0001,asset=CA-1 \
        -smbios "file=$work/module0" -smbios "file=$work/module1" -smbios "file=$work/module2" \
        -drive "if=none,id=nvme,format=raw,file=$(disk nvme 3G)" -device nvme,id=n0,serial=NVME-0001 \
        -device nvme-ns,drive=nvme,bus=n0,nsid=1 \
        -drive "if=none,id=nvme2,format=raw,file=$(disk nvme2 1G)" -device nvme-ns,drive=nvme2,bus=n0,nsid=2 \
        -drive "if=none,id=sata,format=raw,file=$(disk sata 4G)" \
        -device ide-hd,drive=sata,bus=ide.1,serial=SATA-0001,wwn=0x5000c50012345678,rotation_rate=7200,model=ACME-SATA-MODEL-LONGER-THAN-16,ver=F123 \
        -device megasas,id=raid -drive "if=none,id=sas,format=raw,file=$(disk sas 5G)" \
        -device scsi-hd,drive=sas,bus=raid.0,serial=SAS-0001,wwn=0x5000c500aabbccdd,vendor=ACME,product=RAIDDISK,ver=R1 \
        -drive "if=none,id=vio,format=raw,file=$(disk vio 2G)" -device virtio-blk-pci,drive=vio,serial=VIRTIO-0001 \
        -device qemu-xhci,id=xhci -drive "if=none,id=stick,format=raw,file=$(disk stick 1G)" \
        -device usb-storage,bus=xhci.0,drive=stick,serial=USB-0001,removable=on \
        -device usb-net,bus=xhci.0,netdev=u,mac=52:54:00:aa:00:09 -netdev user,id=u \
        -device ide-cd,bus=ide.2 \
        -nic user,model=e1000e,mac=52:54:00:aa:00:02 -nic user,model=virtio-net-pci,mac=52:54:00:aa:00:01
}

# The smallest machine: BIOS, one processor, an IDE disk, no serial numbers.
pc_small() {
    boot pc-small -machine pc -m 256 -append "$line" \
        -drive "if=ide,format=raw,file=$(disk ide 1G)" -nic user,model=e1000
}

# Two sockets, four NUMA nodes, eight modules, two threads a core; disks and ports behind root ports that are wider and
# faster than what is plugged in; NVMe with a WWN.
epyc_numa() {
    nodes=""
    for node in 0 1 2 3; do
        nodes="$nodes -object memory-backend-ram,id=m$node,size=512M"
        nodes="$nodes -numa node,nodeid=$node,cpus=$((node * 4))-$((node * 4 + 3)),memdev=m$node"
    done
    # shellcheck disable=SC2086 # options
    boot epyc-numa -machine q35 -m 2048 -cpu EPYC -smp 16,sockets=2,cores=4,threads=2 $nodes \
        -append "$line" -uuid 4c4c4544-0038-5010-8052-b4c04f4e3132 \
        -smbios type=1,manufacturer="Dell Inc.",product="PowerEdge R7525",serial=8P8RON2,sku=SKU=08FF \
        -smbios type=2,manufacturer="Dell Inc.",product=0PYVT1,version=A07,serial=.8P8RON2.CNIVC0012345AB. \
        -smbios type=3,manufacturer="Dell Inc.",serial=8P8RON2,asset=RACK-1207 \
        -smbios type=17,loc_pfx=DIMM,bank=Bank,manufacturer=Hynix,serial=34A91B02,part=HMA82GR7AFR8N-VK,speed=2933 \
        -device pcie-root-port,id=r1,chassis=1,x-speed=16,x-width=16 -device pcie-root-port,id=r2,chassis=2,x-speed=8,x-width=8 \
        -drive "if=none,id=a,format=raw,file=$(disk a 2G)" -device nvme,bus=r1,id=n0,serial=S6CKNE0R100234 \
        -device nvme-ns,drive=a,bus=n0,nsid=1,eui64=0x5cd2e4a1b2c3d4e5 \
        -device virtio-scsi-pci,id=s -drive "if=none,id=b,format=raw,file=$(disk b 3G)" \
        -device scsi-hd,bus=s.0,drive=b,serial=ZL2ABCD1,wwn=0x5000c500deadbee1,rotation_rate=10000 \
        -nic none -netdev user,id=u -device vmxnet3,bus=r2,netdev=u,mac=b0:26:28:12:34:56
}

# BIOS, old controllers: LSI SAS and SCSI, a disk without WWN.
pc_scsi() {
    boot pc-scsi -machine pc -m 512 -cpu Nehalem -smp 2 -append "$line" \
        -device mptsas1068,id=m -drive "if=none,id=a,format=raw,file=$(disk a 1G)" \
        -device scsi-hd,bus=m.0,drive=a,serial=9XE0ABC1,wwn=0x5000c5004a5b6c7d \
        -device lsi53c895a,id=l -drive "if=none,id=b,format=raw,file=$(disk b 2G)" -device scsi-hd,bus=l.0,drive=b,serial=3KT0DEF2 \
        -nic user,model=rtl8139,mac=00:e0:4c:68:01:02
}

# UEFI with a TPM and NVMe alone, two drives of which one has two namespaces that two controllers share.
uefi_tpm() {
    mkdir -p "$work/tpm"
    swtpm socket --tpm2 --tpmstate "dir=$work/tpm" --ctrl "type=unixio,path=$work/tpm/socket" --terminate &
    cp /usr/share/OVMF/OVMF_VARS_4M.ms.fd "$work/vars"
    boot uefi-tpm -machine q35,smm=on -m 1024 -append "$line" \
        -drive if=pflash,format=raw,readonly=on,file=/usr/share/OVMF/OVMF_CODE_4M.ms.fd \
        -drive "if=pflash,format=raw,file=$work/vars" -global driver=cfi.pflash01,property=secure,value=on \
        -chardev "socket,id=c,path=$work/tpm/socket" -tpmdev emulator,id=t,chardev=c -device tpm-crb,tpmdev=t \
        -device nvme-subsys,id=sub -device nvme,id=n0,subsys=sub,serial=PHLJ9123004K2P0BGN -device nvme,id=n1,subsys=sub,serial=PHLJ9123004K2P0BGN \
        -drive "if=none,id=a,format=raw,file=$(disk a 1G)" -device nvme-ns,drive=a,nsid=1,shared=on \
        -drive "if=none,id=b,format=raw,file=$(disk b 2G)" -device nvme,id=n2,serial=S4EWNF0M700123,drive=b \
        -nic user,model=e1000e,mac=3c:ec:ef:12:ab:34
}

# A service processor by KCS.
ipmi() {
    boot ipmi -machine q35 -m 512 -append "$line" -device ipmi-bmc-sim,id=bmc -device isa-ipmi-kcs,bmc=bmc \
        -smbios type=1,manufacturer=Supermicro,product=X11DPU,serial=0123456789 \
        -smbios type=2,manufacturer=Supermicro,product=X11DPU,serial=OM19AS012345 \
        -smbios type=3,manufacturer=Supermicro,serial=C8190AL12A30123,asset="To be filled by O.E.M." \
        -nic user,model=e1000e,mac=ac:1f:6b:01:02:03 -nic user,model=e1000e,mac=ac:1f:6b:01:02:04
}

# What firmware writes in place of numbers, with one UUID on many boards.
placeholders() {
    boot placeholders -machine pc -m 256 -append "$line" -uuid 03000200-0400-0500-0006-000700080009 \
        -smbios type=1,manufacturer="System manufacturer",product="System Product Name",serial="System Serial Number" \
        -smbios type=2,manufacturer="Default string",serial="Default string",asset="Default string" \
        -smbios type=3,manufacturer="To Be Filled By O.E.M.",serial="To Be Filled By O.E.M.",asset=0000000000 \
        -smbios type=17,manufacturer=Unknown,serial=00000000,part=NOT_AVAILABLE -nic user,model=pcnet,mac=00:00:00:00:00:01
}

# Structures that are too short, texts that are not there or no UTF-8, a table that says more than there is.
bad_smbios() {
    # Type 2 with text 9 of one; type 3 cut after its kind; type 17 of four bytes; type 11 with letters of Latin-1.
    printf '\002\010\000\002\001\011\001\002ACME\000\000' >"$work/board"
    printf '\003\006\000\003\001\027\000\000' >"$work/chassis"
    printf '\021\004\000\021\000\000' >"$work/module0"
    printf '\013\005\000\013\002Gr\374n\000\377\376secret-4711\000\000' >"$work/texts"
    boot bad-smbios -machine pc -m 256 -append "$line" -smbios "file=$work/board" -smbios "file=$work/chassis" \
        -smbios "file=$work/module0" -smbios "file=$work/texts" -nic user,model=ne2k_pci,mac=00:80:10:20:30:40
}

# Eight ports of seven makes, two of them on one card.
many_ports() {
    ports=""
    slot=4
    for model in e1000 e1000e virtio-net-pci vmxnet3 rtl8139 pcnet; do
        ports="$ports -netdev user,id=u$slot -device $model,netdev=u$slot,addr=$slot,mac=00:1b:21:00:00:0$slot"
        slot=$((slot + 1))
    done
    for port in 0 1; do
        ports="$ports -netdev user,id=f$port -device i82559er,netdev=f$port,multifunction=on,addr=0xb.$port,mac=00:1b:21:00:01:0$port"
    done
    # shellcheck disable=SC2086 # options
    boot many-ports -machine pc -m 512 -append "$line BOOTIF=01-00-1b-21-00-00-05" -nic none $ports
}

# Nothing but USB and a memory card: sticks by both protocols, one of them removable, and a port.
usb_only() {
    boot usb-only -machine q35 -m 512 -append "$line" -nic none -device qemu-xhci,id=x -device sdhci-pci \
        -drive "if=none,id=m,format=raw,file=$(disk m 1G)" -device sd-card,drive=m \
        -drive "if=none,id=a,format=raw,file=$(disk a 1G)" -device usb-storage,bus=x.0,drive=a,serial=4C530001250102117494,removable=on \
        -device usb-uas,bus=x.0,id=uas -drive "if=none,id=b,format=raw,file=$(disk b 2G)" -device scsi-hd,bus=uas.0,drive=b,serial=MSFT30NA8ABCDE \
        -netdev user,id=u -device usb-net,bus=x.0,netdev=u,mac=00:24:9b:0a:0b:0c
}

# As VMware has them: its strings, its disks, its ports.
vmware() {
    boot vmware -machine pc -m 512 -cpu SandyBridge -smp 2,sockets=2 -append "$line" -uuid 564d1234-abcd-ef01-2345-6789abcdef01 \
        -smbios type=1,manufacturer="VMware,, Inc.",product="VMware Virtual Platform",serial="VMware-56 4d 12 34 ab cd ef 01-23 45 67 89 ab cd ef 01" \
        -device pvscsi,id=p -drive "if=none,id=a,format=raw,file=$(disk a 2G)" -device scsi-hd,bus=p.0,drive=a,vendor=VMware,product="Virtual disk" \
        -nic user,model=vmxnet3,mac=00:50:56:ab:cd:ef
}

# AHCI alone: a spinning disk, one without a number, a drive for discs.
ahci() {
    boot ahci -machine q35 -m 512 -append "$line" -nic user,model=virtio-net-pci,mac=52:54:00:77:88:99 \
        -drive "if=none,id=a,format=raw,file=$(disk a 2G)" -device ide-hd,drive=a,bus=ide.0,serial=WD-WCC4N1234567,rotation_rate=5400,model=WDC-WD20EZRX \
        -drive "if=none,id=b,format=raw,file=$(disk b 1G)" -device ide-hd,drive=b,bus=ide.3 -device ide-cd,bus=ide.4
}

line="console=ttyS0 panic=-1 rdinit=/init"
prepare
for machine in ${*:-q35-server pc-small epyc-numa pc-scsi uefi-tpm ipmi placeholders bad-smbios many-ports usb-only vmware ahci}; do
    echo "$machine" | grep -qx '[a-z0-9-]*' || { echo "make.sh: no machine $machine" >&2 && exit 2; }
    "$(echo "$machine" | tr - _)"
done
