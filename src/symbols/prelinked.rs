//! Prelinked kernelcaches (Mac OS X 10.6 to macOS 10.15): a kernel with its kexts linked to it in one `MH_EXECUTE` file.
//!
//! `__PRELINK_TEXT` holds the Mach-O files of the kexts one behind the other, linked at the addresses where they run, and section
//! `__PRELINK_INFO,__info` a property list that says where each is (keys: xnu, libkern/libkern/prelink.h). A kext's bytes begin at its
//! `_PrelinkExecutableSourceAddr` in `__PRELINK_TEXT`; its segments have the addresses from `_PrelinkExecutableLoadAddr` on, which may be others.

use std::path::Path;

use object::{Object, ObjectSection, ObjectSegment};
use rustc_hash::FxHashMap;

use super::macho::MachO;
use super::{FileKind, Symbols};
use crate::error::Error;
use crate::input::Bytes;

/// Kexts beyond this are not read; a cache has about 300.
const MAX_KEXTS: usize = 4096;
/// Containers of the property list below this depth are passed over; those of kexts lie two or three deep.
const MAX_DEPTH: usize = 64;
/// Bytes of the longest bundle identifier that is taken: kmod.h gives it 64.
const MAX_NAME: usize = 256;

/// The kernel and its kexts. What cannot be read goes to `refused`, counted.
pub fn open(path: &Path, bytes: &Bytes, kernel: MachO, refused: &mut Vec<Error>) -> Vec<Box<dyn Symbols>> {
    let listed = kernel.file().and_then(|file| slices(&file)).unwrap_or_default();
    let all = listed.len();
    let (mut kexts, mut damaged, mut free) = (Vec::new(), all.saturating_sub(MAX_KEXTS), 0);
    for kext in listed.into_iter().take(MAX_KEXTS) {
        // Bytes belong to one kext only, so that reading all takes no longer than the file is large.
        let range = kext.range.filter(|(start, _)| *start >= free);
        free = range.map_or(free, |(start, size)| start.saturating_add(size));
        match range.and_then(|(start, size)| kernel.part(path, bytes, start, size, kext.name)) {
            // The `com.apple.kpi` kexts list the kernel's symbols and have no code.
            Some(file) if file.info().segments.is_empty() => {}
            Some(file) if file.info().kind == FileKind::Kext && kext.load.is_none_or(|load| load == file.info().base().0) => {
                kexts.push(Box::new(file) as Box<dyn Symbols>);
            }
            _ => damaged += 1,
        }
    }
    if kexts.is_empty() && damaged == 0 {
        let text = "is a prelinked kernelcache that does not say where its kexts are: the kernel in it is used; give kexts with -m or -S";
        refused.push(Error::bad(path, text));
    } else if damaged > 0 {
        let text = format!(
            "{damaged} of the {all} kexts of this prelinked kernelcache cannot be read; the others are used; give those with -m or -S"
        );
        refused.push(Error::bad(path, text));
    }
    kexts.insert(0, Box::new(kernel));
    kexts
}

/// A kext with code as the property list has it.
struct Kext {
    name: Option<String>,
    /// Link-time address.
    load: Option<u64>,
    /// Offset from the kernel's Mach-O header, and size; `None` when they are not in `__PRELINK_TEXT`.
    range: Option<(u64, u64)>,
}

/// The kexts of a kernel, by where they are.
fn slices(kernel: &object::File<'_>) -> Option<Vec<Kext>> {
    let text = kernel.segments().find(|segment| segment.name() == Ok(Some("__PRELINK_TEXT")))?;
    let info = |section: &object::Section<'_, '_>| section.segment_name() == Ok(Some("__PRELINK_INFO")) && section.name() == Ok("__info");
    let info = kernel.sections().find(info)?.data().ok()?;
    let (offset, len) = text.file_range();
    let place = |kext: &Listed<'_>| {
        let from = number(kext.source?)?.checked_sub(text.address())?;
        let size = number(kext.size?)?;
        from.checked_add(size).filter(|end| *end <= len && size > 0)?;
        Some((offset.checked_add(from)?, size))
    };
    let name = |text: &[u8]| (text.len() <= MAX_NAME).then(|| String::from_utf8_lossy(text).into_owned());
    let kext = |kext: Listed<'_>| Kext { name: kext.name.and_then(name), load: kext.load.and_then(number), range: place(&kext) };
    let mut kexts: Vec<Kext> = listed(info).into_iter().map(kext).collect();
    kexts.sort_by_key(|kext| kext.range);
    Some(kexts)
}

/// What is asked of a dictionary of the property list, as it is written there.
#[derive(Clone, Copy, Default)]
struct Listed<'p> {
    name: Option<&'p [u8]>,
    load: Option<&'p [u8]>,
    source: Option<&'p [u8]>,
    size: Option<&'p [u8]>,
    /// The key whose value comes next.
    key: &'p [u8],
}

impl<'p> Listed<'p> {
    fn take(&mut self, value: Option<&'p [u8]>) {
        match std::mem::take(&mut self.key) {
            b"CFBundleIdentifier" => self.name = value,
            b"_PrelinkExecutableLoadAddr" => self.load = value,
            b"_PrelinkExecutableSourceAddr" => self.source = value,
            b"_PrelinkExecutableSize" => self.size = value,
            _ => {}
        }
    }

    /// Kexts without code have neither.
    fn is_kext(&self) -> bool {
        self.source.is_some() && self.size.is_some()
    }
}

