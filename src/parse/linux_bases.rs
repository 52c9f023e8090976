//! Load addresses of modules that a Linux kernel without symbol names prints: OpenWrt builds its kernels without kallsyms.
//!
//! ```text
//! [<83178634>] 0x83178634 [mt76_usb@83178000+0x2290]              a frame: address, module, where it lies, its size
//! Modules:  pppoe@8f3d8000+2290  mt76_usb@83178000+2290           above a log that was kept in memory (/sys/kernel/debug/crashlog)
//! ```
//! Sources: OpenWrt's patches `kallsyms_uncompressed` and `crashlog` for 4.14 to 5.15; OpenWrt issues. The address is printed with `%p`, so
//! that kernels since 4.15 can print a hash there. A hash is no start of a page, or has not the frame's address behind it.

use memchr::{memchr, memrchr};
use rustc_hash::{FxHashMap, FxHashSet};

use super::lex;
use super::linux_prefix::Record;
use super::linux_symbol::{Cursor, is_hash};
use crate::model::addr::Avma;
use crate::model::image::{Basis, ImageClaim};
use crate::model::stack::RawFrame;

/// No page is smaller.
const PAGE: u64 = 4096;

/// Where the kernel says that a module lies.
struct Module<'t> {
    name: &'t [u8],
    base: u64,
    size: u64,
    /// Whether the address can be one.
    real: bool,
}

/// `mt76_usb@83178000+0x2290`, whole.
fn module(word: &[u8]) -> Option<Module<'_>> {
    let at = memchr(b'@', word)?;
    let plus = at + memchr(b'+', &word[at..])?;
    let (name, digits, size) = (&word[..at], &word[at + 1..plus], &word[plus + 1..]);
    let plain = !name.is_empty() && name.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'));
    let base = lex::bare_hex(digits).filter(|_| plain)?;
    let size = lex::hex(size).or_else(|| lex::bare_hex(size))?;
    Some(Module { name, base, size, real: base % PAGE == 0 && !is_hash(base, digits.len()) && base.checked_add(size).is_some() })
}

/// Whether something in brackets stands behind a frame: a module that was torn off, or the `[NAME@BASE+0xSIZE]` of one without a symbol,
/// whose name it takes.
pub(super) fn named(cursor: &Cursor<'_, '_>, frame: &mut RawFrame) -> bool {
    let tail = cursor.rest().trim_ascii();
    let start = cursor.at + lex::indent(cursor.rest()) + 1;
    let inside = memchr(b']', tail).filter(|_| tail.starts_with(b"[") && frame.symbol.is_empty()).map(|end| &tail[1..end]);
    if let Some(module) = inside.and_then(module) {
        frame.module = cursor.span(start, start + module.name.len());
    }
    tail.starts_with(b"[")
}

/// What a log says of where modules lie.
#[derive(Default)]
pub(super) struct Bases {
    claims: Vec<ImageClaim>,
    /// The place of each in `claims`, by name.
    places: FxHashMap<String, usize>,
    /// Those whose address cannot be where they lie.
    wrong: FxHashSet<String>,
}

impl Bases {
    /// Takes what a record says. Hardly any has an `@`.
    pub fn record(&mut self, record: &Record<'_>) {
        let Some(at) = memchr(b'@', record.text) else { return };
        if let Some(words) = record.text.strip_prefix(b"Modules:") {
            let found: Option<Vec<Module<'_>>> = lex::words(words).map(module).collect();
            let found = found.filter(|found| found.iter().all(|module| module.real));
            found.iter().flatten().for_each(|module| self.claim(module, record.line));
        } else if let Some(open) = memrchr(b'[', &record.text[..at]) {
            self.frame(&record.text[..open], &record.text[open + 1..], record.line);
        }
    }

    /// A frame's address, and what stands behind its bracket.
    fn frame(&mut self, before: &[u8], inside: &[u8], line: u32) {
        let Some(module) = memchr(b']', inside).and_then(|end| module(&inside[..end])) else { return };
        let bracketed = |word: &[u8]| lex::bare_hex(word.strip_prefix(b"[<")?.strip_suffix(b">]")?);
        let Some(address) = lex::words(before).find_map(|word| lex::hex(word).or_else(|| bracketed(word))) else { return };
        if module.real && (module.base..=module.base + module.size).contains(&address) {
            self.claim(&module, line);
        } else {
            self.wrong.insert(lex::text(module.name));
        }
    }

