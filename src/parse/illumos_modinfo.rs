//! The load map of illumos: `modinfo`.
//!
//! ```text
//!  Id         Loadaddr   Size Info Rev Module Name
//!   0 fffffffffb800000 136af8   -   0  unix ()
//! 195 fffffffff7e40000 1c7868 186   1  zfs (ZFS filesystem version 5)
//! ```
//! Source: usr/src/cmd/modload/modinfo.c (illumos-gate). The size is hexadecimal without `0x` and that of text and data together.

use super::lex;
use super::{Confidence, Format, Holds};
use crate::model::addr::{Arch, Avma};
use crate::model::capture::{Capture, Os};
use crate::model::image::{Basis, ImageClaim};

/// The format.
pub struct IllumosModinfo;

impl Format for IllumosModinfo {
    fn id(&self) -> &'static str {
        "illumos-modinfo"
    }
    fn about(&self) -> &'static str {
        "illumos: modinfo, where each module lies"
    }
    fn holds(&self) -> Holds {
        Holds::LoadMap
    }
    fn marks(&self) -> &'static [&'static [u8]] {
        &[b"Loadaddr"]
    }
    fn begins(&self, _: &[u8], rest: &[u8]) -> bool {
        self.sniff(super::first_line(rest)) == Confidence::Certain
    }

    fn sniff(&self, head: &[u8]) -> Confidence {
        let heading =
            |line: lex::Line<'_>| lex::words(line.bytes).eq([&b"Id"[..], b"Loadaddr", b"Size", b"Info", b"Rev", b"Module", b"Name"]);
        if lex::lines(head).any(heading) {
            Confidence::Certain
        } else if lex::lines(head).filter(|line| row(line.bytes).is_some()).count() >= 2 {
            Confidence::Likely
        } else {
            Confidence::No
        }
    }

    fn parse(&self, text: &[u8]) -> Capture {
        let row = |line: lex::Line<'_>| Some(ImageClaim { line: line.number, ..row(line.bytes)? });
        let images: Vec<ImageClaim> = lex::lines(text).filter_map(row).collect();
        let images = clipped(images);
        let high = images.iter().filter_map(|image| image.load).any(|load| load.0 >> 32 == 0xffff_ffff);
        Capture {
            format: self.id(),
            os: Some(Os::Illumos),
            arch: high.then_some(Arch::X86_64),
            basis: Some(Basis::Runtime),
            images,
            ..Capture::default()
        }
    }
}

/// Data lies elsewhere than text, but the printed size has both: an image ends where the next one begins, if not before.
fn clipped(mut images: Vec<ImageClaim>) -> Vec<ImageClaim> {
    let mut starts: Vec<u64> = images.iter().filter_map(|image| image.load).map(|load| load.0).collect();
    starts.sort_unstable();
    for image in &mut images {
        let (Some(load), Some(size)) = (image.load, image.size) else { continue };
        let next = starts.get(starts.partition_point(|start| *start <= load.0));
        image.size = Some(next.map_or(size, |next| size.min(next - load.0)));
    }
    images
}

/// `195 fffffffff7e40000 1c7868 186   1  zfs (ZFS filesystem version 5)`; a module that serves several ends has a row for each.
fn row(line: &[u8]) -> Option<ImageClaim> {
    let mut words = lex::words(line);
    lex::decimal(words.next()?)?;
    let load = words.next().filter(|word| matches!(word.len(), 8 | 16)).and_then(lex::bare_hex)?;
    let size = lex::bare_hex(words.next()?)?;
    let info = words.next()?;
    (info == b"-" || lex::decimal(info).is_some()).then_some(())?;
    lex::decimal(words.next()?)?;
    let name = words.next()?;
    words.next().filter(|described| described.starts_with(b"("))?;
    Some(ImageClaim {
        name: lex::text(name),
        load: Some(Avma(load)).filter(|load| load.0 != 0),
        size: Some(size),
        kernel: name == b"unix",
        basis: Basis::Runtime,
        ..ImageClaim::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_give_address_and_hexadecimal_size() {
        let text = b" Id         Loadaddr   Size Info Rev Module Name\n  0 fffffffffb800000 136af8   -   0  unix ()\n195 fffffffff7e40000 1c7868 186   1  zfs (ZFS filesystem version 5)\n";
        assert_eq!(IllumosModinfo.sniff(text), Confidence::Certain);
        let seen: Vec<_> =
            IllumosModinfo.parse(text).images.into_iter().map(|i| (i.name, i.load.unwrap().0, i.size.unwrap(), i.kernel)).collect();
        assert_eq!(seen, [("unix".into(), 0xffff_ffff_fb80_0000, 0x136af8, true), ("zfs".into(), 0xffff_ffff_f7e4_0000, 0x1c_7868, false)]);
        let near = b"  0 fffffffffb800000 136af8   -   0  unix ()\n  1 fffffffffb930000 2e1c18   -   0  genunix ()\n";
        assert_eq!(IllumosModinfo.parse(near).images[0].size, Some(0x13_0000));
        assert_eq!(IllumosModinfo.sniff(b"  1 fffffe000f4a3c20 SLEEP CV\n"), Confidence::No);
    }
}