/// The dictionaries of a property list that describe kexts with code.
///
/// It is XML as kernels write it (`OSSerialize`), not as Core Foundation does: integers are hexadecimal, and what was written once with an
/// `ID` is afterwards only an `IDREF`. So it is read tag by tag here; what is no tag of a property list is passed over.
fn listed(plist: &[u8]) -> Vec<Listed<'_>> {
    let (mut found, mut open, mut deeper) = (Vec::new(), Vec::<Listed<'_>>::new(), 0usize);
    let mut by_id: FxHashMap<&[u8], &[u8]> = FxHashMap::default();
    let mut rest = plist;
    while let Some((tag, behind)) = next_tag(rest) {
        rest = behind;
        let name = tag.split(|b| b.is_ascii_whitespace() || *b == b'/').find(|name| !name.is_empty()).unwrap_or_default();
        let (closes, single) = (tag.starts_with(b"/"), tag.ends_with(b"/"));
        match name {
            b"dict" | b"array" if single => {}
            b"dict" | b"array" if closes && deeper > 0 => deeper -= 1,
            b"dict" | b"array" if closes => found.extend(open.pop().filter(Listed::is_kext)),
            b"dict" | b"array" if open.len() == MAX_DEPTH => deeper += 1,
            b"dict" | b"array" => open.push(Listed::default()),
            _ if closes || deeper > 0 => {}
            b"key" => open.iter_mut().next_back().into_iter().for_each(|dict| dict.key = content(rest)),
            b"string" | b"integer" => {
                let value = if single { attribute(tag, b"IDREF").and_then(|id| by_id.get(id).copied()) } else { Some(content(rest)) };
                attribute(tag, b"ID").zip(value).and_then(|(id, value)| by_id.insert(id, value));
                open.iter_mut().next_back().into_iter().for_each(|dict| dict.take(value));
            }
            _ => {}
        }
    }
    found
}

/// The inside of the next `<…>`, and what is behind it.
fn next_tag(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let from = text.iter().position(|b| *b == b'<')? + 1;
    let end = from + text[from..].iter().position(|b| *b == b'>')?;
    Some((&text[from..end], &text[end + 1..]))
}

/// The text up to the next tag, without blanks around it.
fn content(text: &[u8]) -> &[u8] {
    text.split(|b| *b == b'<').next().unwrap_or_default().trim_ascii()
}

fn attribute<'t>(tag: &'t [u8], name: &[u8]) -> Option<&'t [u8]> {
    let mut parts = tag.split(|b| *b == b'"');
    while let (Some(before), Some(value)) = (parts.next(), parts.next()) {
        let said = before.trim_ascii().strip_suffix(b"=").and_then(|said| said.rsplit(|b| b.is_ascii_whitespace()).next());
        if said == Some(name) {
            return Some(value);
        }
    }
    None
}

/// `0x…` or decimal.
fn number(text: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(text).ok()?;
    let hex = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X"));
    hex.map_or_else(|| text.parse().ok(), |hex| u64::from_str_radix(hex, 16).ok())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    type Said = (String, Option<u64>, Option<u64>, Option<u64>);

    fn said(plist: &str) -> Vec<Said> {
        let text = |name: Option<&[u8]>| String::from_utf8_lossy(name.unwrap_or_default()).into_owned();
        let value = |text: Option<&[u8]>| text.and_then(number);
        listed(plist.as_bytes()).iter().map(|kext| (text(kext.name), value(kext.load), value(kext.source), value(kext.size))).collect()
    }

    #[test]
    fn references_lead_to_what_was_written_before() {
        let plist = "<dict ID=\"0\"><key>_PrelinkInfoDictionary</key><array ID=\"1\"><dict ID=\"2\">\
             <key>CFBundleIdentifier</key><string ID=\"3\">a.b</string>\
             <key>IOKitPersonalities</key><dict><key>x</key><dict><key>CFBundleIdentifier</key><string IDREF=\"3\"/></dict></dict>\
             <key>_PrelinkExecutableLoadAddr</key><integer ID=\"4\" size=\"64\">0xffffff7f80e4f000</integer>\
             <key>_PrelinkExecutableSize</key><integer size=\"64\" ID=\"5\">0x10</integer>\
             <key>_PrelinkExecutableSourceAddr</key><integer IDREF=\"4\"/></dict>\
             <dict><key>CFBundleIdentifier</key><string>no.code</string></dict>\
             <dict><key>_PrelinkExecutableSize</key><integer IDREF=\"5\"/><key>_PrelinkExecutableSourceAddr</key><integer>32</integer>\
             <key>CFBundleIdentifier</key><string IDREF=\"9\"/></dict></array></dict>";
        let at = Some(0xffff_ff7f_80e4_f000);
        assert_eq!(said(plist), [("a.b".to_string(), at, at, Some(0x10)), (String::new(), None, Some(32), Some(0x10))]);
    }

    #[test]
    fn numbers_of_both_kinds() {
        assert_eq!(
            ["0x1F", "31", "0x", "-1", "", "0x10000000000000000"].map(|text| number(text.as_bytes())),
            [Some(31), Some(31), None, None, None, None]
        );
    }

    proptest! {
        #[test]
        fn any_text_comes_to_an_end(pieces in prop::collection::vec(prop_oneof![
            Just("<dict>"), Just("</dict>"), Just("<array ID=\"1\">"), Just("</array>"), Just("<key>"), Just("_PrelinkExecutableSize"),
            Just("_PrelinkExecutableSourceAddr"), Just("</key>"), Just("<integer IDREF=\"1\"/>"), Just("<integer ID=\"1\">"), Just("0x1"),
            Just("<"), Just(">"), Just("\""), Just("/")], 0..300)) {
            let text = pieces.concat();
            prop_assert!(listed(text.as_bytes()).len() <= pieces.len());
        }
    }
}
