//! What a Fuchsia log says about the programs and libraries that its addresses lie in.
//!
//! ```text
//! dso: id=7247958b8a5d8707197d317407c960c42be5b1b2 base=0xffffffff00100000 name=zircon.elf
//! {{{reset}}}                                                           what follows is another address space
//! {{{module:0:libc.so:elf:83238ab56ba10497}}}                           number, name, build id
//! {{{mmap:0x7acba69d5000:0x5a000:load:0:rx:0x1000}}}                    address, size, module, flags, address in the file
//! [[[ELF module #0x3 "libvulkan.so" BuildID=56c632bd9e108d86 0x9054aeed5000]]]      what the symbolizer makes of both
//! ```
//! Source: fuchsia.dev/fuchsia-src/reference/kernel/symbolizer_markup, which LLVM has taken over.

use memchr::memmem;
use rustc_hash::{FxHashMap, FxHashSet};

use super::lex::{self, Line};
use crate::model::addr::{Avma, Slide};
use crate::model::image::{Basis, ImageClaim, ImageId};

/// How many modules are kept: a spoilt log may name any number.
const MOST_MODULES: usize = 1 << 16;

/// The modules of a log, in its order.
#[derive(Default)]
pub(super) struct Maps {
    images: Vec<ImageClaim>,
    /// Modules of the address space that is being told of: their numbers, and where they are in `images`.
    numbers: FxHashMap<u64, usize>,
    /// Images with both build id and place, and kernels, by both.
    known: FxHashMap<(Option<ImageId>, Option<Avma>), usize>,
    /// How far the kernel was moved.
    pub(super) slide: Option<Slide>,
}

impl Maps {
    /// Reads what a message says about modules; whether it said anything.
    pub(super) fn message(&mut self, line: &Line<'_>, message: &[u8]) -> bool {
        let mut said = false;
        if let Some(image) = dso(message) {
            self.push(line, image);
            said = true;
        } else if let Some((number, image)) = named(message) {
            self.number(line, number, image);
            said = true;
        }
        let mut rest = message;
        while let Some(start) = memmem::find(rest, b"{{{") {
            let Some(end) = memmem::find(&rest[start..], b"}}}") else { break };
            said |= self.element(line, &rest[start + 3..start + end]).is_some();
            rest = &rest[start + end + 3..];
        }
        said
    }

    fn element(&mut self, line: &Line<'_>, element: &[u8]) -> Option<()> {
        let mut fields = element.split(|b| *b == b':');
        match fields.next()? {
            b"reset" => self.numbers.clear(),
            b"module" => {
                let number = number(fields.next()?)?;
                let name = lex::text(fields.next()?);
                fields.next().filter(|kind| *kind == b"elf")?;
                let id = ImageId::parse_build(fields.next()?);
                let kernel = is_kernel(&name);
                self.number(line, number, ImageClaim { name, id, kernel, ..ImageClaim::default() });
            }
            b"mmap" => self.mapped(fields)?,
            _ => return None,
        }
        Some(())
    }

