//! Sections that were compressed (`SHF_COMPRESSED`, `.zdebug_*`).

use std::borrow::Cow;

use object::{CompressedData, CompressionFormat, ObjectSection};

/// zlib makes one byte of at most so many (a match of 258 bytes takes two bits); what claims more is damaged or made to exhaust memory, and
/// debug info that zstd packed is far from it too.
const MOST: u64 = 1_032;
/// Sections that are large pack worse: those of which next to nothing is left are zeros in modules, in place of addresses that are relocated.
const MOST_OF_LARGE: u64 = 64;
/// What is large, in bytes.
const LARGE: u64 = 64 << 20;

/// The bytes of a section, unpacked.
///
/// # Errors
///
/// Says what is wrong: it lies outside of the file, is damaged, or claims to be larger than its bytes can be.
pub fn data<'f>(section: &impl ObjectSection<'f>) -> Result<Cow<'f, [u8]>, String> {
    let packed = section.compressed_data().map_err(|cause| cause.to_string())?;
    unpack(&packed)
}

fn unpack<'f>(packed: &CompressedData<'f>) -> Result<Cow<'f, [u8]>, String> {
    credible(packed)?;
    packed.decompress().map_err(|cause| cause.to_string())
}

fn credible(packed: &CompressedData<'_>) -> Result<(), String> {
    let (stored, claimed) = (packed.data.len() as u64, packed.uncompressed_size);
    let most = if claimed > LARGE { MOST_OF_LARGE } else { MOST };
    match packed.format != CompressionFormat::None && claimed > stored.saturating_mul(most) {
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
        let many =
            |uncompressed_size| credible(&CompressedData { format: CompressionFormat::Zlib, data: &[0; 200_000], uncompressed_size });
        assert!(many(60 << 20).is_ok() && many(100 << 20).is_err(), "a bomb");
        assert_eq!(unpack(&packed(CompressionFormat::None, 8)).unwrap().len(), 8);
    }
}
