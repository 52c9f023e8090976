//! Relocations of unlinked files: debug sections patched so that they speak of the addresses at which the sections were laid out.
//!
//! Only `ET_REL` needs this. A linked kernel may carry relocation records as well (`--emit-relocs`); they are already applied,
//! and some distributions' are wrong.

use object::{Object, ObjectSection, ObjectSymbol, RelocationKind, RelocationTarget};
use rayon::prelude::*;
use rustc_hash::FxHashMap;

use super::packed;

/// Patched copies of debug sections, by name without the dot's spelling variants (`.debug_info`).
pub type Patched = FxHashMap<String, Vec<u8>>;

/// Sections whose addresses lead from an address to a line or function. Location lists and frame tables do not.
const NEEDED: [&str; 8] = [
    ".debug_info",
    ".debug_line",
    ".debug_aranges",
    ".debug_addr",
    ".debug_ranges",
    ".debug_rnglists",
    ".debug_str_offsets",
    ".debug_types",
];

/// Applies the relocations of the debug sections of `file`; `base` says where a section was laid out. A record that does not fit
/// its section, or is of an unknown kind, is left out.
pub fn apply(file: &object::File<'_>, base: impl Fn(usize) -> Option<u64>) -> Patched {
    // Computed once: the records of one module refer to few symbols, hundreds of thousands of times.
    let values: FxHashMap<usize, u64> = file
        .symbols()
        .map(|symbol| {
            let section = symbol.section_index().and_then(|section| base(section.0)).unwrap_or(0);
            (symbol.index().0, section.wrapping_add(symbol.address()))
        })
        .collect();
    let sections: Vec<(&str, object::Section<'_, '_>)> =
        NEEDED.iter().filter_map(|name| Some((*name, file.section_by_name(name)?))).collect();
    let patch = |(name, section): &(&str, object::Section<'_, '_>)| {
        // One that cannot be read is left to who reads the others.
        let mut data = packed::data(section).ok()?.into_owned();
        patch(&mut data, section, &values, file);
        Some((name.to_string(), data))
    };
    sections.par_iter().filter_map(patch).collect()
}

fn patch(data: &mut [u8], section: &object::Section<'_, '_>, values: &FxHashMap<usize, u64>, file: &object::File<'_>) {
    let little = file.is_little_endian();
    let file_is_riscv = matches!(file.architecture(), object::Architecture::Riscv32 | object::Architecture::Riscv64);
    for (offset, record) in section.relocations() {
        let RelocationTarget::Symbol(symbol) = record.target() else { continue };
        let Some(value) = values.get(&symbol.0) else { continue };
        let flags = record.flags();
        let kind = if let object::RelocationFlags::Elf { r_type } = flags { r_type.0 } else { 0 };
        let riscv_width = file_is_riscv.then(|| riscv_width(kind)).flatten();
        let size = riscv_width.unwrap_or(usize::from(record.size() / 8));
        let start = offset as usize;
        let Some(field) = start.checked_add(size).and_then(|end| data.get_mut(start..end)) else { continue };
        let old = if record.has_implicit_addend() { read(field, little) } else { 0 };
        let value = value.wrapping_add(record.addend() as u64);
        let new = match record.kind() {
            _ if riscv_width.is_some() => riscv(kind, read(field, little), value),
            RelocationKind::Absolute => old.wrapping_add(value),
            _ => continue,
        };
        write(field, new, little);
    }
}

/// RISC-V spells a difference as an addition and a subtraction (psABI: `R_RISCV_ADD8` 33 to `ADD64` 36, `SUB8` 37 to `SUB64` 40).
/// Gives the bytes that such a record changes.
fn riscv_width(kind: u32) -> Option<usize> {
    matches!(kind, 33..=40).then(|| 1 << ((kind - 33) % 4))
}

fn riscv(kind: u32, old: u64, value: u64) -> u64 {
    if kind <= 36 { old.wrapping_add(value) } else { old.wrapping_sub(value) }
}

fn read(field: &[u8], little: bool) -> u64 {
    let step = |value: u64, byte: &u8| value << 8 | u64::from(*byte);
    if little { field.iter().rev().fold(0, step) } else { field.iter().fold(0, step) }
}

fn write(field: &mut [u8], value: u64, little: bool) {
    let count = field.len();
    for (at, byte) in field.iter_mut().enumerate() {
        let shift = if little { at } else { count - 1 - at } * 8;
        *byte = value.checked_shr(shift as u32).unwrap_or(0) as u8;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_both_endiannesses_come_back() {
        for little in [true, false] {
            let mut field = [0u8; 4];
            write(&mut field, 0x1122_3344, little);
            assert_eq!(read(&field, little), 0x1122_3344);
        }
        let mut field = [0u8; 2];
        write(&mut field, 0x1234, false);
        assert_eq!(field, [0x12, 0x34]);
    }
}
