//! Whether this is a virtual machine, and of what kind, under Facter's names: the processor's hypervisor leaf, DMI
//! strings, Xen's own files. A container is not looked for: the agent is the first process of a machine.

use wire::inventory::Virtualization;

use super::collector::Found;
use crate::tree::Tree;

const DMI: &str = "/sys/class/dmi/id";

/// Parts of DMI strings, and what they tell. These come before the processor's word, since VirtualBox and Parallels can
/// show a foreign hypervisor's leaf.
const DMI_VENDORS: [(&str, &str); 16] = [
    ("VirtualBox", "virtualbox"),
    ("innotek GmbH", "virtualbox"),
    ("VMware", "vmware"),
    ("Parallels", "parallels"),
    ("Google Compute Engine", "gce"),
    ("Amazon EC2", "kvm"),
    ("RHEV Hypervisor", "rhev"),
    ("oVirt Node", "ovirt"),
    ("OpenStack", "kvm"),
    ("HVM domU", "xenhvm"),
    ("BHYVE", "bhyve"),
    ("OpenBSD", "vmm"),
    ("KVM", "kvm"),
    ("Bochs", "bochs"),
    ("QEMU", "qemu"),
    ("KubeVirt", "kvm"),
];

pub(super) fn collect(tree: &Tree) -> anyhow::Result<Found> {
    let files: Vec<String> = ["bios_vendor", "sys_vendor", "product_name", "product_version", "board_vendor"]
        .iter()
        .filter_map(|name| tree.text(format!("{DMI}/{name}")))
        .collect();
    let bit = tree.text("/proc/cpuinfo").is_some_and(|text| has_hypervisor_bit(&text));
    let leaf = if tree.is_live() { hypervisor_leaf() } else { None };
    let evidence = Evidence { bit, leaf: leaf.as_deref(), dmi: &files, xen: xen(tree) };
    let found = judge(&evidence);
    Ok(Found::new(|stable, _| stable.virtualization = Some(found)))
}

/// What the judgement rests on.
struct Evidence<'a> {
    /// The processor says that it is not alone.
    bit: bool,
    /// Twelve letters of the hypervisor leaf.
    leaf: Option<&'a str>,
    /// Strings of vendor and product.
    dmi: &'a [String],
    /// Kind of Xen guest, or Xen's first domain.
    xen: Option<&'static str>,
}

fn judge(evidence: &Evidence<'_>) -> Virtualization {
    let by_dmi = || {
        let named = |word: &str| evidence.dmi.iter().any(|text| text.contains(word));
        let kind = DMI_VENDORS.iter().find(|(word, _)| named(word)).map(|(_, kind)| *kind);
        let hyperv = || (named("Microsoft") && named("Virtual Machine")).then_some("hyperv");
        kind.or_else(hyperv)
    };
    let by_leaf = || evidence.leaf.and_then(leaf_kind);
    // What runs a machine of QEMU's make is told by the leaf alone. Bare-metal instances bear a cloud's name as well: a
    // name counts only where the processor does not deny it, or where the machine can only be virtual.
    let kind = match (evidence.xen, by_dmi()) {
        (Some(xen), _) => Some(xen),
        (None, Some("qemu" | "bochs")) => by_leaf().or(Some("qemu")),
        (None, Some(kind)) if evidence.bit => Some(kind),
        _ => by_leaf(),
    };
    let kind = kind.unwrap_or(if evidence.bit { "unknown" } else { "physical" });
    // Xen's first domain drives the hardware itself.
    Virtualization { is_virtual: !matches!(kind, "physical" | "xen0"), kind: Some(kind.to_owned()) }
}

/// Names by the hypervisor leaf's letters.
fn leaf_kind(letters: &str) -> Option<&'static str> {
    Some(match letters {
        "KVMKVMKVM" | "Linux KVM Hv" => "kvm",
        "TCGTCGTCGTCG" => "qemu",
        "VMwareVMware" => "vmware",
        "Microsoft Hv" => "hyperv",
        "XenVMMXenVMM" => "xenhvm",
        "VBoxVBoxVBox" => "virtualbox",
        "bhyve bhyve " | "bhyve bhyve" => "bhyve",
        "prl hyperv  " | "prl hyperv" | " lrpepyh vr" | "lrpepyh vr" => "parallels",
        "OpenBSDVMM58" => "vmm",
        "ACRNACRNACRN" => "acrn",
        _ => return None,
    })
}

