//! Load maps of Linux: `/proc/modules`, `/proc/kallsyms`, and crash's `mod`.
//!
//! ```text
//! zfs 4177920 16 - Live 0xffffffffc0887000 (POE)                      /proc/modules
//! ffffffffc0a32024 t spa_sync  [zfs]                              /proc/kallsyms, with a tab before the module
//! ffffffffc0316840  zfs   ffffffffc0887000  4177920  (not loaded)      crash> mod
//! ```
//! Sources: kernel/module/procfs.c, kernel/kallsyms.c (6.12). Without privilege all addresses are printed as zero.

use std::collections::BTreeMap;

use super::lex;
use super::{Confidence, Format, Holds};
use crate::model::addr::{Arch, Avma};
use crate::model::capture::{Capture, Os};
use crate::model::image::{Basis, ImageClaim};
use crate::note::Note;

/// `/proc/modules`.
pub struct ProcModules;
/// `/proc/kallsyms`.
pub struct Kallsyms;
/// crash's `mod`.
pub struct CrashMod;

impl Format for ProcModules {
    fn id(&self) -> &'static str {
        "linux-proc-modules"
    }
    fn about(&self) -> &'static str {
        "/proc/modules: where each module's text lies"
    }
    fn holds(&self) -> Holds {
        Holds::LoadMap
    }
    fn marks(&self) -> &'static [&'static [u8]] {
        &[b" Live 0x", b" Loading 0x", b" Unloading 0x"]
    }
    fn begins(&self, _: &[u8], rest: &[u8]) -> bool {
        lex::lines(rest).next().is_some_and(|line| module_row(line.bytes).is_some())
    }
    fn sniff(&self, head: &[u8]) -> Confidence {
        first_line(head, |line| module_row(line).is_some())
    }
    fn parse(&self, text: &[u8]) -> Capture {
        let row = |line: lex::Line<'_>| Some(ImageClaim { line: line.number, ..module_row(line.bytes)? });
        let images: Vec<ImageClaim> = lex::lines(text).filter_map(row).collect();
        let hidden = !images.is_empty() && images.iter().all(|image| image.load.is_none());
        capture(self.id(), images, hidden)
    }
}

impl Format for Kallsyms {
    fn id(&self) -> &'static str {
        "linux-kallsyms"
    }
    fn about(&self) -> &'static str {
        "/proc/kallsyms: run-time addresses of all symbols; System.map"
    }
    fn holds(&self) -> Holds {
        Holds::LoadMap
    }
    fn marks(&self) -> &'static [&'static [u8]] {
        &[b" T _stext", b" T _text", b" A fixed_percpu_data", b" T startup_64"]
    }
    fn begins(&self, _: &[u8], rest: &[u8]) -> bool {
        lex::lines(rest).next().is_some_and(|line| symbol_row(line.bytes).is_some())
    }
    /// The kernel's own start is not the first symbol of every table.
    fn begins_above(&self, above: &[u8], _: &[u8]) -> usize {
        let mut start = above.len();
        while start > 0 {
            let before = memchr::memrchr(b'\n', &above[..start - 1]).map_or(0, |at| at + 1);
            if symbol_row(above[before..start].trim_ascii_end()).is_none() {
                break;
            }
            start = before;
        }
        start
    }
    fn sniff(&self, head: &[u8]) -> Confidence {
        first_line(head, |line| symbol_row(line).is_some())
    }
    fn parse(&self, text: &[u8]) -> Capture {
        let mut kernel = ImageClaim { name: "vmlinux".to_string(), kernel: true, basis: Basis::Runtime, ..ImageClaim::default() };
        let mut modules: BTreeMap<String, ImageClaim> = BTreeMap::new();
        let (mut rows, mut hidden) = (0usize, true);
        for line in lex::lines(text) {
            let Some((address, kind, name, module)) = symbol_row(line.bytes) else { continue };
            rows += 1;
            if kernel.line == 0 {
                kernel.line = line.number;
            }
            hidden &= address == 0;
            let text = address != 0 && matches!(kind, b't' | b'T');
            if module.is_empty() {
                if text && matches!(name, b"_text" | b"_stext") {
                    kernel.anchors.push((lex::text(name), Avma(address)));
                }
            } else if text && !module.starts_with(b"__builtin") && module != b"bpf" {
                let module = lex::text(module);
                let claim = modules.entry(module).or_insert_with_key(|name| ImageClaim {
                    name: name.clone(),
                    basis: Basis::Runtime,
                    line: line.number,
                    ..ImageClaim::default()
                });
                claim.anchors.push((lex::text(name), Avma(address)));
            }
        }
        // Without a single module it may be a System.map, whose addresses are the file's own and tell no slide.
        if modules.is_empty() {
            kernel.anchors.clear();
        }
        let images = std::iter::once(kernel).chain(modules.into_values()).collect();
        capture(self.id(), images, rows > 0 && hidden)
    }
}

