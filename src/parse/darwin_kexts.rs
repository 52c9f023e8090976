//! Lists of loaded kexts: `kextstat` and `kmutil showloaded`, and the debuggers' `showallkmods` / `showallkexts`.
//!
//! ```text
//! Index Refs Address            Size       Wired      Name (Version) UUID <Linked Against>
//!     5    1 0xffffff7f82a11000 0x6000     0x6000     net.example.spl (1.3.1) EFFFAEEF-9439-397F-BCD4-76A403724D28 <4 3 2 1>
//! ```
//! Columns from kext_tools: `UUID` since 425 (10.11), `Architecture` before the name with `-a` since 384 (10.10). kextstat and
//! kmutil take the kernel slide off (`ml_static_unslide`), the debuggers print what is in memory.

use memchr::memmem;

use super::{Confidence, Format, Holds, lex};
use crate::model::addr::{Arch, Avma};
use crate::model::capture::{Capture, Os};
use crate::model::image::{Basis, ImageClaim, ImageId};
use crate::note::Note;

/// `kextstat` and `kmutil showloaded`.
pub struct Kextstat;
/// gdb kgmacros' `showallkmods`.
pub struct GdbKmods;
/// xnu's lldb macros' `showallkexts`, which is also its `showallkmods`.
pub struct LldbKexts;

impl Format for Kextstat {
    fn id(&self) -> &'static str {
        "darwin-kextstat"
    }
    fn about(&self) -> &'static str {
        "kextstat (10.5 to 10.15) and kmutil showloaded (11 and later): unslid load addresses"
    }
    fn holds(&self) -> Holds {
        Holds::LoadMap
    }
    fn marks(&self) -> &'static [&'static [u8]] {
        &[b"Name (Version)"]
    }
    fn begins(&self, _: &[u8], rest: &[u8]) -> bool {
        self.sniff(super::first_line(rest)) == Confidence::Certain
    }
    fn sniff(&self, head: &[u8]) -> Confidence {
        let heading = |line: &[u8]| memmem::find(line, b"Name (Version)").is_some();
        sniff(head, heading, |line| matches!(kextstat_row(line), Row::Kext(_)))
    }
    fn parse(&self, text: &[u8]) -> Capture {
        let mut notes = Vec::new();
        let mut images = Vec::new();
        for line in lex::lines(text) {
            match kextstat_row(line.bytes) {
                Row::Kext(claim) => images.push(ImageClaim { line: line.number, ..*claim }),
                Row::Damaged(what) => notes.push(Note::warning("", format!("line {}: {what}", line.number))),
                Row::Other => {}
            }
        }
        capture(self.id(), images, notes)
    }
}

impl Format for GdbKmods {
    fn id(&self) -> &'static str {
        "darwin-gdb-showallkmods"
    }
    fn about(&self) -> &'static str {
        "showallkmods of gdb's kgmacros (10.4 to 10.8): run-time load addresses"
    }
    fn holds(&self) -> Holds {
        Holds::LoadMap
    }
    fn marks(&self) -> &'static [&'static [u8]] {
        &[b"kmod_info ", b"kmod  "]
    }
    fn begins(&self, _: &[u8], rest: &[u8]) -> bool {
        self.sniff(super::first_line(rest)) == Confidence::Certain
    }
    fn sniff(&self, head: &[u8]) -> Confidence {
        let heading = |line: &[u8]| matches!(first_three(line), [b"kmod_info" | b"kmod", b"address", b"size"]);
        sniff(head, heading, |line| gdb_row(line).is_some())
    }
    fn parse(&self, text: &[u8]) -> Capture {
        let row = |line: lex::Line<'_>| Some(ImageClaim { line: line.number, ..gdb_row(line.bytes)? });
        capture(self.id(), lex::lines(text).filter_map(row).collect(), Vec::new())
    }
}