    /// `0x7acba69d5000:0x5a000:load:0:rx:0x1000`.
    fn mapped<'t>(&mut self, mut fields: impl Iterator<Item = &'t [u8]>) -> Option<()> {
        let (start, size) = (number(fields.next()?)?, number(fields.next()?)?);
        fields.next().filter(|kind| *kind == b"load")?;
        let module = number(fields.next()?)?;
        let (_flags, in_file) = (fields.next()?, number(fields.next()?)?);
        let at = self.numbers.get(&module)?;
        let image = &mut self.images[*at];
        let moved = start.wrapping_sub(in_file);
        if image.kernel {
            // Its first segment need not be among those that are listed, so that where its file begins is not known.
            self.slide = self.slide.or(Some(Slide(moved)));
            return Some(());
        }
        // Libraries are linked at 0.
        let load = image.load.get_or_insert(Avma(moved)).0;
        let end = start.saturating_add(size).saturating_sub(load);
        image.size = Some(image.size.map_or(end, |old| old.max(end)));
        Some(())
    }

    fn number(&mut self, line: &Line<'_>, number: u64, mut image: ImageClaim) {
        if image.name.is_empty() {
            image.name = format!("module {number:#x}");
        }
        // Where a number comes again, another address space is told of.
        if self.numbers.contains_key(&number) {
            self.numbers.clear();
        }
        if let Some(at) = self.push(line, image) {
            self.numbers.insert(number, at);
        }
    }

    /// Adds an image, if it is not there yet; gives its place.
    fn push(&mut self, line: &Line<'_>, image: ImageClaim) -> Option<usize> {
        let key = (image.id, image.load);
        let whole = image.kernel || image.id.is_some() && image.load.is_some();
        if let Some(at) = self.known.get(&key).filter(|at| whole && self.images[**at].kernel == image.kernel) {
            return Some(*at);
        }
        if self.images.len() >= MOST_MODULES {
            return None;
        }
        if whole {
            self.known.insert(key, self.images.len());
        }
        self.images.push(ImageClaim { line: line.number, basis: Basis::Runtime, ..image });
        Some(self.images.len() - 1)
    }

    /// Takes how far a frame says that its module was moved, `<kernel>+0xffffffff80324b7d` at 0xffffffff00324b7d.
    pub(super) fn moved(&mut self, module: &[u8], by: u64) {
        if std::str::from_utf8(module).is_ok_and(is_kernel) {
            self.slide = self.slide.or(Some(Slide(by)));
        }
    }

    /// All of them. Two processes can have one library at two places: each place is an image with a name of its own.
    pub(super) fn finish(mut self) -> Vec<ImageClaim> {
        // With the markup, newer kernels print the start of their file in the place of their code's.
        for image in self.images.iter_mut().filter(|image| image.kernel && self.slide.is_some()) {
            image.anchors.clear();
        }
        let mut seen = FxHashMap::<String, u32>::default();
        let mut places = FxHashSet::default();
        // The markup tells where a library lies after its name.
        self.images.retain(|image| image.kernel || places.insert((image.id, image.load, image.name.clone())));
        for image in self.images.iter_mut().filter(|image| !image.kernel && !image.user) {
            let count = seen.entry(image.name.clone()).or_insert(0);
            *count += 1;
            if *count > 1 {
                image.name = format!("{} ({count})", image.name);
            }
        }
        self.images
    }
}

/// How Zircon calls itself.
fn is_kernel(name: &str) -> bool {
    matches!(name, "kernel" | "zircon.elf" | "kernel.elf" | "zircon")
}

/// `0`, `0x1f`.
fn number(word: &[u8]) -> Option<u64> {
    lex::hex(word).or_else(|| lex::decimal(word))
}

/// `dso: id=BUILDID base=0xADDR name=NAME`.
fn dso(message: &[u8]) -> Option<ImageClaim> {
    let rest = message.trim_ascii().strip_prefix(b"dso: id=")?;
    let base = memmem::find(rest, b" base=")?;
    let name = memmem::find(rest, b" name=").filter(|name| *name > base)?;
    let load = lex::hex(&rest[base + 6..name])?;
    let id = ImageId::parse_build(&rest[..base]);
    let name = lex::text(&rest[name + 6..]);
    if load >> 63 == 1 {
        // Zircon prints where its code starts (top/version.cpp, since 2017), which need not be where its file begins.
        let anchors = vec![("__code_start".to_string(), Avma(load))];
        return Some(ImageClaim { name, id, anchors, kernel: true, ..ImageClaim::default() });
    }
    Some(ImageClaim { name, id, load: Some(Avma(load)), user: true, ..ImageClaim::default() })
}

