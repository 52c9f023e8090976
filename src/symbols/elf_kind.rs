//! What kind of ELF file it is: a kernel or a module, of which system, for which architecture, and what is odd about it.

use object::{Object, ObjectSection, ObjectSegment, SectionFlags, elf};

use crate::model::addr::Arch;

/// Gap between the sections of an unlinked file, so that one past the end of a section is in none. What is linked lies above it.
pub(super) const GAP: u64 = 0x1000;

/// Allocated sections of an unlinked file that carry an address of their own, which the kernel ignores.
///
/// Debian's modules of Linux 6.12 have them (`.data`, `__patchable_function_entries`), and gdb does not: `default_symfile_offsets` of
/// gdb 13 leaves all debug info but that of `.text` unplaced as soon as one section of a relocatable file has an address.
pub fn addressed_sections(bytes: &[u8]) -> Vec<String> {
    let Ok(file) = object::File::parse(bytes) else { return Vec::new() };
    if file.kind() != object::ObjectKind::Relocatable {
        return Vec::new();
    }
    let own = |section: &object::Section<'_, '_>| {
        let SectionFlags::Elf { sh_flags, .. } = section.flags() else { return false };
        sh_flags.0 & elf::SHF_ALLOC.0 != 0 && section.address() != 0
    };
    file.sections().filter(own).filter_map(|section| section.name().ok().map(str::to_string)).collect()
}

/// Whether a linked kernel has per-CPU data at address 0, as those for x86 had up to 6.14: its symbols are offsets, and no slide moves them.
pub fn has_percpu_at_zero(bytes: &[u8]) -> bool {
    let Ok(file) = object::File::parse(bytes) else { return false };
    file.section_by_name(".data..percpu").is_some_and(|section| section.address() == 0)
}

/// Whether a file has a linker set of a BSD kernel: `set_sysinit_set`, `link_set_modules`. Programs of user space have none of those names.
fn has_kernel_sets(file: &object::File<'_>) -> bool {
    const SETS: &[&str] = &["set_modmetadata_set", "set_sysinit_set", "set_sysctl_set", "link_set_modules", "link_set_sysctl_funcs"];
    SETS.iter().any(|name| file.section_by_name(name).is_some())
}

/// Whether a file is a FreeBSD module that was linked at 0 (`ET_DYN`, sys/conf/kmod.mk); kldstat has the address at which that 0 lies.
pub(super) fn is_kld(file: &object::File<'_>) -> bool {
    let at_zero = || file.segments().map(|segment| segment.address()).min().is_some_and(|lowest| lowest < GAP);
    file.kind() == object::ObjectKind::Dynamic && has_kernel_sets(file) && at_zero()
}

/// Whether a linked file is a kernel of FreeBSD, NetBSD or OpenBSD: it has sets of its subsystems, an interpreter that is none
/// (sys/conf/ldscript.amd64 of FreeBSD), or code in the upper half of the address space.
pub(super) fn is_bsd_kernel(file: &object::File<'_>) -> bool {
    let interpreter = || Some(file.section_by_name(".interp")?.data().ok()?.starts_with(b"/red/herring"));
    let code = |section: &object::Section<'_, '_>| {
        let SectionFlags::Elf { sh_flags, .. } = section.flags() else { return false };
        sh_flags.0 & elf::SHF_ALLOC.0 != 0 && sh_flags.0 & elf::SHF_EXECINSTR.0 != 0 && section.address() >> 63 == 1
    };
    has_kernel_sets(file) || interpreter().unwrap_or(false) || file.sections().any(|section| code(&section))
}

/// The architecture of a file.
pub(super) fn arch(file: &object::File<'_>) -> Result<Arch, String> {
    match (file.architecture(), file.is_little_endian()) {
        (object::Architecture::X86_64, _) => Ok(Arch::X86_64),
        (object::Architecture::I386, _) => Ok(Arch::I386),
        (object::Architecture::Aarch64, _) => Ok(Arch::Arm64),
        (object::Architecture::Arm, _) => Ok(Arch::Arm),
        (object::Architecture::PowerPc, _) => Ok(Arch::Ppc),
        (object::Architecture::PowerPc64, _) => Ok(Arch::Ppc64),
        (object::Architecture::S390x, _) => Ok(Arch::S390x),
        (object::Architecture::Riscv64, _) => Ok(Arch::Riscv64),
        (object::Architecture::Mips | object::Architecture::Mips64, _) => Ok(Arch::Mips),
        (object::Architecture::LoongArch64, _) => Ok(Arch::LoongArch64),
        (other, _) => Err(format!("is for {other:?}, which kstack does not know")),
    }
}
