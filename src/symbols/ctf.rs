//! How many types a CTF section holds (compact C type format of Solaris, illumos, FreeBSD and NetBSD), against what its ids can number.
//!
//! Header and records as in illumos' `usr/src/uts/common/sys/ctf.h` (versions 2 and 3) and FreeBSD's `sys/ctf.h`. Type ids of version 2 have
//! 15 bits, the sixteenth says whether the type is a child module's own: a kernel with more than 32,767 types is converted wrongly or
//! not at all, and `dtrace` and `mdb` then misread its structures.

use std::io::Read;

/// The types of one section.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CtfTypes {
    /// Version of the format: 2 or 3.
    pub version: u8,
    /// Types in this section, without those of its parent.
    pub count: u32,
    /// The highest id that a type can have.
    pub limit: u32,
    /// Whether the section is a child's: its ids go on where its parent's have no say.
    pub child: bool,
}

/// More than this much of unpacked CTF is not read, in bytes: the largest known sections have a few MiB.
const LARGEST: u64 = 256 << 20;

/// Bytes of the header, the same in both versions.
const HEADER: usize = 36;

/// Counts the types of a `.SUNW_ctf` or `.ctf` section of a little- or big-endian file.
///
/// # Errors
/// What is wrong with the section.
pub fn types(section: &[u8], little: bool) -> Result<CtfTypes, String> {
    let word = |data: &[u8], at: usize| number(data, at, 4, little).unwrap_or(0) as u32;
    if section.len() < HEADER || number(section, 0, 2, little) != Some(0xcff1) {
        return Err("has no CTF header".to_string());
    }
    let version = section[2];
    if !matches!(version, 2 | 3) {
        return Err(format!("is CTF version {version}; versions 2 and 3 are read"));
    }
    let body = body(&section[HEADER..], section[3] & 1 != 0)?;
    let (from, to) = (word(section, 24) as usize, word(section, 28) as usize);
    let records = body.get(from..to).ok_or("has a type section outside of its bounds")?;
    let count = count(records, version, little)?;
    Ok(CtfTypes { version, count, limit: if version == 2 { 0x7fff } else { 0x7fff_ffff }, child: word(section, 8) != 0 })
}

/// What follows the header, unpacked.
fn body(data: &[u8], packed: bool) -> Result<Vec<u8>, String> {
    let mut body = Vec::new();
    if !packed {
        return Ok(data.to_vec());
    }
    let read = flate2::read::ZlibDecoder::new(data).take(LARGEST).read_to_end(&mut body);
    read.map_err(|cause| format!("cannot be unpacked: {cause}"))?;
    Ok(body)
}

/// Walks over the type records.
fn count(records: &[u8], version: u8, little: bool) -> Result<u32, String> {
    let (mut at, mut count) = (0, 0);
    while at < records.len() {
        let length = record(&records[at..], version, little).ok_or_else(|| format!("is damaged after {count} types"))?;
        at += length;
        count += 1;
    }
    if at == records.len() { Ok(count) } else { Err(format!("is cut off in type {count}")) }
}

/// Length of the record that `data` begins with, in bytes.
fn record(data: &[u8], version: u8, little: bool) -> Option<usize> {
    const ARRAY: u64 = 4;
    const FUNCTION: u64 = 5;
    // Width of ids and sizes; `info` has as many bytes.
    let wide = if version == 2 { 2 } else { 4 };
    let info = number(data, 4, wide, little)?;
    let (kind, entries) = if version == 2 { (info >> 11, info & 0x3ff) } else { (info >> 26, info & 0x1ff_ffff) };
    let entries = entries as usize;
    let size = number(data, 4 + wide, wide, little)?;
    // A size that does not fit has this in its place and two words behind it.
    let long = size == (1 << (8 * wide)) - 1;
    let header = 4 + 2 * wide + if long { 8 } else { 0 };
    let size = if long { number(data, header - 8, 4, little)? << 32 | number(data, header - 4, 4, little)? } else { size };
    let body = match kind {
        1 | 2 => 4,
        ARRAY => 2 * wide + 4,
        FUNCTION if version == 2 => 2 * (entries + entries % 2),
        FUNCTION => 4 * entries,
        6 | 7 => entries * member(size, version),
        8 => 8 * entries,
        // Pointer, forward, typedef, volatile, const, restrict, and 0 for a hole: nothing follows.
        0 | 3 | 9..=13 => 0,
        _ => return None,
    };
    Some(header + body)
}

/// Length of one member of a structure of `size` bytes: large ones need larger offsets.
fn member(size: u64, version: u8) -> usize {
    match version {
        2 if size < 8192 => 8,
        3 if size < 536_870_912 => 12,
        _ => 16,
    }
}

/// The number of `width` bytes at `at`.
fn number(data: &[u8], at: usize, width: usize, little: bool) -> Option<u64> {
    let bytes = data.get(at..at.checked_add(width)?)?;
    let fold = |value: u64, byte: &u8| value << 8 | u64::from(*byte);
    Some(if little { bytes.iter().rev().fold(0, fold) } else { bytes.iter().fold(0, fold) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A section of version 2 with those type records.
    fn section(records: &[u8], packed: bool) -> Vec<u8> {
        let mut out = vec![0xf1, 0xcf, 2, u8::from(packed)];
        for word in [0, 0, 0, 0, 0, 0, records.len() as u32, 0] {
            out.extend(word.to_le_bytes());
        }
        let mut tail = Vec::new();
        if packed {
            flate2::read::ZlibEncoder::new(records, flate2::Compression::fast()).read_to_end(&mut tail).unwrap();
        } else {
            tail.extend(records);
        }
        out.extend(tail);
        out
    }

    /// `int`, a pointer to it, a function of one argument, a structure of two members.
    fn four() -> Vec<u8> {
        let record = |info: u16, size: u16, body: &[u8]| [&0u32.to_le_bytes()[..], &info.to_le_bytes(), &size.to_le_bytes(), body].concat();
        [record(1 << 11, 4, &[0; 4]), record(3 << 11, 1, &[]), record(5 << 11 | 1, 1, &[0; 4]), record(6 << 11 | 2, 8, &[0; 16])].concat()
    }

    #[test]
    fn types_are_counted_packed_or_not() {
        for packed in [false, true] {
            let found = types(&section(&four(), packed), true).unwrap();
            assert_eq!((found.count, found.limit, found.child), (4, 32_767, false));
        }
        assert!(types(&section(&four()[..22], false), true).unwrap_err().contains("after 2 types"));
    }

    proptest! {
        #[test]
        fn any_bytes_give_a_count_or_a_reason(bytes in prop::collection::vec(any::<u8>(), 0..200), little: bool) {
            let _ = types(&section(&bytes, false), little);
            let _ = types(&bytes, little);
        }
    }
}
