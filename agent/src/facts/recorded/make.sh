#!/bin/sh
# Makes the recordings of this folder: boots QEMU guests with Debian's kernel and records them with record.sh.
# Needs qemu-system-x86, ovmf, kmod, cpio, and apt (kernel and busybox are downloaded, nothing is installed).
# Use: make.sh [MACHINE...]
set -eu

here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT INT TERM

modules="virtio_pci virtio_blk virtio_net virtio_scsi nvme ahci ata_piix sd_mod sr_mod megaraid_sas e1000 e1000e
usb_storage uas xhci_pci cdc_ether efivarfs"

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
    cp "$here/record.sh" init/
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
sh /record.sh >/recording
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
        -append "console=ttyS0 panic=-1 rdinit=/init BOOTIF=01-52-54-00-aa-00-02" \
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
    boot pc-small -machine pc -m 256 -append "console=ttyS0 panic=-1 rdinit=/init" \
        -drive "if=ide,format=raw,file=$(disk ide 1G)" -nic user,model=e1000
}

prepare
for machine in ${*:-q35-server pc-small}; do
    case $machine in
    q35-server) q35_server ;;
    pc-small) pc_small ;;
    *) echo "make.sh: no machine $machine" >&2 && exit 2 ;;
    esac
done
