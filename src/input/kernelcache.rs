//! What Apple packs kernelcaches with: IM4P containers, LZFSE and LZSS.
//!
//! ```text
//! SEQUENCE { "IM4P", "krnl", description, OCTET STRING payload, ... }      IM4P, DER; firmware and Preboot volumes
//! "bvx2" ... "bvx$"                                                        LZFSE
//! "complzss", adler32, size, packed size, ... data from byte 0x180         LZSS, big endian; 10.6 to 10.12 and older iOS
//! ```
//! The last is `compressed_kernel_header` of Apple's kext_tools (kernelcache.h).

use super::{Bytes, MAX_BYTES, Source};
use crate::error::{Error, Result};

const LZSS: &[u8] = b"complzss";
const LZSS_DATA: usize = 0x180;
/// A kernelcache has 20 to 120 MB.
const MAX_LZSS: usize = 1 << 30;
const LZFSE: [&[u8]; 4] = [b"bvx2", b"bvx1", b"bvx-", b"bvxn"];

/// Whether `data` is packed in one of these ways.
pub fn is_packed(data: &[u8]) -> bool {
    data.starts_with(LZSS) || is_lzfse(data) || im4p(data).is_some()
}

fn is_lzfse(data: &[u8]) -> bool {
    LZFSE.iter().any(|magic| data.starts_with(magic))
}

/// Unpacks a kernelcache; an IM4P container also gives one that is not compressed.
///
/// # Errors
/// When the data is damaged or encrypted, or would unpack to more than a kernelcache can have.
pub fn unpack(name: String, data: &[u8]) -> Result<Source> {
    let Some(container) = im4p(data) else { return unpack_payload(name, data) };
    let Some(payload) = container.payload else {
        return Err(Error::bad(name, "is a truncated IM4P container: its payload ends behind the file; copy it again"));
    };
    match payload {
        _ if payload.starts_with(LZSS) || is_lzfse(payload) => unpack_payload(name, payload),
        [0xcf | 0xce, 0xfa, 0xed, 0xfe, ..] | [0xca, 0xfe, 0xba, 0xbe, ..] => {
            Ok(Source { name, data: Bytes::from(payload.to_vec()), notes: Vec::new() })
        }
        _ => Err(Error::bad(
            &name,
            format!(
                "is an IM4P container of type `{}` whose payload is encrypted or no kernel; decrypt it first (`ipsw kernel dec {name}`, \
                 `img4tool -e -o kernelcache {name}`)",
                String::from_utf8_lossy(container.kind).escape_debug()
            ),
        )),
    }
}

fn unpack_payload(name: String, data: &[u8]) -> Result<Source> {
    if data.starts_with(LZSS) {
        let unpacked = unpack_header(data).map_err(|what| Error::bad(&name, what))?;
        return Ok(Source { name, data: Bytes::from(unpacked), notes: Vec::new() });
    }
    unpack_lzfse(name, data)
}

#[cfg(feature = "lzfse")]
fn unpack_lzfse(name: String, data: &[u8]) -> Result<Source> {
    super::unpack::read(name, "LZFSE", &mut lzfse_rust::LzfseRingDecoder::default().reader(data), MAX_BYTES)
}

#[cfg(not(feature = "lzfse"))]
fn unpack_lzfse(name: String, _data: &[u8]) -> Result<Source> {
    let hint = format!("unpack it with `lzfse -decode -i {name} -o kernelcache` or `ipsw kernel dec {name}`");
    Err(Error::bad(name, format!("is LZFSE data, and this kstack was built without the feature `lzfse`; {hint}")))
}

/// An IM4P container, as far as it matters.
struct Im4p<'d> {
    kind: &'d [u8],
    /// `None` when the file ends before it does.
    payload: Option<&'d [u8]>,
}

/// Reads the head of an IM4P container; `None` when `data` is none.
fn im4p(data: &[u8]) -> Option<Im4p<'_>> {
    const SEQUENCE: u8 = 0x30;
    const STRING: u8 = 0x16;
    const OCTETS: u8 = 0x04;
    let (body, _) = field(data, SEQUENCE)?;
    let (magic, rest) = whole(body, STRING)?;
    let (kind, rest) = whole(rest, STRING).filter(|_| magic == b"IM4P")?;
    let (_, rest) = whole(rest, STRING)?;
    let (start, size) = field(rest, OCTETS)?;
    Some(Im4p { kind, payload: start.get(..size) })
}

