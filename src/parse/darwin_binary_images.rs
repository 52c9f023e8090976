//! Lines of a `Binary Images:` section, of spindump and sample(1).
//!
//! ```text
//!    *0xfffffe0008860000 - 0xfffffe00091cffff  kernel.release.t6041 (12377.61.12)  <B3B9C89A-…>__TEXT_EXEC  /System/Library/Kernels/…
//!            0x19df71000 -        0x19e010fff  dyld (1335)                         <0975AFBA-…>  /usr/lib/dyld
//!            0x105cd2000 -        0x105d10fff +zfs (0)                             <…>  /usr/local/sbin/zfs
//! ```
//! `*` marks what lies in the kernel; its addresses have the slide taken off, as those of the frames. The end is the last byte, or
//! `???`. `__TEXT_EXEC` says that the range is that segment's, not `__TEXT`'s. Sources: spindump of 26.2, sample(1).

use memchr::{memchr, memmem};

use super::{darwin_bases, lex};
use crate::model::addr::Avma;
use crate::model::image::{Basis, ImageClaim, ImageId};

/// Reads one line; the caller sets the number.
pub fn image(line: &[u8]) -> Option<ImageClaim> {
    let body = line.trim_ascii();
    let kernel = body.starts_with(b"*");
    let mut words = lex::words(&body[usize::from(kernel)..]);
    let start = words.next().and_then(lex::hex)?;
    let dash = words.next()?;
    let end = words.next()?;
    let size = match lex::hex(end) {
        Some(end) => Some(end.checked_sub(start)?.checked_add(1)?),
        None if end == b"???" => None,
        None => return None,
    };
    let rest = &body[end.as_ptr() as usize - body.as_ptr() as usize + end.len()..];
    let (title, tail) = rest.split_at(memchr(b'<', rest).or_else(|| memmem::find(rest, b" /")).unwrap_or(rest.len()));
    let id = memchr(b'>', tail).filter(|_| tail.starts_with(b"<"));
    let segment = id.map_or(&b""[..], |close| tail[close + 1..].split(|b| *b == b' ').next().unwrap_or_default());
    let id = id.and_then(|close| ImageId::parse(std::str::from_utf8(&tail[1..close]).ok()?));
    let (name, version) = name_and_version(title.trim_ascii());
    let name = if name.is_empty() || name == "???" { id?.to_string() } else { name };
    let mut claim =
        ImageClaim { kernel: kernel && darwin_bases::is_kernel(&name), user: !kernel, name, version, id, ..ImageClaim::default() };
    claim.basis = if kernel { Basis::Unslid } else { Basis::Runtime };
    match segment {
        b"__TEXT_EXEC" => (claim.exec, claim.exec_size) = (Some(Avma(start)), size),
        _ => (claim.load, claim.size) = (Some(Avma(start)), size),
    }
    (dash == b"-").then_some(claim)
}

/// `com.apple.driver.X 1.0 (1)`, `dyld (1335)`, `+zfs (0)`.
fn name_and_version(title: &[u8]) -> (String, Option<String>) {
    let title = lex::text(title.strip_prefix(b"+").unwrap_or(title));
    let (name, build) = match title.strip_suffix(')').and_then(|rest| rest.rsplit_once(" (")) {
        Some((name, build)) => (name.trim_end(), Some(build)),
        None => (title.as_str(), None),
    };
    let numbered = name.rsplit_once(' ').filter(|(_, version)| version.starts_with(|c: char| c.is_ascii_digit()));
    match (numbered, build) {
        (Some((name, version)), Some(build)) => (name.trim_end().to_string(), Some(format!("{version} ({build})"))),
        (Some((name, version)), None) => (name.trim_end().to_string(), Some(version.to_string())),
        (None, build) => (name.to_string(), build.filter(|build| *build != "???").map(str::to_string)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_names_versions_and_uuids_are_read() {
        let id = "B3B9C89A-5728-31D0-8065-3C50623191AE";
        let kernel = image(
            format!("   *0xfffffe0008860000 - 0xfffffe00091cffff  kernel.release.t6041 (12377.61.12)   <{id}>__TEXT_EXEC  /S/k").as_bytes(),
        )
        .unwrap();
        assert!(kernel.kernel && !kernel.user && kernel.load.is_none());
        assert_eq!((kernel.exec, kernel.exec_size), (Some(Avma(0xffff_fe00_0886_0000)), Some(0x97_0000)));
        assert_eq!((kernel.version.as_deref(), kernel.id), (Some("12377.61.12"), ImageId::parse(id)));
        let kext =
            image(format!("  *0xffffff7f82a11000 - 0xffffff7f82a2efff  net.example.spl 1.0 (1.0.1) <{id}>  /L/E/spl.kext").as_bytes())
                .unwrap();
        assert_eq!((kext.name.as_str(), kext.version.as_deref(), kext.size), ("net.example.spl", Some("1.0 (1.0.1)"), Some(0x1_e000)));
        let user = image(b"   0x105cd2000 -  ???  +zfs (0)  <>  /usr/local/sbin/zfs").unwrap();
        assert!(user.user && user.id.is_none() && user.size.is_none());
        assert_eq!((user.name.as_str(), user.version.as_deref(), user.load), ("zfs", Some("0"), Some(Avma(0x1_05cd_2000))));
        let unnamed = image(format!("  *0xfffffe0007036500 - 0xfffffe0007039fff  ??? <{id}>__TEXT_EXEC").as_bytes()).unwrap();
        assert_eq!(unnamed.name, id);
        for damaged in ["*0x10 - 0xf  a <b>", "0x10 0x20 a", "*0xfffffe0007036500 -", "", "0x10 - 0x20"] {
            assert!(image(damaged.as_bytes()).is_none_or(|claim| claim.name.is_empty()), "{damaged}");
        }
    }
}
