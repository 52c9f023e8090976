//! The items that kcdata consists of, and the wrappers around it.
//!
//! An item is `u32 type, u32 size, u64 flags` and `size` bytes, little endian; the next follows at once. Sizes hold padding to 16 bytes: of a
//! structure `flags & 15` when `flags & 0x80`, of an array (types 0x20 to 0x2f) the low half of its type. An array's flags are element type
//! and count. All of this is from `osfmk/kern/kcdata.h` of xnu-11417; arrays of type 0x11, without padding, are those of xnu-3247 to 3789.

use std::borrow::Cow;
use std::io::Read;

use memchr::memmem;

use super::json_text::base64;
use crate::note::Note;

/// `KCDATA_BUFFER_BEGIN_STACKSHOT`.
pub const STACKSHOT: u32 = 0x59a2_5807;
/// `KCDATA_BUFFER_BEGIN_DELTA_STACKSHOT`.
pub const DELTA: u32 = 0xde17_a59a;
/// `KCDATA_BUFFER_BEGIN_COMPRESSED`.
const COMPRESSED: u32 = 0x434f_4d50;
/// `KCDATA_TYPE_BUFFER_END`.
const END: u32 = 0xf191_58ed;
/// Everything that begins a buffer that is read here.
const BEGINS: [u32; 3] = [STACKSHOT, DELTA, COMPRESSED];
/// The same in base64: the magic number and a size of 0.
const BEGINS_BASE64: [&[u8]; 3] = [b"B1iiWQAAAA", b"mqUX3gAAAA", b"UE1PQwAAAA"];
/// gzip in base64.
const GZIP_BASE64: &[u8] = b"H4sI";

/// `KCDATA_TYPE_UINT32_DESC` and `…64_DESC`: a name of 32 bytes and a value.
const UINT32_DESC: u32 = 2;
const UINT64_DESC: u32 = 3;
const NAME_SIZE: usize = 32;

/// More than this no stackshot unpacks to; what a header promises beyond it is a lie or an attack.
const MOST_UNPACKED: u64 = 1 << 30;

/// One item.
#[derive(Clone, Copy, Debug)]
pub struct Item<'d> {
    /// What it is.
    pub kind: u32,
    /// Id of a container, element type and count of an array, padding of a structure.
    pub flags: u64,
    /// Its bytes, as a rule without padding.
    pub data: &'d [u8],
    /// Offset of its header in the buffer.
    pub at: usize,
}

/// Reads a little-endian number at `at`.
pub fn u32_at(data: &[u8], at: usize) -> Option<u32> {
    data.get(at..at + 4).map(|bytes| u32::from_le_bytes(bytes.try_into().unwrap_or_default()))
}

/// Reads a little-endian number at `at`.
pub fn u64_at(data: &[u8], at: usize) -> Option<u64> {
    data.get(at..at + 8).map(|bytes| u64::from_le_bytes(bytes.try_into().unwrap_or_default()))
}

/// The text before the first NUL; `None` when there is none.
pub fn text(data: &[u8]) -> Option<String> {
    let end = memchr::memchr(0, data).unwrap_or(data.len());
    (end > 0).then(|| String::from_utf8_lossy(&data[..end]).into_owned())
}

impl<'d> Item<'d> {
    fn is_array(&self) -> bool {
        matches!(self.kind, 0x11 | 0x20..=0x2f)
    }

    /// Element type and elements of an array. `legacy` tells the size of an element where the array has no padding of its own.
    pub fn array(&self, legacy: impl Fn(u32) -> Option<usize>) -> Option<(u32, std::slice::ChunksExact<'d, u8>)> {
        let (kind, count) = ((self.flags >> 32) as u32, (self.flags & 0xffff_ffff) as usize);
        if !self.is_array() || count == 0 {
            return None;
        }
        let size = legacy(kind).filter(|_| self.kind == 0x11).unwrap_or(self.data.len() / count);
        let data = self.data.get(..size.checked_mul(count)?)?;
        (size > 0).then(|| (kind, data.chunks_exact(size)))
    }
}

