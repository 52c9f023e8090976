//! gzip, xz and zstd, and what kernelcaches are packed with: recognised by their first bytes and never by the file's name.

use std::io::Read;

use super::{Bytes, MAX_BYTES, Source, kernelcache};
use crate::error::{Error, Result};
use crate::note::Note;

const GZIP: &[u8] = &[0x1f, 0x8b];
const XZ: &[u8] = &[0xfd, b'7', b'z', b'X', b'Z', 0];
const ZSTD: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];

/// How data that begins with `head` is compressed: the name of the program that unpacks it.
pub fn packing(head: &[u8]) -> Option<&'static str> {
    let kinds = [(GZIP, "gzip"), (XZ, "xz"), (ZSTD, "zstd")];
    kinds.into_iter().find(|(magic, _)| head.starts_with(magic)).map(|(_, program)| program)
}

/// Whether data that begins with `head` is a packed kernelcache.
pub fn is_kernelcache(head: &[u8]) -> bool {
    kernelcache::is_packed(head)
}

/// Unpacks `data` if it is compressed. What could be read of a damaged archive is kept, with a note.
///
/// # Errors
/// When nothing at all could be unpacked, or more than [`MAX_BYTES`] would come out.
pub fn unpack(name: String, data: Bytes) -> Result<Source> {
    if data.starts_with(GZIP) {
        read(name, "gzip", flate2::read::MultiGzDecoder::new(&data[..]))
    } else if data.starts_with(ZSTD) {
        match ruzstd::decoding::StreamingDecoder::new(&data[..]) {
            Ok(decoder) => read(name, "zstd", decoder),
            Err(cause) => Err(Error::bad(name, format!("zstd data cannot be unpacked: {cause}"))),
        }
    } else if data.starts_with(XZ) {
        unpack_xz(name, &data)
    } else if kernelcache::is_packed(&data) {
        kernelcache::unpack(name, &data)
    } else {
        Ok(Source { name, data, notes: Vec::new() })
    }
}

#[cfg(feature = "xz")]
fn unpack_xz(name: String, data: &[u8]) -> Result<Source> {
    const DICTIONARY_LIMIT_KIB: u32 = 512 << 10;
    read(name, "xz", lzma_rust2::XzReader::new_mem_limit(data, true, DICTIONARY_LIMIT_KIB))
}

#[cfg(not(feature = "xz"))]
fn unpack_xz(name: String, _data: &[u8]) -> Result<Source> {
    Err(Error::bad(name, "is xz data, and this kstack was built without the feature `xz`; unpack it with `xz -d`"))
}

pub(super) fn read(name: String, kind: &str, reader: impl Read) -> Result<Source> {
    let mut out = Vec::new();
    let ended = reader.take(MAX_BYTES + 1).read_to_end(&mut out);
    if out.len() as u64 > MAX_BYTES {
        return Err(Error::bad(name, format!("{kind} data unpacks to more than {MAX_BYTES} bytes; refused")));
    }
    let mut notes = Vec::new();
    if let Err(cause) = ended {
        if out.is_empty() {
            return Err(Error::bad(name, format!("{kind} data cannot be unpacked: {cause}")));
        }
        notes
            .push(Note::failure(&name, format!("{kind} data ends or breaks after {} unpacked bytes ({cause}); those are used", out.len())));
    }
    Ok(Source { name, data: Bytes::from(out), notes })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn gzip(data: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(data).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn gzip_is_seen_by_its_magic_and_a_cut_one_keeps_what_it_gave() {
        let text: Vec<u8> = (0..100_000u32).flat_map(|n| n.to_le_bytes()).collect();
        let packed = gzip(&text);
        let whole = unpack("a.txt".into(), packed.clone().into()).unwrap();
        assert_eq!(&whole.data[..], &text[..]);
        let cut = unpack("a.txt".into(), packed[..packed.len() / 2].to_vec().into()).unwrap();
        assert!(!cut.data.is_empty() && text.starts_with(&cut.data));
        assert!(cut.notes[0].failure);
    }

    #[test]
    fn a_bare_magic_is_an_error_that_names_the_file() {
        for magic in [GZIP, XZ, ZSTD] {
            let error = unpack("log.z".into(), magic.to_vec().into()).unwrap_err();
            assert!(error.to_string().starts_with("log.z: "), "{error}");
        }
    }
}
