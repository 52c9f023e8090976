//! Sections that were compressed (`SHF_COMPRESSED`, `.zdebug_*`).

use std::borrow::Cow;

use object::{CompressedData, CompressionFormat, Object, ObjectSection};

/// zlib makes one byte of at most so many (a match of 258 bytes takes two bits); what claims more is damaged or made to exhaust memory, and
/// debug info that zstd packed is far from it too.
const MOST: u64 = 1_032;

/// The bytes of a section, unpacked.
///
/// # Errors
///
/// Says what is wrong: it lies outside of the file, is damaged, or claims to be larger than its bytes can be.
pub fn data<'f>(section: &impl ObjectSection<'f>) -> Result<Cow<'f, [u8]>, String> {
    let packed = section.compressed_data().map_err(|cause| cause.to_string())?;
    unpack(&packed)
}

/// Which debug sections of a file are not read, and why.
pub fn damage(file: &object::File<'_>) -> Vec<String> {
    let sections = file.sections().filter(|section| section.name().is_ok_and(|name| name.starts_with(".debug_")));
    let damaged = |section: object::Section<'_, '_>| {
        let why = section.compressed_data().map_err(|cause| cause.to_string()).and_then(|packed| credible(&packed)).err()?;
        Some(format!("its section {} is damaged and not read: it {why}; lines or inlined calls are missing", section.name().ok()?))
    };
    sections.filter_map(damaged).collect()
}

fn unpack<'f>(packed: &CompressedData<'f>) -> Result<Cow<'f, [u8]>, String> {
    credible(packed)?;
    packed.decompress().map_err(|cause| cause.to_string())
}

fn credible(packed: &CompressedData<'_>) -> Result<(), String> {
    let (stored, claimed) = (packed.data.len() as u64, packed.uncompressed_size);
    match packed.format != CompressionFormat::None && claimed > stored.saturating_mul(MOST) {
        true => Err(format!("claims to unpack {stored} bytes to {claimed}")),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_memory_is_taken_for_what_cannot_be_there() {
        let packed = |format, uncompressed_size| CompressedData { format, data: &[0; 8], uncompressed_size };
        for format in [CompressionFormat::Zlib, CompressionFormat::Zstandard] {
            let said = unpack(&packed(format, 1 << 60)).unwrap_err();
            assert!(said.starts_with("claims to unpack 8 bytes to 1152921504606846976"), "{said}");
            assert!(unpack(&packed(format, 100)).is_err_and(|said| !said.contains("claims")), "eight zeros are neither");
        }
        assert_eq!(unpack(&packed(CompressionFormat::None, 8)).unwrap().len(), 8);
    }
}