impl Format for LldbKexts {
    fn id(&self) -> &'static str {
        "darwin-lldb-showallkexts"
    }
    fn about(&self) -> &'static str {
        "showallkexts / showallkmods of xnu's lldb macros (10.9 and later), wrapped lines too: run-time load addresses"
    }
    fn holds(&self) -> Holds {
        Holds::LoadMap
    }
    fn marks(&self) -> &'static [&'static [u8]] {
        &[b"kmod_info "]
    }
    fn begins(&self, _: &[u8], rest: &[u8]) -> bool {
        self.sniff(super::first_line(rest)) == Confidence::Certain
    }
    fn sniff(&self, head: &[u8]) -> Confidence {
        let uuid_row = |line: &[u8]| {
            let mut words = lex::words(line);
            words.next().is_some_and(is_uuid_column) && words.next().and_then(lex::hex).is_some()
        };
        let heading = |line: &[u8]| matches!(first_three(line), [b"UUID", b"kmod_info", b"address"]);
        sniff(head, heading, uuid_row)
    }
    fn parse(&self, text: &[u8]) -> Capture {
        let mut images = Vec::new();
        let mut notes = Vec::new();
        let mut row: Option<(u32, Vec<&[u8]>)> = None;
        let mut close = |row: Option<(u32, Vec<&[u8]>)>| {
            let Some((line, words)) = row else { return };
            match lldb_row(&words) {
                Some(claim) => images.push(ImageClaim { line, ..claim }),
                None => notes.push(Note::warning("", format!("line {line}: a kext row with {} columns, expected 8 or 10", words.len()))),
            }
        };
        for line in lex::lines(text) {
            let mut words = lex::words(line.bytes).peekable();
            match words.peek() {
                Some(first) if is_uuid_column(first) => close(row.replace((line.number, words.collect()))),
                // A terminal breaks a row and indents what follows; a row that has its name takes no more.
                Some(_) if line.bytes.starts_with(b" ") => {
                    if let Some((_, open)) = row.as_mut().filter(|(_, open)| lldb_row(open).is_none()) {
                        open.extend(words);
                    }
                }
                _ => close(row.take()),
            }
        }
        close(row);
        capture(self.id(), images, notes)
    }
}

fn first_three(line: &[u8]) -> [&[u8]; 3] {
    let mut words = lex::words(line);
    [(); 3].map(|()| words.next().unwrap_or_default())
}

fn sniff(head: &[u8], heading: impl Fn(&[u8]) -> bool, row: impl Fn(&[u8]) -> bool) -> Confidence {
    if lex::lines(head).any(|line| heading(line.bytes)) {
        Confidence::Certain
    } else if lex::lines(head).any(|line| row(line.bytes)) {
        Confidence::Likely
    } else {
        Confidence::No
    }
}

fn capture(format: &'static str, images: Vec<ImageClaim>, notes: Vec<Note>) -> Capture {
    let arch = images.iter().filter_map(|image| image.load).find_map(Arch::of_darwin_address);
    Capture { format, os: Some(Os::Darwin), arch, images, notes, ..Capture::default() }
}