/// The flag `hypervisor` among the processor's flags.
fn has_hypervisor_bit(cpuinfo: &str) -> bool {
    let flags = cpuinfo.lines().find_map(|line| line.strip_prefix("flags")?.split_once(':'));
    flags.is_some_and(|(_, flags)| flags.split_whitespace().any(|flag| flag == "hypervisor"))
}

/// Kind of Xen domain as its own files tell.
fn xen(tree: &Tree) -> Option<&'static str> {
    if tree.text("/sys/hypervisor/type").as_deref() != Some("xen") {
        return None;
    }
    let first = tree.text("/proc/xen/capabilities").is_some_and(|text| text.contains("control_d"));
    let full = tree.text("/sys/hypervisor/guest_type").is_some_and(|kind| kind == "HVM" || kind == "PVH");
    Some(match (first, full) {
        (true, _) => "xen0",
        (false, true) => "xenhvm",
        (false, false) => "xenu",
    })
}

/// Letters of CPUID leaf 0x4000_0000, without NULs.
#[cfg(target_arch = "x86_64")]
fn hypervisor_leaf() -> Option<String> {
    /// Where hypervisors name themselves.
    const LEAF: u32 = 0x4000_0000;
    let features = raw_cpuid::CpuId::new().get_feature_info()?;
    if !features.has_hypervisor() {
        return None;
    }
    let found = raw_cpuid::cpuid!(LEAF);
    let bytes = [found.ebx, found.ecx, found.edx].map(u32::to_le_bytes).concat();
    Some(String::from_utf8_lossy(&bytes).trim_matches('\0').to_owned())
}

/// Other architectures have no such leaf.
#[cfg(not(target_arch = "x86_64"))]
fn hypervisor_leaf() -> Option<String> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_by_evidence() {
        for (bit, leaf, dmi, kind, is_virtual) in [
            (false, None, &["Dell Inc.", "PowerEdge R640"][..], "physical", false),
            (true, Some("KVMKVMKVM"), &["SeaBIOS", "QEMU", "Standard PC (Q35 + ICH9, 2009)"], "kvm", true),
            (true, Some("TCGTCGTCGTCG"), &["SeaBIOS", "QEMU"], "qemu", true),
            (true, None, &["SeaBIOS", "QEMU"], "qemu", true),
            (false, None, &["SeaBIOS", "Bochs"], "qemu", true),
            (true, Some("KVMKVMKVM"), &["innotek GmbH", "VirtualBox"], "virtualbox", true),
            (true, Some("Microsoft Hv"), &["Microsoft Corporation", "Virtual Machine"], "hyperv", true),
            (false, None, &["Microsoft Corporation", "Surface Book"], "physical", false),
            (false, None, &["Amazon EC2", "m5.metal"], "physical", false),
            (true, Some("KVMKVMKVM"), &["Amazon EC2", "m5.large"], "kvm", true),
            (true, Some("VMwareVMware"), &[], "vmware", true),
            (true, Some("SomethingNew"), &[], "unknown", true),
        ] {
            let dmi: Vec<String> = dmi.iter().map(|s| (*s).to_owned()).collect();
            let found = judge(&Evidence { bit, leaf, dmi: &dmi, xen: None });
            assert_eq!((found.kind.as_deref(), found.is_virtual), (Some(kind), is_virtual), "{leaf:?} {dmi:?}");
        }
        let first = judge(&Evidence { bit: true, leaf: Some("XenVMMXenVMM"), dmi: &[], xen: Some("xen0") });
        assert!(!first.is_virtual);
    }

    #[test]
    fn the_hypervisor_bit_is_a_whole_word() {
        assert!(has_hypervisor_bit("processor : 0\nflags\t\t: fpu hypervisor lahf_lm\n"));
        assert!(!has_hypervisor_bit("flags : fpu hypervisor_x\nbugs : hypervisor\n"));
        assert!(!has_hypervisor_bit(""));
    }
}