/// A DER field that must be all there: its content and what follows it.
fn whole(data: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (start, size) = field(data, tag)?;
    start.split_at_checked(size)
}

/// A DER field of that tag: what begins with its content, and the content's size.
fn field(data: &[u8], tag: u8) -> Option<(&[u8], usize)> {
    let [found, length, rest @ ..] = data else { return None };
    match length {
        _ if *found != tag => None,
        0..=0x7f => Some((rest, usize::from(*length))),
        0x81..=0x84 => {
            let (digits, rest) = rest.split_at_checked(usize::from(length & 0x7f))?;
            Some((rest, digits.iter().fold(0, |size, digit| size << 8 | usize::from(*digit))))
        }
        _ => None,
    }
}

fn unpack_header(data: &[u8]) -> std::result::Result<Vec<u8>, String> {
    let word = |at: usize| data.get(at..at + 4).and_then(|bytes| bytes.try_into().ok()).map(u32::from_be_bytes);
    let (Some(sum), Some(size), Some(packed)) = (word(8), word(12), word(16)) else {
        return Err("is a truncated LZSS kernelcache: its header is cut off; copy it again".to_string());
    };
    let (size, packed) = (size as usize, packed as usize);
    let Some(body) = data.get(LZSS_DATA..).and_then(|body| body.get(..packed)) else {
        return Err(format!("is a truncated LZSS kernelcache: it should have {packed} packed bytes; copy it again"));
    };
    // Nothing packs better than 18 bytes in 17 bits.
    if size > MAX_LZSS || size as u64 > MAX_BYTES || size > body.len().saturating_mul(9) {
        return Err(format!(
            "is an LZSS kernelcache that claims to have {size} bytes, which {packed} packed ones cannot hold; copy it again"
        ));
    }
    let unpacked = lzss(body, size);
    let found = adler32(&unpacked);
    if unpacked.len() != size || found != sum {
        return Err(format!("is a damaged LZSS kernelcache: {} of {size} bytes, checksum {found:#x} instead of {sum:#x}", unpacked.len()));
    }
    Ok(unpacked)
}

/// Ring of the window, and the longest and shortest match (Okumura's LZSS with the parameters that Apple uses).
const RING: usize = 4096;
const LONGEST: usize = 18;
const SHORTEST: usize = 3;

/// Unpacks at most `size` bytes. A flag byte, lowest bit first, tells of eight items whether each is a byte or a match of two.
fn lzss(packed: &[u8], size: usize) -> Vec<u8> {
    let mut ring = [b' '; RING];
    let mut at = RING - LONGEST;
    let mut out = Vec::with_capacity(size);
    let mut bytes = packed.iter().copied();
    let mut put = |out: &mut Vec<u8>, ring: &mut [u8; RING], byte: u8| {
        out.push(byte);
        ring[at] = byte;
        at = (at + 1) % RING;
    };
    while let Some(flags) = bytes.next() {
        for bit in 0..8 {
            let Some(first) = bytes.next().filter(|_| out.len() < size) else { return out };
            if flags >> bit & 1 == 1 {
                put(&mut out, &mut ring, first);
                continue;
            }
            let Some(second) = bytes.next() else { return out };
            let from = usize::from(first) | usize::from(second & 0xf0) << 4;
            for n in 0..usize::from(second & 0x0f) + SHORTEST {
                let byte = ring[(from + n) % RING];
                put(&mut out, &mut ring, byte);
            }
        }
    }
    out
}

