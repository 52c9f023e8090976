//! The kexts that a macOS panic names: those in the backtrace with their ranges, the last one loaded, and the list of all.
//!
//! ```text
//! net.example.zfs(1.3.1)[51665BB2-6394-354B-A77C-5CEF56345E68]@0xffffff7f8bd40000->0xffffff7f8bd48fff
//!    dependency: net.example.spl(1.3.1)@0xffffff7f8bc11000                                 without an end up to 10.15, without UUID up to 10.6
//! last started kext at 4614784064: net.example.zfs    1.3.1 (addr 0xffffff7f8bd40000, size 36864)
//! >!AHDA    281.52                                                                        com.apple.driver.AppleHDA
//! ```
//! Sources: xnu, libkern/c++/OSKext.cpp (`printSummary`, `savePanicString`) and libkern/libkern/kext_panic_report.h (the abbreviations, x86 only).

use memchr::memmem;

use super::darwin_panic_view::{Shape, unescaped};
use super::lex;
use crate::model::addr::{Arch, Avma};
use crate::model::image::{Basis, ImageClaim, ImageId};

/// Whole beginnings of bundle identifiers, then pieces within them.
const BEGINNINGS: &[(u8, &str)] =
    &[(b'>', "com.apple.driver."), (b'|', "com.apple.iokit."), (b'$', "com.apple.security."), (b'@', "com.apple.")];
const PIECES: &[(&str, &str)] =
    &[("!U", "AppleUSB"), ("!A", "Apple"), ("!F", "Family"), ("!S", "Storage"), ("!C", "Controller"), ("!B", "Bluetooth"), ("!I", "Intel")];

/// The bundle identifier that `name` is short for; `None` when it is none.
pub fn expanded(name: &[u8]) -> Option<String> {
    let mut id = lex::text(name);
    if let Some((_, whole)) = BEGINNINGS.iter().find(|(mark, _)| name.first() == Some(mark)) {
        id.replace_range(..1, whole);
    }
    for (mark, whole) in PIECES {
        id = id.replace(mark, whole);
    }
    is_id(id.as_bytes()).then_some(id)
}

/// Whether `name` can be a bundle identifier: letters, digits and `-._`, of more than one part.
pub fn is_id(name: &[u8]) -> bool {
    let fits = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
    name.iter().all(fits) && name.contains(&b'.') && name.first().is_some_and(u8::is_ascii_alphanumeric)
}

/// Reads `[dependency: ]ID(VERSION)[UUID]@0xSTART->0xEND`, UUID and end optional. `None` where any part is broken.
pub fn range(body: &[u8], shape: &Shape) -> Option<ImageClaim> {
    let body = unescaped(body);
    let body = body.strip_prefix(b"dependency:").map_or(&*body, |rest| rest.trim_ascii_start());
    let (open, at) = (memchr::memchr(b'(', body)?, memmem::rfind(body, b"@0x")?);
    let (name, about) = (body.get(..open)?, body.get(open + 1..at)?);
    let (version, id) = match about.strip_suffix(b"]") {
        Some(rest) => {
            let bracket = memmem::rfind(rest, b")[")?;
            (&rest[..bracket], Some(std::str::from_utf8(&rest[bracket + 2..]).ok().and_then(ImageId::parse)?))
        }
        None => (about.strip_suffix(b")")?, None),
    };
    let range = &body[at + 1..];
    let (start, end) = match memmem::find(range, b"->").map(|at| (at, 2)).or(memmem::find(range, b"-&gt;").map(|at| (at, 5))) {
        Some((arrow, len)) => (shape.address(&range[..arrow])?, Some(shape.address(&range[arrow + len..])?)),
        None => (shape.address(range)?, None),
    };
    if !is_id(name) || end.is_some_and(|end| end < start) {
        return None;
    }
    let claim = ImageClaim { name: lex::text(name), version: Some(lex::text(version)), id, basis: Basis::Runtime, ..ImageClaim::default() };
    Some(placed(claim, start, end.map(|end| end - start + 1), shape))
}

/// arm64 prints `__TEXT_EXEC` where x86 prints the Mach-O header (`#if __arm__ || __arm64__` in `printSummary`).
fn placed(claim: ImageClaim, start: u64, size: Option<u64>, shape: &Shape) -> ImageClaim {
    let size = size.filter(|size| *size != 0);
    let start = Some(Avma(start)).filter(|start| start.0 != 0);
    match shape.arch {
        Some(Arch::Arm64 | Arch::Arm64e) => ImageClaim { exec: start, exec_size: size, ..claim },
        _ => ImageClaim { load: start, size, ..claim },
    }
}

/// Whether a line is meant to be one that [`range`] reads.
pub fn is_like_range(body: &[u8]) -> bool {
    let dotted = || memchr::memchr(b'(', body).is_some_and(|open| body[..open].contains(&b'.') && !body[..open].contains(&b' '));
    let dependency = body.strip_prefix(b"dependency:").is_some_and(|rest| !rest.is_empty());
    dependency || (dotted() && (body.contains(&b'@') || body.contains(&b'[')))
}

/// What a line about one kext says.
#[derive(Debug)]
pub enum Last {
    /// It is loaded.
    Loaded(Box<ImageClaim>),
    /// It is not any more.
    Gone,
    /// The line is damaged.
    Damaged,
}