    fn claim(&mut self, module: &Module<'_>, line: u32) {
        let name = lex::text(module.name);
        let load = Some(Avma(module.base));
        match self.places.get(&name).map(|at| &self.claims[*at]) {
            // Loaded once more, or two boots.
            Some(claim) if claim.load != load => _ = self.wrong.insert(name),
            Some(_) => {}
            None => {
                self.places.insert(name.clone(), self.claims.len());
                self.claims.push(ImageClaim { name, load, size: Some(module.size), basis: Basis::Runtime, line, ..ImageClaim::default() })
            }
        }
    }

    /// Adds what was found to the modules that other lines name.
    pub fn finish(self, images: &mut Vec<ImageClaim>) {
        let mut named: FxHashMap<String, usize> = FxHashMap::default();
        for (at, image) in images.iter().enumerate() {
            named.entry(image.name.clone()).or_insert(at);
        }
        for claim in self.claims.into_iter().filter(|claim| !self.wrong.contains(&claim.name)) {
            match named.get(&claim.name).map(|at| &mut images[*at]) {
                Some(image) => (image.load, image.size) = (claim.load, claim.size),
                None => images.push(claim),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::linux_prefix::Context;
    use super::*;

    fn found(lines: &[&str]) -> Vec<(String, u64)> {
        let mut bases = Bases::default();
        for text in lines {
            bases.record(&Record { context: Context::Bare, line: 1, line_start: 0, at: 0, text: text.as_bytes() });
        }
        let mut images = vec![ImageClaim { name: "mt76".to_string(), ..ImageClaim::default() }];
        bases.finish(&mut images);
        images.into_iter().filter_map(|image| Some((image.name, image.load?.0))).collect()
    }

    #[test]
    fn addresses_are_taken_where_they_can_be_real() {
        let frames = [" [<82f01234>] 0x82f01234 [mt76@82f00000+0x5c0a]", " 0xffffffc000c81e2c [atop@ffffffc000c80000+0x12000]"];
        assert_eq!(found(&frames), [("mt76".to_string(), 0x82f0_0000), ("atop".to_string(), 0xffff_ffc0_00c8_0000)]);
        let again = "[<82f01234>] mt76_probe+0x34/0x60 [mt76] a.c:1 [mt76@82f00000+0x5c0a]";
        assert_eq!(found(&[again]), [("mt76".to_string(), 0x82f0_0000)]);
        let header = "Modules:\tpppoe@8f3d8000+2290\tmt76@82f00000+5c0a";
        assert_eq!(found(&[header]).len(), 2);
        for line in [
            " 0xffffffc000c81e2c [mt76@000000006b7888f1+0x12000]",
            " 0x82f01234 [mt76@6b788000+0x5c0a]",
            " 0x82f01234 [mt76@82f00004+0x5c0a]",
            "Modules:\tpppoe@8f3d8001+2290\tmt76@82f00000+5c0a",
            " 0x82f01234 [mt76@82f00000]",
            " x@y [",
        ] {
            assert_eq!(found(&[line]), [], "{line}");
        }
        assert_eq!(found(&[frames[0], "0x92f01234 [mt76@92f00000+0x5c0a]"]), [], "two boots");
    }

    #[test]
    fn many_names_are_quick() {
        let frame = |n: usize, base: &str| format!(" 0x{base}01234 [mod_with_a_long_name_{n}@{base}00000+0x5c0a]");
        let lines: Vec<String> = (0..60_000).flat_map(|n| [frame(n, "82f"), frame(n, if n % 2 == 0 { "82f" } else { "92f" })]).collect();
        let begin = std::time::Instant::now();
        assert_eq!(found(&lines.iter().map(String::as_str).collect::<Vec<_>>()).len(), 30_000);
        assert!(begin.elapsed().as_secs() < 10);
    }
}