enum Row {
    Kext(Box<ImageClaim>),
    Damaged(&'static str),
    Other,
}

/// `INDEX REFS ADDRESS SIZE WIRED [ARCH] NAME (VERSION) [UUID] [<DEPS>]`. A row is known by its two counters and a bundle id.
fn kextstat_row(line: &[u8]) -> Row {
    let mut words = lex::words(line);
    let mut next = || words.next().unwrap_or_default();
    let (index, refs, address, size, _wired) = (next(), next(), next(), next(), next());
    if lex::decimal(index).is_none() || lex::decimal(refs).is_none() || address.is_empty() {
        return Row::Other;
    }
    let Some(version) = memmem::find(line, b" (") else {
        let looks_like_one = address.starts_with(b"0x");
        return if looks_like_one { Row::Damaged("a kext row without `NAME (VERSION)`") } else { Row::Other };
    };
    let (Some(address), Some(size)) = (number(address), number(size)) else {
        return Row::Damaged(
            "a kext row whose address or size is no hexadecimal number; expected `INDEX REFS ADDRESS SIZE WIRED NAME (VERSION)`",
        );
    };
    // The last word before the version, whether or not an architecture stands before it.
    let Some(name) = lex::words(&line[..version]).skip(5).last().filter(|name| name.contains(&b'.')) else {
        return Row::Damaged("a kext row without a bundle identifier where `NAME (VERSION)` was expected");
    };
    let rest = &line[version + 2..];
    let close = memmem::find(rest, b")").unwrap_or(rest.len());
    let id = rest.get(close + 1..).and_then(|tail| lex::words(tail).next());
    Row::Kext(Box::new(ImageClaim {
        name: lex::text(name),
        version: Some(lex::text(&rest[..close])),
        id: id.and_then(uuid),
        load: nonzero(address),
        size: Some(size).filter(|size| *size != 0),
        basis: Basis::Unslid,
        ..ImageClaim::default()
    }))
}

/// `KMOD  ADDRESS  SIZE  ID  REFS  VERSION  NAME`, pointers with 8 or 16 digits.
fn gdb_row(line: &[u8]) -> Option<ImageClaim> {
    let words: Vec<&[u8]> = lex::words(line).collect();
    let [kmod, address, size, id, refs, version @ .., name] = &words[..] else { return None };
    lex::hex(kmod)?;
    lex::decimal(id)?;
    lex::decimal(refs)?;
    Some(ImageClaim {
        name: lex::text(name),
        version: Some(lex::text(&version.join(&b' '))),
        load: nonzero(lex::hex(address)?),
        size: Some(lex::hex(size)?).filter(|size| *size != 0),
        basis: Basis::Runtime,
        ..ImageClaim::default()
    })
}

/// `UUID kmod_info address size id refs [exec exec_size] version name`; the `TEXT exec` columns exist since xnu-3789 (10.12).
fn lldb_row(words: &[&[u8]]) -> Option<ImageClaim> {
    let [id, kmod, address, size, number, refs, rest @ ..] = words else { return None };
    lex::hex(kmod)?;
    lex::decimal(number)?;
    lex::decimal(refs)?;
    let (exec, rest) = match rest {
        [exec, exec_size, rest @ ..] if exec.starts_with(b"0x") => (Some((lex::hex(exec)?, lex::hex(exec_size)?)), rest),
        _ => (None, rest),
    };
    let [version @ .., name] = rest else { return None };
    if version.is_empty() {
        return None;
    }
    Some(ImageClaim {
        name: lex::text(name),
        version: Some(lex::text(&version.join(&b' '))),
        id: uuid(id),
        load: nonzero(lex::hex(address)?),
        size: Some(lex::hex(size)?).filter(|size| *size != 0),
        exec: exec.and_then(|(address, _)| nonzero(address)),
        exec_size: exec.map(|(_, size)| size).filter(|size| *size != 0),
        basis: Basis::Runtime,
        ..ImageClaim::default()
    })
}

/// `0x…`, or the bare `0` that kmutil prints for kpi kexts.
fn number(word: &[u8]) -> Option<u64> {
    lex::hex(word).or((word == b"0").then_some(0))
}

fn nonzero(address: u64) -> Option<Avma> {
    Some(Avma(address)).filter(|address| address.0 != 0)
}

fn uuid(word: &[u8]) -> Option<ImageId> {
    std::str::from_utf8(word).ok().and_then(ImageId::parse)
}

/// A UUID, or the dots that stand for one in pseudo kexts.
fn is_uuid_column(word: &[u8]) -> bool {
    uuid(word).is_some() || (word.len() == 36 && word.iter().all(|b| matches!(b, b'.' | b'-')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kextstat_rows_with_and_without_uuid_architecture_and_blanks_in_the_version() {
        let text = b"Index Refs Address            Size       Wired      Name (Version) <Linked Against>\r\n\
            \x20   5    1 0xffffff7f80e4f000 0x6000     0x6000     net.example.spl (1.3.1) <4 3 2 1>\r\n\
            \x20   6    0 0xffffff7f82b40000 0x9000     0x9000     x86_64 org.x (4.3.1 47542) 51665BB2-6394-354B-A77C-5CEF56345E68 <5>\n\
            \x20   1  101 0                  0          0          com.apple.kpi.bsd (23.2.0) no UUID <>\n\
            \x20   7    0 0xffffff7f82z40000 0x9000     0x9000     org.typo (1)\n";
        let capture = Kextstat.parse(text);
        let seen: Vec<_> =
            capture.images.iter().map(|i| (i.name.as_str(), i.version.as_deref(), i.load.map(|a| a.0), i.id.is_some())).collect();
        assert_eq!(
            seen,
            [
                ("net.example.spl", Some("1.3.1"), Some(0xffff_ff7f_80e4_f000), false),
                ("org.x", Some("4.3.1 47542"), Some(0xffff_ff7f_82b4_0000), true),
                ("com.apple.kpi.bsd", Some("23.2.0"), None, false),
            ]
        );
        assert!(capture.notes[0].text.starts_with("line 5:"), "{:?}", capture.notes);
    }

    #[test]
    fn lldb_rows_wrapped_by_a_terminal_are_joined() {
        let text = b"UUID   kmod_info  address  size   id  refs TEXT exec     size     \n                         version name\n\
            0490CEBA-045D-344E-AC8B-1449598798F6 0xffffff7f88fdf528   0xffffff7f88fdb000   0x5000   147     0 0xffffff7f88fdb100   0x5000   \n\
            \x20                           1.70 com.apple.driver.AudioAUUC    \n\
            ........-....-....-....-............ 0xffffff8004d0a008   0x0    0x0   1    87   23.2.0 com.apple.kpi.bsd\n(lldb) \n";
        let capture = LldbKexts.parse(text);
        assert_eq!(capture.images.len(), 2);
        assert_eq!(capture.images[0].name, "com.apple.driver.AudioAUUC");
        assert_eq!(capture.images[0].exec, Some(Avma(0xffff_ff7f_88fd_b100)));
        assert_eq!((capture.images[1].load, capture.images[1].exec, capture.images[1].id), (None, None, None));
    }
}
