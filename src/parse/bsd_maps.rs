//! Load maps of FreeBSD and NetBSD: `kldstat` and `modstat -k`.
//!
//! ```text
//! Id Refs Address                Size Name                        kldstat; with -v paths and modules stand behind and below
//!  1   37 0xffffffff80200000  243cd00 kernel (/boot/kernel/kernel)
//!  2    1 0xffffffff82631000   3df128 zfs.ko (/boot/kernel/zfs.ko)
//!         Contains modules:
//! NAME    CLASS    SOURCE     FLAG REFS ADDRESS              SIZE REQUIRES       modstat -k
//! zfs     vfs      filesys    -       0 0xffffffff83a00000 512000 solaris
//! ```
//! Sources: sbin/kldstat/kldstat.c (FreeBSD), usr.sbin/modstat/main.c (NetBSD). FreeBSD's kernel runs where it was linked.

use super::lex;
use super::{Confidence, Format, Holds};
use crate::model::addr::{Avma, Slide};
use crate::model::capture::{Capture, Os};
use crate::model::image::{Basis, ImageClaim};
use crate::note::Note;

/// FreeBSD's kldstat.
pub struct Kldstat;
/// NetBSD's modstat.
pub struct Modstat;

impl Format for Kldstat {
    fn id(&self) -> &'static str {
        "freebsd-kldstat"
    }
    fn about(&self) -> &'static str {
        "kldstat and kldstat -v: where FreeBSD's kernel and modules lie"
    }
    fn holds(&self) -> Holds {
        Holds::LoadMap
    }
    fn marks(&self) -> &'static [&'static [u8]] {
        &[b"Refs Address"]
    }
    fn begins(&self, _: &[u8], rest: &[u8]) -> bool {
        self.sniff(super::first_line(rest)) == Confidence::Certain
    }
    fn sniff(&self, head: &[u8]) -> Confidence {
        first_heading(head, |line| lex::words(line).eq(KLDSTAT.iter().copied()))
    }
    fn parse(&self, text: &[u8]) -> Capture {
        let images: Vec<ImageClaim> = lex::lines(text).filter_map(|line| kld(&line)).collect();
        Capture { slide: Some(Slide(0)), ..capture(self.id(), Os::FreeBsd, images) }
    }
}

impl Format for Modstat {
    fn id(&self) -> &'static str {
        "netbsd-modstat"
    }
    fn about(&self) -> &'static str {
        "modstat -k: where NetBSD's modules lie"
    }
    fn holds(&self) -> Holds {
        Holds::LoadMap
    }
    fn marks(&self) -> &'static [&'static [u8]] {
        &[b"SOURCE "]
    }
    fn begins(&self, _: &[u8], rest: &[u8]) -> bool {
        self.sniff(super::first_line(rest)) == Confidence::Certain
    }
    fn sniff(&self, head: &[u8]) -> Confidence {
        first_heading(head, |line| columns(line).is_some())
    }
    fn parse(&self, text: &[u8]) -> Capture {
        let mut address = None;
        let mut images = Vec::new();
        for line in lex::lines(text) {
            match columns(line.bytes) {
                Some(at) => address = at,
                None => images.extend(module(&line, address)),
            }
        }
        capture(self.id(), Os::NetBsd, images)
    }
}

const KLDSTAT: &[&[u8]] = &[b"Id", b"Refs", b"Address", b"Size", b"Name"];

/// A map has its heading in one of its first lines: a whole report can have one further down.
fn first_heading(head: &[u8], is_heading: impl Fn(&[u8]) -> bool) -> Confidence {
    let found = lex::lines(head).filter(|line| !line.bytes.trim_ascii().is_empty()).take(3).any(|line| is_heading(line.bytes));
    if found { Confidence::Certain } else { Confidence::No }
}

fn capture(format: &'static str, os: Os, images: Vec<ImageClaim>) -> Capture {
    let mut notes = Vec::new();
    if !images.is_empty() && images.iter().all(|image| image.load.is_none() && !image.kernel) {
        notes.push(Note::warning("", "no addresses: the kernel hides them, or modstat ran without -k; run it as root"));
    }
    Capture { format, os: Some(os), basis: Some(Basis::Runtime), images, notes, ..Capture::default() }
}