/// The items of a buffer, its first one left out, up to its end or the first that cannot be.
pub struct Items<'d> {
    data: &'d [u8],
    at: usize,
    ended: bool,
    /// What is wrong with the buffer, once that was met.
    pub damage: Option<String>,
}

impl<'d> Items<'d> {
    /// The items of the buffer that begins at `start`.
    pub fn new(data: &'d [u8], start: usize) -> Items<'d> {
        Items { data, at: start, ended: false, damage: None }
    }

    fn damaged(&mut self, text: String) -> Option<Item<'d>> {
        (self.damage, self.ended) = (Some(text), true);
        None
    }
}

impl<'d> Iterator for Items<'d> {
    type Item = Item<'d>;

    fn next(&mut self) -> Option<Item<'d>> {
        if self.ended {
            return None;
        }
        let at = self.at;
        let header = (u32_at(self.data, at), u32_at(self.data, at + 4), u64_at(self.data, at + 8));
        let (Some(kind), Some(size), Some(flags)) = header else {
            return self.damaged(format!("the kcdata ends at byte {} without an end mark", self.data.len()));
        };
        if kind == END {
            self.ended = true;
            return None;
        }
        let body = self.data.get(at + 16..).unwrap_or_default();
        let Some(data) = body.get(..size as usize) else {
            let left = body.len();
            return self.damaged(format!("the item of type {kind:#x} at byte {at} claims {size} bytes, but {left} are left"));
        };
        self.at = at + 16 + size as usize;
        let padding = match kind {
            0x20..=0x2f => kind as usize & 15,
            // The flags of old arrays and of containers are numbers of another kind.
            0x11 | 0x13 | 0x14 => 0,
            _ if flags & 0x80 != 0 => flags as usize & 15,
            _ => 0,
        };
        Some(Item { kind, flags, data: &data[..data.len().saturating_sub(padding)], at })
    }
}

/// A buffer with its wrappers taken off.
pub struct Buffer<'d> {
    /// The buffer.
    pub data: Cow<'d, [u8]>,
    /// Offset of the item behind the one that begins it.
    pub start: usize,
    /// What begins it: [`STACKSHOT`] or [`DELTA`].
    pub kind: u32,
}

/// Where kcdata stands in `data`, raw.
fn find_raw(data: &[u8]) -> Option<usize> {
    if u32_at(data, 0).is_some_and(|magic| BEGINS.contains(&magic)) {
        return Some(0);
    }
    let begins = BEGINS.iter().filter_map(|magic| memmem::find(data, &u64::from(*magic).to_le_bytes()));
    begins.min()
}

/// Where kcdata stands in `data` in base64, maybe packed with gzip.
fn find_base64(data: &[u8]) -> Option<usize> {
    let plain = BEGINS_BASE64.iter().filter_map(|begin| memmem::find(data, begin)).min();
    plain.or_else(|| memmem::find_iter(data, GZIP_BASE64).take(16).find(|at| holds_kcdata(&data[*at..])))
}

/// Whether base64 of gzip unpacks to kcdata.
fn holds_kcdata(text: &[u8]) -> bool {
    let (packed, _) = base64(&text[..text.len().min(64 << 10)]);
    let mut begin = [0; 16];
    flate2::read::GzDecoder::new(&packed[..]).read_exact(&mut begin).is_ok() && find_raw(&begin) == Some(0)
}

/// Whether the beginning of an input looks like kcdata, and whether it is at its very first byte.
pub fn sniff(head: &[u8]) -> Option<bool> {
    find_raw(head).or_else(|| find_base64(head)).map(|at| at == 0)
}

