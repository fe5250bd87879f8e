//! A boot sector that tells whether an accelerator really runs guests: it works for a while in protected mode and in
//! long mode with paging, as every kernel does on its way up, then ends QEMU through its debug exit port.
//!
//! Some hosts have a `/dev/kvm` that creates virtual machines and runs them up to the first of these modes only, or a
//! thousand times too slowly.

use std::arch::global_asm;

/// QEMU's exit code after the sector has done its work: `(value << 1) | 1`.
pub(super) const EXIT_CODE: i32 = (0x10 << 1) | 1;

/// Where QEMU must have its `isa-debug-exit` device.
pub(super) const EXIT_DEVICE: &str = "isa-debug-exit,iobase=0xf4,iosize=4";

/// Size in bytes of a disk with the sector: QEMU and firmware want a whole cylinder.
const DISK: usize = 1 << 20;

/// Size of a boot sector.
const SECTOR: usize = 512;

// The firmware loads the sector to 0x7c00 and starts it in real mode. Page tables lie at 0x1000, 0x2000, 0x3000 and map
// the first 2 MiB onto themselves.
global_asm!(
    ".pushsection .rodata.mk_probe, \"a\"",
    ".globl mk_probe_sector",
    "mk_probe_sector:",
    ".code16",
    "cli",
    "xorw %ax, %ax",
    "movw %ax, %ds",
    "movw %ax, %es",
    "movw %ax, %ss",
    "movw $0x7c00, %sp",
    "lgdtl 0x7c00 + (2f - mk_probe_sector)",
    "movl %cr0, %eax",
    "orl $1, %eax",
    "movl %eax, %cr0",
    "ljmpl $8, $0x7c00 + (3f - mk_probe_sector)",
    ".balign 8",
    "1:", // descriptors: none, 32-bit code, data, 64-bit code
    ".quad 0, 0x00cf9a000000ffff, 0x00cf92000000ffff, 0x00af9a000000ffff",
    "2:",
    ".word 31",
    ".long 0x7c00 + (1b - mk_probe_sector)",
    ".code32",
    "3:",
    "movw $16, %ax",
    "movw %ax, %ds",
    "movw %ax, %es",
    "movl $10000000, %ecx", // work in protected mode
    "4:",
    "decl %ecx",
    "jnz 4b",
    "movl $0x1000, %edi",
    "movl %edi, %cr3",
    "xorl %eax, %eax",
    "movl $0xc00, %ecx",
    "rep stosl",
    "movl $0x2003, 0x1000",
    "movl $0x3003, 0x2000",
    "movl $0x83, 0x3000",
    "movl %cr4, %eax",
    "orl $0x20, %eax", // physical address extension
    "movl %eax, %cr4",
    "movl $0xc0000080, %ecx",
    "rdmsr",
    "orl $0x100, %eax", // long mode enable
    "wrmsr",
    "movl %cr0, %eax",
    "orl $0x80000000, %eax", // paging
    "movl %eax, %cr0",
    "ljmpl $24, $0x7c00 + (5f - mk_probe_sector)",
    ".code64",
    "5:",
    "movl $10000000, %ecx", // work in long mode
    "6:",
    "decl %ecx",
    "jnz 6b",
    "movb $0x10, %al",
    "outb %al, $0xf4",
    "7:",
    "hlt",
    "jmp 7b",
    ".org mk_probe_sector + 510",
    ".word 0xaa55",
    ".popsection",
    options(att_syntax)
);

unsafe extern "C" {
    #[link_name = "mk_probe_sector"]
    static BOOT_SECTOR: [u8; SECTOR];
}

/// A disk that begins with the sector.
pub(super) fn disk() -> Vec<u8> {
    // SAFETY: the assembly above defines the symbol as exactly 512 constant bytes.
    let sector = unsafe { &BOOT_SECTOR };
    let mut disk = vec![0; DISK];
    disk[..SECTOR].copy_from_slice(sector);
    disk
}

#[cfg(test)]
mod tests {
    #[test]
    fn sector_carries_the_boot_signature() {
        let disk = super::disk();
        assert_eq!(disk[510..512], [0x55, 0xaa]);
        assert_eq!(disk[0], 0xfa, "first instruction is cli");
    }
}
