//! gzip, xz and zstd, and what kernelcaches are packed with: recognised by their first bytes and never by the file's name.

use std::io::{self, Read};

use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

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

/// No text of a kernel packs better than this; what does is made to fill the memory.
const MOST_RATIO: u64 = 2_000;
/// What unpacks to less than this does no harm, however well it is packed, in bytes.
const HARMLESS: u64 = 256 << 20;

/// Unpacks `data` if it is compressed. What could be read of a damaged archive is kept, with a note.
///
/// # Errors
/// When nothing at all could be unpacked, or more than [`MAX_BYTES`] would come out.
pub fn unpack(name: String, data: Bytes) -> Result<Source> {
    unpack_within(name, data, MAX_BYTES)
}

/// As [`unpack`], with another limit than [`MAX_BYTES`].
///
/// # Errors
/// When nothing at all could be unpacked, or more than `limit` bytes would come out.
pub fn unpack_within(name: String, data: Bytes, limit: u64) -> Result<Source> {
    let limit = limit.min(HARMLESS.max((data.len() as u64).saturating_mul(MOST_RATIO)));
    let read = |name, kind, reader: &mut dyn Read| read(name, kind, reader, limit);
    if data.starts_with(GZIP) {
        read(name, "gzip", &mut flate2::read::MultiGzDecoder::new(&data[..]))
    } else if data.starts_with(ZSTD) {
        read(name, "zstd", &mut Frames { rest: &data, decoder: FrameDecoder::new(), inside: false })
    } else if data.starts_with(XZ) {
        unpack_xz(name, &data, limit)
    } else if kernelcache::is_packed(&data) {
        kernelcache::unpack(name, &data)
    } else {
        Ok(Source { name, data, notes: Vec::new() })
    }
}

/// A zstd file: frames one after the other, as `cat`, parallel packers and `kstack capture` make them.
struct Frames<'d> {
    rest: &'d [u8],
    decoder: FrameDecoder,
    /// Whether the decoder is in the middle of a frame.
    inside: bool,
}

impl Frames<'_> {
    /// Passes over frames that hold no data: magic 0x184D2A50 to 0x184D2A5F, then their length (RFC 8878, 3.1.2).
    fn skip(&mut self) -> bool {
        let Some((&[kind, 0x2a, 0x4d, 0x18, a, b, c, d], rest)) = self.rest.split_first_chunk() else { return false };
        let length = u32::from_le_bytes([a, b, c, d]) as usize;
        let found = kind & 0xf0 == 0x50 && length <= rest.len();
        if found {
            self.rest = &rest[length..];
        }
        found
    }
}

impl Read for Frames<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if !self.inside {
                while self.skip() {}
                if self.rest.is_empty() {
                    return Ok(0);
                }
                self.decoder.init(&mut self.rest).map_err(io::Error::other)?;
                self.inside = true;
            }
            while self.decoder.can_collect() == 0 && !self.decoder.is_finished() {
                self.decoder.decode_blocks(&mut self.rest, BlockDecodingStrategy::UptoBlocks(1)).map_err(io::Error::other)?;
            }
            let count = self.decoder.read(buffer)?;
            if count > 0 || buffer.is_empty() {
                return Ok(count);
            }
            self.inside = false;
        }
    }
}

#[cfg(feature = "xz")]
fn unpack_xz(name: String, data: &[u8], limit: u64) -> Result<Source> {
    const DICTIONARY_LIMIT_KIB: u32 = 512 << 10;
    read(name, "xz", &mut lzma_rust2::XzReader::new_mem_limit(data, true, DICTIONARY_LIMIT_KIB), limit)
}

#[cfg(not(feature = "xz"))]
fn unpack_xz(name: String, _data: &[u8], _limit: u64) -> Result<Source> {
    Err(Error::bad(name, "is xz data, and this kstack was built without the feature `xz`; unpack it with `xz -d`"))
}

pub(super) fn read(name: String, kind: &str, reader: &mut dyn Read, limit: u64) -> Result<Source> {
    let mut out = Vec::new();
    let ended = reader.take(limit + 1).read_to_end(&mut out);
    if out.len() as u64 > limit {
        return Err(Error::bad(
            name,
            format!("{kind} data unpacks to more than {limit} bytes; refused. If it is meant, unpack it with {kind}"),
        ));
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
    fn zstd_frames_follow_one_another_and_damage_keeps_what_came_before() {
        let pack = |text: &[u8]| ruzstd::encoding::compress_to_vec(text, ruzstd::encoding::CompressionLevel::Fastest);
        let skipped = b"\x5a\x2a\x4d\x18\x03\0\0\0abc";
        let file = [&pack(b"one "), &skipped[..], &pack(b""), &pack(b"two")].concat();
        let whole = unpack("a".into(), file.clone().into()).unwrap();
        assert_eq!((&whole.data[..], whole.notes.len()), (&b"one two"[..], 0));
        let damaged = unpack("a".into(), [&file[..], b"tail"].concat().into()).unwrap();
        assert_eq!((&damaged.data[..], damaged.notes.len()), (&b"one two"[..], 1));
    }

    #[test]
    fn what_is_made_to_fill_the_memory_is_refused_early() {
        // A block of one repeated byte takes four bytes of zstd and gives 128 KiB: here 4,096 of them, 512 MiB.
        let mut bomb = [&[0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x58][..]].concat();
        let block = |last: u32| (last | 1 << 1 | (128 << 10) << 3).to_le_bytes();
        (0..4_096).for_each(|_| bomb.extend([&block(0)[..3], b"a"].concat()));
        bomb.extend([&block(1)[..3], b"a"].concat());
        let error = unpack("bomb.zst".into(), bomb.clone().into()).unwrap_err().to_string();
        assert!(error.contains("more than 268435456 bytes; refused"), "{error}");
        let error = unpack_within("bomb.zst".into(), bomb.into(), 1 << 20).unwrap_err().to_string();
        assert!(error.contains("more than 1048576 bytes; refused"), "{error}");
    }

    #[test]
    fn a_bare_magic_is_an_error_that_names_the_file() {
        for magic in [GZIP, XZ, ZSTD] {
            let error = unpack("log.z".into(), magic.to_vec().into()).unwrap_err();
            assert!(error.to_string().starts_with("log.z: "), "{error}");
        }
    }
}