/// Finds the buffer in an input and takes off what it is packed in.
///
/// # Errors
/// What is wrong, in words, when there is nothing to read.
pub fn open<'d>(data: &'d [u8], notes: &mut Vec<Note>) -> Result<Buffer<'d>, String> {
    if let Some(at) = find_raw(data) {
        if at > 0 {
            notes.push(Note::warning("", format!("{at} bytes stand before the kcdata; they are not read")));
        }
        return unwrap(Cow::Borrowed(&data[at..]), notes);
    }
    let Some(at) = find_base64(data) else {
        return Err("no kcdata stackshot: neither its magic number nor base64 of it".to_string());
    };
    let (mut bytes, _) = base64(&data[at..]);
    if bytes.starts_with(b"\x1f\x8b") {
        bytes = inflate(flate2::read::MultiGzDecoder::new(&bytes[..]), MOST_UNPACKED, notes);
    }
    unwrap(Cow::Owned(bytes), notes)
}

fn unwrap<'d>(data: Cow<'d, [u8]>, notes: &mut Vec<Note>) -> Result<Buffer<'d>, String> {
    match u32_at(&data, 0) {
        Some(COMPRESSED) => decompress(&data, notes),
        Some(kind) => {
            let size = u32_at(&data, 4).unwrap_or(0) as usize;
            Ok(Buffer { start: size.saturating_add(16), kind, data })
        }
        None => Err(format!("the kcdata ends at byte {}, in its first header", data.len())),
    }
}

/// A compressed buffer: how it is packed, how large it is on either side, and then the deflated items behind the header that they had.
fn decompress<'d>(data: &[u8], notes: &mut Vec<Note>) -> Result<Buffer<'d>, String> {
    let mut items = Items::new(data, 16);
    let (mut method, mut unpacked, mut packed) = (None, None, None);
    for item in items.by_ref() {
        if item.kind == STACKSHOT || item.kind == DELTA {
            let body = data.get(item.at + 16..).unwrap_or_default();
            let body = packed.and_then(|size: u64| body.get(..usize::try_from(size).ok()?)).unwrap_or_else(|| {
                notes.push(Note::warning(
                    "",
                    format!("the compressed kcdata should have {} bytes, but {} are left", packed.unwrap_or(0), body.len()),
                ));
                body
            });
            if method.is_some_and(|method| method != 1) {
                return Err(format!("the kcdata is compressed by method {}, only 1 (deflate) is known", method.unwrap_or(0)));
            }
            let limit = unpacked.unwrap_or(MOST_UNPACKED).min(MOST_UNPACKED);
            // One byte more than promised tells that the promise was wrong.
            let mut plain = inflate(flate2::read::ZlibDecoder::new(body), limit + 1, notes);
            if unpacked.is_some_and(|size| size != plain.len() as u64) {
                let more = if plain.len() as u64 > limit { " or more" } else { "" };
                let text =
                    format!("the compressed kcdata should unpack to {} bytes, but gives {}{more}", unpacked.unwrap_or(0), plain.len());
                notes.push(Note::warning("", text));
            }
            plain.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
            return Ok(Buffer { data: Cow::Owned(plain), start: 0, kind: item.kind });
        }
        let value = match item.kind {
            UINT32_DESC => u32_at(item.data, NAME_SIZE).map(u64::from),
            UINT64_DESC => u64_at(item.data, NAME_SIZE),
            _ => None,
        };
        match text(item.data.get(..NAME_SIZE).unwrap_or_default()).as_deref() {
            Some("kcd_c_type") => method = value,
            Some("kcd_c_totalin") => unpacked = value,
            Some("kcd_c_totalout") => packed = value,
            _ => {}
        }
    }
    Err(items.damage.unwrap_or_else(|| "the compressed kcdata has no data".to_string()))
}

/// Unpacks at most `limit` bytes; what came before damage is given.
fn inflate(packed: impl Read, limit: u64, notes: &mut Vec<Note>) -> Vec<u8> {
    let mut plain = Vec::new();
    if let Err(cause) = packed.take(limit).read_to_end(&mut plain) {
        notes.push(Note::warning(
            "",
            format!("the packed kcdata is damaged after {} bytes: {cause}; what came before is used", plain.len()),
        ));
    }
    plain
}