impl Format for CrashMod {
    fn id(&self) -> &'static str {
        "linux-crash-mod"
    }
    fn about(&self) -> &'static str {
        "crash's mod: where each module lies"
    }
    fn holds(&self) -> Holds {
        Holds::LoadMap
    }
    fn marks(&self) -> &'static [&'static [u8]] {
        &[b"OBJECT FILE"]
    }
    fn begins(&self, _: &[u8], rest: &[u8]) -> bool {
        self.sniff(super::first_line(rest)) == Confidence::Certain
    }
    fn sniff(&self, head: &[u8]) -> Confidence {
        let heading = |line: lex::Line<'_>| {
            let mut words = lex::words(line.bytes);
            words.next() == Some(b"MODULE") && words.next() == Some(b"NAME") && line.bytes.ends_with(b"OBJECT FILE")
        };
        if lex::lines(head).any(heading) { Confidence::Certain } else { Confidence::No }
    }
    fn parse(&self, text: &[u8]) -> Capture {
        let row = |line: lex::Line<'_>| {
            let mut words = lex::words(line.bytes);
            let _structure = lex::bare_hex(words.next()?)?;
            let (name, base, size) = (words.next()?, lex::bare_hex(words.next()?)?, lex::decimal(words.next()?)?);
            let load = Some(Avma(base)).filter(|base| base.0 != 0);
            Some(ImageClaim {
                name: lex::text(name),
                load,
                size: Some(size),
                basis: Basis::Runtime,
                line: line.number,
                ..ImageClaim::default()
            })
        };
        capture(self.id(), lex::lines(text).filter_map(row).collect(), false)
    }
}

fn first_line(head: &[u8], is_row: impl Fn(&[u8]) -> bool) -> Confidence {
    let mut lines = lex::lines(head).filter(|line| !line.bytes.is_empty()).take(3).peekable();
    let all = lines.peek().is_some() && lines.all(|line| is_row(line.bytes));
    if all { Confidence::Certain } else { Confidence::No }
}

fn capture(format: &'static str, images: Vec<ImageClaim>, hidden: bool) -> Capture {
    let mut notes = Vec::new();
    if hidden {
        notes.push(Note::warning("", "all addresses are zero: the kernel hides them (kptr_restrict); read the file as root"));
    }
    let address = images.iter().find_map(|image| image.load.or(image.anchors.first().map(|(_, at)| *at)));
    let arch = address.filter(|at| at.0 >> 31 == 0x1_ffff_ffff).map(|_| Arch::X86_64);
    Capture { format, os: Some(Os::Linux), arch, basis: Some(Basis::Runtime), images, notes, ..Capture::default() }
}

/// `name size refs deps,|- Live|Loading|Unloading 0xADDR[ (FLAGS)]`.
fn module_row(line: &[u8]) -> Option<ImageClaim> {
    let words: Vec<&[u8]> = lex::words(line).collect();
    let [name, size, refs, _deps, state, address, ..] = &words[..] else { return None };
    // `-` without CONFIG_MODULE_UNLOAD, -1 while the module is unloading (kernel/module/main.c, `module_refcount`).
    (*refs == b"-").then_some(0).or_else(|| lex::decimal(refs.strip_prefix(b"-").unwrap_or(refs)))?;
    if !matches!(*state, b"Live" | b"Loading" | b"Unloading") {
        return None;
    }
    Some(ImageClaim {
        name: lex::text(name),
        size: lex::decimal(size),
        load: Some(Avma(lex::hex(address)?)).filter(|address| address.0 != 0),
        loading: *state == b"Loading",
        basis: Basis::Runtime,
        ..ImageClaim::default()
    })
}

/// `H{8,16} KIND NAME[\t[MODULE]]`: address, kind, name, module.
fn symbol_row(line: &[u8]) -> Option<(u64, u8, &[u8], &[u8])> {
    let mut words = lex::words(line);
    let address = words.next().filter(|word| matches!(word.len(), 8 | 16)).and_then(lex::bare_hex)?;
    let [kind] = words.next()? else { return None };
    let name = words.next()?;
    let module = words.next().and_then(|word| word.strip_prefix(b"[")?.strip_suffix(b"]"));
    kind.is_ascii_alphabetic().then_some((address, *kind, name, module.unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_with_and_without_addresses() {
        let text = b"kslab 20480 0 - Loading 0xffffffffc056d000 (OE)\nzfs 4177920 16 spl,icp, Live 0xffffffffc0887000\n";
        let capture = ProcModules.parse(text);
        let seen: Vec<_> = capture.images.iter().map(|i| (i.name.as_str(), i.load.map(|a| a.0), i.loading)).collect();
        assert_eq!(seen, [("kslab", Some(0xffff_ffff_c056_d000), true), ("zfs", Some(0xffff_ffff_c088_7000), false)]);
        let leaving = ProcModules.parse(b"hang 16384 -1 - Unloading 0xffffffffc0643000 (OE-)\n");
        assert_eq!((leaving.images[0].name.as_str(), leaving.images[0].loading), ("hang", false));
        let hidden = ProcModules.parse(b"zfs 4177920 16 - Live 0x0000000000000000\n");
        assert!(hidden.notes[0].text.contains("kptr_restrict"));
    }

    #[test]
    fn kallsyms_anchors_the_kernel_only_when_it_is_of_a_running_one() {
        let map = b"ffffffff81000000 T _text\nffffffff81000040 t foo\n";
        assert!(Kallsyms.parse(map).images[0].anchors.is_empty());
        let live = [&map[..], b"ffffffffc0a32024 t spa_sync\t[zfs]\nffffffffc0a00000 t bpf_prog_1\t[bpf]\n"].concat();
        let capture = Kallsyms.parse(&live);
        assert_eq!(capture.images[0].anchors, [("_text".to_string(), Avma(0xffff_ffff_8100_0000))]);
        assert_eq!(capture.images.len(), 2);
        assert_eq!(capture.images[1].anchors[0].0, "spa_sync");
    }
}