/// `2    1 0xffffffff82631000   3df128 zfs.ko (/boot/kernel/zfs.ko)`; the size is hexadecimal, or with -h has a unit.
fn kld(line: &lex::Line<'_>) -> Option<ImageClaim> {
    let mut words = lex::words(line.bytes);
    let (_id, _refs) = (lex::decimal(words.next()?)?, lex::decimal(words.next()?)?);
    let (address, size, name) = (lex::hex(words.next()?)?, words.next()?, words.next()?);
    let kernel = name == b"kernel";
    let plain = name.strip_suffix(b".ko").unwrap_or(name);
    Some(ImageClaim {
        name: lex::text(plain),
        // The kernel's is that of its first page, before all sections; it was linked there.
        load: Some(Avma(address)).filter(|load| load.0 != 0 && !kernel),
        size: lex::bare_hex(size),
        kernel,
        basis: Basis::Runtime,
        line: line.number,
        ..ImageClaim::default()
    })
}

/// In which column of a heading of modstat the address stands; the one of the size follows.
fn columns(line: &[u8]) -> Option<Option<usize>> {
    let mut words = lex::words(line);
    let named = words.next() == Some(b"NAME") && words.next() == Some(b"CLASS") && words.next() == Some(b"SOURCE");
    named.then(|| lex::words(line).position(|word| word == b"ADDRESS"))
}

fn module(line: &lex::Line<'_>, address: Option<usize>) -> Option<ImageClaim> {
    let words: Vec<&[u8]> = lex::words(line.bytes).collect();
    const CLASSES: &[&[u8]] = &[b"misc", b"vfs", b"driver", b"exec", b"secmodel", b"bufq", b"any"];
    if words.len() < 6 || !CLASSES.contains(&words[1]) {
        return None;
    }
    let load = address.and_then(|at| lex::hex(words.get(at)?)).map(Avma).filter(|load| load.0 != 0);
    let size = address.and_then(|at| lex::decimal(words.get(at + 1)?)).filter(|size| *size != 0);
    // What is built in lies in the kernel.
    let built_in = words[2] == b"builtin";
    (!built_in).then(|| ImageClaim {
        name: lex::text(words[0]),
        load,
        size: size.filter(|_| load.is_some()),
        basis: Basis::Runtime,
        line: line.number,
        ..ImageClaim::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kldstat_names_kernel_and_modules() {
        let text = "Id Refs Address                Size Name\n 1   37 0xffffffff80200000  243cd00 kernel (/boot/kernel/kernel)\n\
            \tContains modules:\n\t\t Id Name\n\t\t  1 zfsctrl\n 2    1 0xffffffff82631000   3df128 zfs.ko\n";
        assert_eq!(Kldstat.sniff(text.as_bytes()), Confidence::Certain);
        let images = Kldstat.parse(text.as_bytes()).images;
        let read: Vec<_> = images.iter().map(|image| (image.name.as_str(), image.load, image.size, image.kernel)).collect();
        let zfs = ("zfs", Some(Avma(0xffff_ffff_8263_1000)), Some(0x3d_f128), false);
        assert_eq!(read, [("kernel", None, Some(0x243_cd00), true), zfs]);
    }

    #[test]
    fn modstat_has_addresses_with_k_alone() {
        let text = "NAME    CLASS    SOURCE     FLAG REFS ADDRESS              SIZE REQUIRES\n\
            zfs     vfs      filesys    -       0 0xffffffff83a00000 512000 solaris\nffs vfs builtin - 0 0x0 0 -\n";
        assert_eq!(Modstat.sniff(text.as_bytes()), Confidence::Certain);
        let images = Modstat.parse(text.as_bytes()).images;
        assert_eq!(images.len(), 1);
        assert_eq!((images[0].load, images[0].size), (Some(Avma(0xffff_ffff_83a0_0000)), Some(512_000)));
        let without = Modstat.parse(b"NAME CLASS SOURCE FLAG REFS SIZE REQUIRES\nzfs vfs filesys - 0 512000 solaris\n");
        assert_eq!((without.images[0].load, without.notes.len()), (None, 1));
    }
}