/// Reads `last loaded|started|unloaded|stopped kext at N: ID VERSION (addr 0xA, size DEC)`; `None` when it is no such line.
pub fn last(body: &[u8], shape: &Shape) -> Option<Last> {
    let rest = body.strip_prefix(b"last ")?;
    let at = memmem::find(rest, b" kext at ")?;
    let rest = &rest[at + 9..];
    let colon = memchr::memchr(b':', rest)?;
    Some(match &body[5..5 + at] {
        b"loaded" | b"started" => last_claim(&rest[colon + 1..], shape).map_or(Last::Damaged, |claim| Last::Loaded(Box::new(claim))),
        b"unloaded" | b"stopped" => Last::Gone,
        _ => return None,
    })
}

fn last_claim(rest: &[u8], shape: &Shape) -> Option<ImageClaim> {
    let rest = unescaped(rest.trim_ascii());
    let open = memmem::rfind(&rest, b"(addr ")?;
    let (name, version) = name_and_version(rest[..open].trim_ascii())?;
    let place = rest[open + 6..].strip_suffix(b")")?;
    let comma = memmem::find(place, b", size ")?;
    let (address, size) = (shape.address(&place[..comma])?, lex::decimal(&place[comma + 7..])?);
    Some(ImageClaim {
        name,
        version: Some(version),
        load: Some(Avma(address)).filter(|address| address.0 != 0),
        size: Some(size).filter(|size| *size != 0),
        basis: Basis::Runtime,
        ..ImageClaim::default()
    })
}

/// Reads `ID VERSION`, the identifier in full or abbreviated; a version may hold a blank.
pub fn name_and_version(body: &[u8]) -> Option<(String, String)> {
    let body = unescaped(body);
    let end = body.iter().position(|b| matches!(b, b' ' | b'\t'))?;
    let version = body[end..].trim_ascii();
    let fits = version.first().is_some_and(|b| b.is_ascii_alphanumeric()) && version.iter().all(|b| !b.is_ascii_control());
    Some((expanded(&body[..end])?, lex::text(version))).filter(|_| fits && version.len() < 64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn abbreviations_of_kext_panic_report_h_are_undone() {
        for (short, id) in [
            (">!AHDA", "com.apple.driver.AppleHDA"),
            ("|IO!S!F", "com.apple.iokit.IOStorageFamily"),
            (">!UXHCI", "com.apple.driver.AppleUSBXHCI"),
            ("$sandbox", "com.apple.security.sandbox"),
            ("@filesystems.autofs", "com.apple.filesystems.autofs"),
            (">!A!IKBLGraphics", "com.apple.driver.AppleIntelKBLGraphics"),
            (">!ABridgeAudio!C", "com.apple.driver.AppleBridgeAudioController"),
            ("|IO!BHost!CUSBTransport", "com.apple.iokit.IOBluetoothHostControllerUSBTransport"),
            ("net.example.zfs", "net.example.zfs"),
        ] {
            assert_eq!(expanded(short.as_bytes()).as_deref(), Some(id));
        }
        assert_eq!(expanded(b"com.microfo$t.driver.AudioAUUC"), None);
        assert_eq!(expanded(b">!Xy"), None);
    }

    #[test]
    fn ranges_are_whole_or_refused() {
        let text = b"net.example.zfs(1.3.1)[51665BB2-6394-354B-A77C-5CEF56345E68]@0xffffff7f8bd40000->0xffffff7f8bd48fff";
        let claim = range(text, &Shape::plain(Arch::X86_64)).unwrap();
        assert_eq!((claim.load, claim.size, claim.exec), (Some(Avma(0xffff_ff7f_8bd4_0000)), Some(0x9000), None));
        let claim = range(text, &Shape::plain(Arch::Arm64)).unwrap();
        assert_eq!((claim.exec_size, claim.load), (Some(0x9000), None));
        let claim = range(b"dependency: com.apple.NVDAResman(5.4.8 b1)@0xa5e000", &Shape::plain(Arch::I386)).unwrap();
        assert_eq!((claim.version.as_deref(), claim.id, claim.load), (Some("5.4.8 b1"), None, Some(Avma(0xa5_e000))));
        for damaged in [
            &b"dependency: com.a.b(3.8.6)[76B001B1-30F1-3D72-B264-85D77B254C 2F]@0xffffff7f833ac000"[..],
            b"com.a.b(1.4)[70E2B65E-A91A-3522-A1A0-79FD63EABB4C]@0xfffff f7f811a9000",
            b"com.a.b(2.4.1)[619F6C9F-0461-3BA1-A75F-53BB0F87ACD3]@0 xffffff7f8121b000",
            b"com.a.b(2.4.1)[619F6C9F-0461-3BA1-A75F-53BB0F87ACD3]@0xffffff7f8121b00",
            b"com.a$b(2.4.1)@0xffffff7f8121b000",
        ] {
            assert!(range(damaged, &Shape::plain(Arch::X86_64)).is_none() && is_like_range(damaged), "{}", lex::text(damaged));
        }
    }

    #[test]
    fn the_last_kext_has_its_header_address_and_a_gone_one_has_none() {
        let shape = Shape::plain(Arch::X86_64);
        let line = b"last started kext at 9499117165: >AudioAUUC\t1.70 b 2 (addr 0xffffff7f994a9000, size 12288)";
        let Some(Last::Loaded(claim)) = last(line, &shape) else { panic!() };
        assert_eq!(
            (claim.name.as_str(), claim.version.as_deref(), claim.size),
            ("com.apple.driver.AudioAUUC", Some("1.70 b 2"), Some(12288))
        );
        assert!(matches!(last(b"last unloaded kext at 1: a.b\t1 (addr 0x1, size 1)", &shape), Some(Last::Gone)));
        assert!(matches!(last(b"last loaded kext at 1: a$b.c 1.70 (addr 0xffffff7f82c1c000, size 1)", &shape), Some(Last::Damaged)));
        assert!(last(b"last words", &shape).is_none());
    }
}
