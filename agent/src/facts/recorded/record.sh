#!/bin/sh
# Prints a recording of this machine: the files and links below /sys and /proc that the fact readers read. It needs a
# shell, cat, readlink and base64 (busybox has them) and, for serial numbers, root. Use: record.sh > NAME.machine
#
# The format is plain text: a header line `=== file PATH`, `=== base64 PATH` or `=== link PATH -> TARGET`, then the
# content up to the next header.

text() {
    for path in "$@"; do
        [ -f "$path" ] && content=$(cat "$path" 2>/dev/null) && [ -n "$content" ] || continue
        printf '=== file %s\n%s\n' "$path" "$content"
    done
}

binary() {
    for path in "$@"; do
        [ -f "$path" ] && content=$(base64 <"$path" 2>/dev/null) && [ -n "$content" ] || continue
        printf '=== base64 %s\n%s\n' "$path" "$content"
    done
}

link() {
    for path in "$@"; do
        [ -L "$path" ] && printf '=== link %s -> %s\n' "$path" "$(readlink "$path")"
    done
}

# Files of a folder: fields FOLDER NAME...
of() {
    folder=$1
    shift
    for name in "$@"; do
        text "$folder/$name"
    done
}

text /proc/cpuinfo /proc/meminfo /proc/loadavg /proc/cmdline /proc/sys/kernel/osrelease /proc/sys/kernel/arch
text /proc/xen/capabilities /sys/hypervisor/type /sys/hypervisor/guest_type

cpu=/sys/devices/system/cpu
text $cpu/online $cpu/vulnerabilities/* $cpu/cpu0/cpufreq/cpuinfo_max_freq
for one in $cpu/cpu[0-9]*; do
    of "$one/topology" physical_package_id thread_siblings_list
done
for node in /sys/devices/system/node/node[0-9]*; do
    of "$node" cpulist meminfo distance
done
for slot in /sys/devices/system/edac/mc/mc*/dimm* /sys/devices/system/edac/mc/mc*/rank*; do
    of "$slot" dimm_label dimm_ce_count dimm_ue_count
done

binary /sys/firmware/dmi/tables/DMI /sys/firmware/dmi/tables/smbios_entry_point
binary /sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c
text /sys/firmware/efi/fw_platform_size
link /sys/class/dmi/id
text /sys/devices/virtual/dmi/id/*_* /sys/devices/virtual/dmi/id/modalias

link /sys/bus/pci/devices/* /sys/bus/usb/devices/* /sys/class/net/* /sys/block/* /sys/class/tpm/*
for device in /sys/bus/pci/devices/*; do
    of "$(readlink -f "$device")" uevent vendor device revision numa_node acpi_index index label \
        current_link_width max_link_width current_link_speed max_link_speed
    link "$(readlink -f "$device")/driver" "$(readlink -f "$device")/subsystem"
done
for device in /sys/bus/usb/devices/*; do
    of "$(readlink -f "$device")" idVendor idProduct manufacturer product serial bDeviceClass
done
for chip in /sys/class/tpm/*; do
    of "$(readlink -f "$chip")" tpm_version_major device/caps device/description
done
for interface in /sys/class/net/*; do
    folder=$(readlink -f "$interface")
    of "$folder" type address dev_port dev_id carrier speed duplex
    link "$folder/device"
    [ -e "$folder/device" ] && link "$(readlink -f "$folder/device")/driver" "$(readlink -f "$folder/device")/subsystem"
done
for disk in /sys/block/*; do
    folder=$(readlink -f "$disk")
    of "$folder" size removable hidden wwid nsid serial queue/rotational queue/logical_block_size \
        queue/physical_block_size
    link "$folder/device"
    [ -e "$folder/device" ] || continue
    device=$(readlink -f "$folder/device")
    of "$device" type vendor model rev serial wwid firmware_rev fwrev name
    binary "$device/vpd_pg80" "$device/vpd_pg89"
    link "$device"/nvme*
done
for port in /sys/devices/pci*/*/ata*/ata_port/* /sys/devices/pci*/*/*/ata*/ata_port/*; do
    of "$port" port_no
done