/// `[[[ELF module #0x3 "libvulkan.so" BuildID=56c632bd9e108d86 0x9054aeed5000]]]`.
fn named(message: &[u8]) -> Option<(u64, ImageClaim)> {
    let rest = message.trim_ascii().strip_prefix(b"[[[ELF module #")?.strip_suffix(b"]]]")?;
    let open = memchr::memchr(b'"', rest)?;
    let close = open + 1 + memmem::rfind(&rest[open + 1..], b"\" BuildID=")?;
    let mut words = lex::words(&rest[close + 10..]);
    let (id, load) = (ImageId::parse_build(words.next()?), words.next().and_then(lex::hex).map(Avma));
    let name = lex::text(&rest[open + 1..close]);
    let kernel = is_kernel(&name) || load.is_some_and(|load| load.0 >> 63 == 1);
    // The kernel is not linked at 0: whether its start is meant or how far it was moved, the line does not say.
    let load = load.filter(|_| !kernel);
    Some((number(rest[..open].trim_ascii())?, ImageClaim { name, id, load, kernel, ..ImageClaim::default() }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn maps(text: &str) -> Maps {
        let mut maps = Maps::default();
        lex::lines(text.as_bytes()).for_each(|line| {
            maps.message(&line, line.bytes);
        });
        maps
    }

    #[test]
    fn every_way_to_name_a_module_is_read() {
        let text = "dso: id=0a1b base=0xffffffff00100000 name=zircon.elf\ndso: id=0a1c base=0x7000 name=libc.so\n\
            [[[ELF module #0x3 \"libb.so\" BuildID=56c632bd9e108d86 0x9054aeed5000]]]\n\
            {{{module:0x4:libd.so:elf:83238ab56ba10497}}}\nx {{{mmap:0x9001000:0x5000:load:4:rx:0x1000}}} y\n";
        let images = maps(text).finish();
        assert_eq!(images[0].anchors, [("__code_start".to_string(), Avma(0xffff_ffff_0010_0000))]);
        let rows: Vec<_> =
            images.iter().map(|i| (i.name.as_str(), i.id.unwrap().to_string(), i.load.map(|at| at.0), i.size, i.kernel, i.user)).collect();
        assert_eq!(
            rows,
            [
                ("zircon.elf", "0a1b".to_string(), None, None, true, false),
                ("libc.so", "0a1c".to_string(), Some(0x7000), None, false, true),
                ("libb.so", "56c632bd9e108d86".to_string(), Some(0x9054_aeed_5000), None, false, false),
                ("libd.so", "83238ab56ba10497".to_string(), Some(0x900_0000), Some(0x6000), false, false),
            ]
        );
    }

    #[test]
    fn where_the_kernel_lies_is_told_by_how_far_it_was_moved() {
        let maps = maps("{{{module:0:kernel:elf:0a1b}}}\n{{{mmap:0xffffffff20101000:0x1000:load:0:rx:0xffffffff80101000}}}\n");
        assert_eq!(maps.slide, Some(Slide(0xffff_ffff_a000_0000)));
        assert!(maps.finish()[0].load.is_none());
    }

    #[test]
    fn one_library_in_two_processes_is_two_images() {
        let text = "{{{module:0:a.so:elf:0a1b}}}{{{mmap:0x1000:0x1000:load:0:r:0x0}}}\n{{{reset}}}\n\
            {{{module:0:a.so:elf:0a1b}}}{{{mmap:0x5000:0x1000:load:0:r:0x0}}}\n{{{reset}}}\n\
            {{{module:0:a.so:elf:0a1b}}}{{{mmap:0x1000:0x1000:load:0:r:0x0}}}\n{{{mmap:0x0:0x1:load:7:r:0x0}}}{{{mmap:x}}}{{{module}}}";
        let names: Vec<_> = maps(text).finish().into_iter().map(|image| (image.name, image.load.unwrap().0)).collect();
        assert_eq!(names, [("a.so".to_string(), 0x1000), ("a.so (2)".to_string(), 0x5000)]);
    }
}
