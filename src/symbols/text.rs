//! Symbols as text: `System.map`, and the kernel's part of `/proc/kallsyms`. Names and sizes, no files and lines.

use std::path::Path;

use super::alias;
use super::kernel_sizes::{self, KernelSizes};
use super::symtab::{Near, RawSymbol, SymbolTable};
use super::{FileInfo, FileKind, Opener, Segment, Symbols};
use crate::error::Error;
use crate::input::Bytes;
use crate::model::addr::{Arch, Svma};
use crate::model::frame::Location;

/// Recognises and opens lists of symbols.
pub struct TextOpener;

impl Opener for TextOpener {
    fn about(&self) -> &'static str {
        "System.map and /proc/kallsyms, for names alone"
    }
    fn sniff(&self, head: &[u8]) -> bool {
        head.split(|b| *b == b'\n').next().and_then(row).is_some()
    }
    fn open(&self, path: &Path, bytes: &Bytes, refused: &mut Vec<Error>) -> Vec<Box<dyn Symbols>> {
        match TextSymbols::open(path, bytes) {
            Ok(file) => vec![Box::new(file)],
            Err(what) => {
                refused.push(Error::bad(path, what));
                Vec::new()
            }
        }
    }
}

struct TextSymbols {
    info: FileInfo,
    table: SymbolTable,
    sizes: KernelSizes,
}

impl TextSymbols {
    fn open(path: &Path, bytes: &[u8]) -> Result<TextSymbols, String> {
        let rows: Vec<(u64, u8, &[u8])> = bytes.split(|b| *b == b'\n').filter_map(row).collect();
        if !rows.is_empty() && rows.iter().all(|(address, ..)| *address == 0) {
            return Err("has zero for every address: the kernel hides them (kptr_restrict); read the file as root".to_string());
        }
        let is_text = |kind: u8| matches!(kind, b't' | b'T' | b'w' | b'W');
        let text = |row: &&(u64, u8, &[u8])| is_text(row.1) && row.0 != 0;
        let low = rows.iter().filter(text).map(|row| row.0).min().ok_or("lists no function")?;
        let high = rows.iter().filter(text).map(|row| row.0).max().unwrap_or(low);
        // What follows the last function ends it.
        let limit = rows.iter().map(|row| row.0).filter(|address| *address > high).min().unwrap_or(high + 1);
        // Only a running kernel has modules among its symbols; a System.map states what the kernel was linked at.
        let live = memchr::memmem::find(bytes, b"\t[").is_some();
        let raw = rows.iter().filter(text).map(|(address, kind, name)| {
            // What a running kernel lists is in its own order.
            let rank = if live { 0 } else { alias::rank(name, matches!(kind, b'w' | b'W')) };
            RawSymbol { address: *address, name, global: kind.is_ascii_uppercase(), limit, size: 0, rank }
        });
        let table = SymbolTable::new(raw, Vec::new());
        let arch = match low >> 32 {
            0xffff_ffff => Arch::X86_64,
            0xffff_8000..=0xffff_fff0 => Arch::Arm64,
            0 => Arch::I386,
            _ => return Err("has addresses of no architecture that kstack knows".to_string()),
        };
        let segment =
            Segment { name: ".text".to_string(), svma: Svma(low), size: limit - low, used: limit - low, align: 1, executable: true };
        let info = FileInfo {
            path: path.to_path_buf(),
            kind: FileKind::Kernel,
            arch,
            id: None,
            segments: vec![segment],
            has_debug_info: false,
            linked_at_runtime: live,
            is_elf: true,
            encrypted: false,
            collection: None,
            prelinked: None,
            shared: false,
        };
        let sizes = kernel_sizes::of(rows.iter().map(|(address, _, name)| (*address, *name)));
        Ok(TextSymbols { info, table, sizes })
    }
}

/// `H{8,16} KIND NAME`; a row of a module is none of the kernel's.
fn row(line: &[u8]) -> Option<(u64, u8, &[u8])> {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let digits = line.iter().position(|b| *b == b' ').filter(|at| matches!(at, 8 | 16))?;
    let address = u64::from_str_radix(std::str::from_utf8(&line[..digits]).ok()?, 16).ok()?;
    let [kind, b' ', name @ ..] = line.get(digits + 1..)? else { return None };
    let usable = kind.is_ascii_alphabetic() && !name.is_empty() && !name.contains(&b'\t');
    usable.then_some((address, *kind, name))
}

impl Symbols for TextSymbols {
    fn info(&self) -> &FileInfo {
        &self.info
    }
    fn table(&self) -> &SymbolTable {
        &self.table
    }
    fn near(&self, _: &[Svma]) -> Near<'_> {
        Near::Whole(&self.table)
    }
    fn symbol_count(&self) -> usize {
        self.table.len()
    }
    fn bundle_id(&self) -> Option<String> {
        None
    }
    fn locate(&self, probes: &[Svma]) -> Vec<Vec<Location>> {
        vec![Vec::new(); probes.len()]
    }
    fn debug_function(&self, _: Svma) -> Option<(String, Svma)> {
        None
    }
    fn code(&self, _: Svma, _: Svma) -> Option<&[u8]> {
        None
    }
    fn kernel_sizes(&self) -> KernelSizes {
        self.sizes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_system_map_gives_names_and_sizes() {
        let text = b"0000000000000000 A fixed_percpu_data\nffffffff81000000 T _text\nffffffff81000040 t foo\nffffffff81000090 T _etext\nffffffff82000000 D data\n";
        assert!(TextOpener.sniff(text));
        let file = TextSymbols::open(Path::new("System.map"), text).unwrap();
        let found = file.table.at(Svma(0xffff_ffff_8100_0044)).unwrap();
        assert_eq!((found.name, found.size), ("foo", 0x50));
        assert!(TextSymbols::open(Path::new("kallsyms"), b"0000000000000000 T _text\n").is_err_and(|what| what.contains("kptr_restrict")));
    }
}