fn adler32(data: &[u8]) -> u32 {
    const MODULUS: u32 = 65521;
    // 5552 is the most that fits 32 bits between two divisions.
    let (low, high) = data.chunks(5552).fold((1, 0), |(low, high), chunk| {
        let (low, high) =
            chunk.iter().fold((low, high), |(low, high): (u32, u32), byte| (low + u32::from(*byte), high + low + u32::from(*byte)));
        (low % MODULUS, high % MODULUS)
    });
    high << 16 | low
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Packs greedily, with the longest match in the window.
    fn pack(data: &[u8]) -> Vec<u8> {
        let (mut out, mut at) = (Vec::new(), 0);
        while at < data.len() {
            let (flag_at, mut flags) = (out.len(), 0u8);
            out.push(0);
            for bit in 0..8 {
                if at >= data.len() {
                    break;
                }
                let window = at.saturating_sub(RING - LONGEST)..at;
                let len = |from: usize| data[at..].iter().zip(&data[from..]).take(LONGEST).take_while(|(a, b)| a == b).count();
                let best = window.map(|from| (len(from), from)).max().unwrap_or((0, 0));
                if best.0 >= SHORTEST {
                    let place = (best.1 + RING - LONGEST) % RING;
                    out.extend([place as u8, (place >> 4 & 0xf0) as u8 | (best.0 - SHORTEST) as u8]);
                    at += best.0;
                } else {
                    flags |= 1 << bit;
                    out.push(data[at]);
                    at += 1;
                }
            }
            out[flag_at] = flags;
        }
        out
    }

    fn packed(data: &[u8]) -> Vec<u8> {
        let body = pack(data);
        let mut file = b"complzss".to_vec();
        [adler32(data), data.len() as u32, body.len() as u32].iter().for_each(|word| file.extend(word.to_be_bytes()));
        file.resize(LZSS_DATA, 0);
        file.extend(body);
        file
    }

    fn der(tag: u8, content: &[u8]) -> Vec<u8> {
        let mut field = vec![tag];
        match content.len() {
            len @ 0..=0x7f => field.push(len as u8),
            len => field.extend([&[0x83][..], &(len as u32).to_be_bytes()[1..]].concat()),
        }
        field.extend(content);
        field
    }

    fn container(payload: &[u8]) -> Vec<u8> {
        der(0x30, &[der(0x16, b"IM4P"), der(0x16, b"krnl"), der(0x16, b"KernelCache"), der(4, payload)].concat())
    }

    fn sample() -> Vec<u8> {
        let mut data = vec![0xcf, 0xfa, 0xed, 0xfe];
        data.extend((0..1500u32).flat_map(|n| (n * n / 7 % 251).to_le_bytes()));
        data
    }

    #[test]
    fn lzss_comes_back_whole_and_lies_are_refused() {
        let data = sample();
        let file = packed(&data);
        assert!(is_packed(&file) && file.len() < data.len());
        assert_eq!(&unpack("k".into(), &file).unwrap().data[..], &data[..]);
        let error = |file: &[u8]| unpack("k".into(), file).unwrap_err().to_string();
        assert!(error(&file[..file.len() - 9]).contains("truncated"));
        assert!(error(&file[..10]).contains("truncated"));
        let mut huge = file.clone();
        huge[12..16].fill(0xff);
        assert!(error(&huge).contains("cannot hold"), "{}", error(&huge));
        let mut damaged = file.clone();
        damaged[LZSS_DATA + 3] ^= 0x40;
        assert!(error(&damaged).contains("damaged"));
    }

    #[test]
    fn containers_give_what_they_hold() {
        let data = sample();
        for payload in [data.clone(), packed(&data)] {
            assert_eq!(&unpack("k".into(), &container(&payload)).unwrap().data[..], &data[..]);
        }
        let encrypted = container(&[0x5a; 300]);
        assert!(unpack("k".into(), &encrypted).unwrap_err().to_string().contains("ipsw kernel dec k"));
        let whole = container(&data);
        assert!(unpack("k".into(), &whole[..400]).unwrap_err().to_string().contains("truncated IM4P"));
        assert!(!is_packed(b"0\x82plain text that begins with a zero"));
    }

    #[cfg(feature = "lzfse")]
    #[test]
    fn damaged_lzfse_gives_a_result_or_an_error() {
        let mut whole = Vec::new();
        lzfse_rust::encode_bytes(&sample(), &mut whole).unwrap();
        for seed in 0..4000usize {
            let mut file = whole.clone();
            for n in 0..1 + seed % 4 {
                let at = seed.wrapping_mul(2654435761).wrapping_add(n * 7919) % if seed % 3 == 0 { 64 } else { file.len() };
                file[at] ^= (seed >> 2) as u8 | 1;
            }
            let _ = unpack("k".into(), &file);
        }
    }

    #[cfg(feature = "lzfse")]
    #[test]
    fn lzfse_comes_back_alone_and_in_a_container() {
        let data = sample();
        let mut file = Vec::new();
        lzfse_rust::encode_bytes(&data, &mut file).unwrap();
        assert_eq!(&unpack("k".into(), &file).unwrap().data[..], &data[..]);
        assert_eq!(&unpack("k".into(), &container(&file)).unwrap().data[..], &data[..]);
        let cut = unpack("k".into(), &file[..file.len() / 2]);
        assert!(cut.map_or(true, |source| source.notes.iter().any(|note| note.failure)), "a cut one is said to be cut");
    }
}
