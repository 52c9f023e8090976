//! `.opd` of big-endian PowerPC (ELFv1): function symbols stand for descriptors of three words, the first of which is where the code is.
//!
//! Source: 64-bit PowerPC ELF Application Binary Interface Supplement 1.9, "Function Descriptors". ELFv2, which little-endian kernels
//! have, knows no descriptors.

use object::{Object, ObjectSection, ObjectSymbol, RelocationTarget, SectionIndex};
use rustc_hash::FxHashMap;

/// The descriptors of one file.
pub(super) struct Descriptors {
    section: SectionIndex,
    /// Address of the section.
    base: u64,
    /// The code that the word at an offset into the section points to.
    code: FxHashMap<u64, u64>,
}

impl Descriptors {
    /// Reads the descriptors of a file that has some. `base` gives where a section lies; the words of an unlinked file are in its
    /// relocations.
    pub(super) fn read(file: &object::File<'_>, base: impl Fn(SectionIndex) -> Option<u64>) -> Option<Descriptors> {
        let section = file.section_by_name(".opd")?;
        let code = if file.kind() == object::ObjectKind::Relocatable {
            section.relocations().filter_map(|(offset, record)| Some((offset, target(file, &record, &base)?))).collect()
        } else {
            words(section.data().unwrap_or_default(), file.is_little_endian())
        };
        Some(Descriptors { section: section.index(), base: base(section.index())?, code })
    }

    /// Where the code is of a symbol in `section` at `address`; `None` for a symbol that is no descriptor.
    pub(super) fn code(&self, section: Option<SectionIndex>, address: u64) -> Option<u64> {
        let offset = address.checked_sub(self.base).filter(|_| section == Some(self.section))?;
        self.code.get(&offset).copied()
    }
}

fn target(file: &object::File<'_>, record: &object::Relocation, base: &impl Fn(SectionIndex) -> Option<u64>) -> Option<u64> {
    let RelocationTarget::Symbol(symbol) = record.target() else { return None };
    let symbol = file.symbol_by_index(symbol).ok()?;
    Some(base(symbol.section_index()?)?.wrapping_add(symbol.address()).wrapping_add(record.addend() as u64))
}

/// Every word of a linked section by its offset: descriptors are 24 bytes long, or 16 where they overlap.
fn words(data: &[u8], little: bool) -> FxHashMap<u64, u64> {
    let word = |bytes: &[u8]| bytes.try_into().map(if little { u64::from_le_bytes } else { u64::from_be_bytes }).ok();
    data.chunks_exact(8).enumerate().filter_map(|(at, bytes)| Some((at as u64 * 8, word(bytes)?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_descriptor_begins_with_the_address_of_its_code() {
        let code = words(&[&0xc000_0000_0000_1234u64.to_be_bytes()[..], &[0; 17]].concat(), false);
        let opd = Descriptors { section: SectionIndex(3), base: 0xc000_0000_0100_0000, code };
        assert_eq!(opd.code(Some(SectionIndex(3)), 0xc000_0000_0100_0000), Some(0xc000_0000_0000_1234));
        assert_eq!(opd.code(Some(SectionIndex(2)), 0xc000_0000_0100_0000), None);
        assert_eq!(opd.code(Some(SectionIndex(3)), 0xc000_0000_0100_0004), None);
    }
}
