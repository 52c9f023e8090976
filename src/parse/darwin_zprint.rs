//! Tables of the zones of macOS's kernel allocator: gdb's and lldb's `zprint`, and zprint(1).
//!
//! ```text
//! ZONE                   COUNT   TOT_SZ   MAX_SZ   ELT_SZ ALLOC_SZ         TOT_ALLOC         TOT_FREE NAME       gdb
//! 0xffffff8006306c50   1620133  18b8000  3170000       16     1000          81006650         79386517 kalloc.16 CX
//!
//! ZONE   TOT_SZ PAGE_COUNT ALLOC_ELTS  FREE_ELTS    FREE_SZ  ELT_SZ  ALLOC(  ELTS  PGS  WASTE)  FLAGS  NAME      lldb
//!
//!                             elem         cur         max        cur         max         cur  alloc  alloc           zprint(1)
//! zone name                   size        size        size      #elts       #elts       inuse   size  count
//! ---------------------------------------------------------------------------------------------------------
//! vm.objects                   224      17182K      19683K      78547       89980       75842     8K     36  C
//! ```
//! gdb prints the sizes TOT_SZ, MAX_SZ and ALLOC_SZ in hexadecimal without `0x`. Names of zprint(1) have `.` for blanks; `----` is a limit that
//! is none. Sources: kgmacros and tools/lldbmacros/memory.py of xnu, zprint(1) of system_cmds 597.

use super::lex::{self, Line};
use super::{Confidence, Format, Holds};
use crate::model::addr::Avma;
use crate::model::capture::{Capture, Os};
use crate::model::zone::Zone;
use crate::note::Note;

/// The format.
pub struct DarwinZprint;

impl Format for DarwinZprint {
    fn id(&self) -> &'static str {
        "darwin-zprint"
    }
    fn about(&self) -> &'static str {
        "zprint tables of macOS, of gdb, lldb and zprint(1): zones, not stacks; group and top rank them, diff compares two"
    }
    fn holds(&self) -> Holds {
        Holds::Stacks
    }
    fn marks(&self) -> &'static [&'static [u8]] {
        &[b"ELT_SZ", b"zone name "]
    }
    fn begins(&self, _: &[u8], rest: &[u8]) -> bool {
        lex::lines(rest).next().is_some_and(|line| Columns::of(line.bytes).is_some())
    }

    fn sniff(&self, head: &[u8]) -> Confidence {
        let found = lex::lines(head).any(|line| Columns::of(line.bytes).is_some());
        if found { Confidence::Certain } else { Confidence::No }
    }

    fn parse(&self, text: &[u8]) -> Capture {
        let (mut table, mut notes) = (ZoneTable::default(), Vec::new());
        lex::lines(text).for_each(|line| table.line(&line));
        let zones = table.finish(&mut notes);
        Capture { format: DarwinZprint.id(), os: Some(Os::Darwin), zones, notes, ..Capture::default() }
    }
}

/// Which table a line heads.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Columns {
    /// A debugger's: the names of its columns, in order.
    Debugger(Vec<Vec<u8>>),
    /// That of zprint(1).
    Tool,
}

impl Columns {
    fn of(line: &[u8]) -> Option<Columns> {
        let body = line.trim_ascii();
        if body.starts_with(b"zone name ") && lex::words(body).any(|word| word == b"inuse") {
            return Some(Columns::Tool);
        }
        // `ALLOC(  ELTS …)` is a number and three in parentheses.
        let names = body.split(|b| matches!(b, b' ' | b'\t' | b'(' | b')')).filter(|word| !word.is_empty());
        let names: Vec<Vec<u8>> = names.map(<[u8]>::to_vec).collect();
        let has = |name: &[u8]| names.iter().any(|word| word == name);
        let table = names.first().is_some_and(|first| first == b"ZONE") && has(b"TOT_SZ") && has(b"ELT_SZ") && has(b"NAME");
        table.then_some(Columns::Debugger(names))
    }
}

/// A table that is read line by line, between lines of other kinds.
#[derive(Default)]
pub struct ZoneTable {
    columns: Option<Columns>,
    zones: Vec<Zone>,
    damaged: Vec<u32>,
    cut: Vec<u32>,
}

impl ZoneTable {
    /// Takes one line.
    pub fn line(&mut self, line: &Line<'_>) {
        if let Some(columns) = Columns::of(line.bytes) {
            self.columns = Some(columns);
            return;
        }
        let body = line.bytes.trim_ascii();
        // Between gdb's rows stand no others; a prompt ends its table.
        let read = match &self.columns {
            None => return,
            Some(_) if body.is_empty() || body.iter().all(|b| *b == b'-') => return,
            Some(Columns::Debugger(names)) if body.starts_with(b"0x") => debugger_row(names, body),
            Some(Columns::Debugger(_)) => {
                self.columns = None;
                return;
            }
            Some(Columns::Tool) => tool_row(body),
        };
        let Some((zone, cut)) = read else { return self.damaged.push(line.number) };
        if cut {
            self.cut.push(line.number);
        }
        self.zones.push(Zone { line: line.number, ..zone });
    }

    /// The zones, in the order of the table. What could not be read, and what was too large, become notes.
    pub fn finish(self, notes: &mut Vec<Note>) -> Vec<Zone> {
        let more = |lines: &[u32]| if lines.len() > 1 { format!(" and {} more", lines.len() - 1) } else { String::new() };
        for (lines, what) in [
            (&self.damaged, "is no row of the table of zones above it; left out"),
            (&self.cut, "has a number that is too large; the largest possible is taken"),
        ] {
            notes.extend(lines.first().map(|first| Note::warning("", format!("line {first}{} {what}", more(lines)))));
        }
        self.zones
    }
}

/// Numbers of one row, and whether one of them was too large.
#[derive(Default)]
struct Numbers {
    cut: bool,
}

impl Numbers {
    fn decimal(&mut self, word: &[u8]) -> Option<u64> {
        let (value, cut) = lex::saturating(word)?;
        self.cut |= cut;
        Some(value)
    }

    /// `17182K`, `8K`, `3M`, `123`.
    fn size(&mut self, word: &[u8]) -> Option<u64> {
        let (digits, unit) = match word.split_last()? {
            (b'K', digits) => (digits, 10),
            (b'M', digits) => (digits, 20),
            (b'G', digits) => (digits, 30),
            _ => (word, 0),
        };
        let value = self.decimal(digits)?;
        self.cut |= value.leading_zeros() < unit;
        Some(value.saturating_mul(1 << unit))
    }
}

/// `0xZONE NUMBERS… NAME FLAGS` or `0xZONE NUMBERS… FLAGS NAME`.
fn debugger_row(names: &[Vec<u8>], body: &[u8]) -> Option<(Zone, bool)> {
    let words: Vec<&[u8]> = body.split(|b| matches!(b, b' ' | b'\t' | b'(' | b')')).filter(|word| !word.is_empty()).collect();
    let first_text = names.iter().position(|name| name == b"NAME" || name == b"FLAGS")?;
    let word = |name: &[u8]| names[..first_text].iter().position(|column| column == name).and_then(|at| words.get(at).copied());
    let mut numbers = Numbers::default();
    // gdb prints three of its sizes in hexadecimal; a script of the first lldb had its columns, but addresses of 18 digits and all decimal.
    let hex = names.get(1).is_some_and(|name| name == b"COUNT") && words[0].len() < 20;
    let mut number = |name: &[u8]| match word(name) {
        Some(word) if hex && matches!(name, b"TOT_SZ" | b"MAX_SZ") => lex::bare_hex(word),
        Some(word) => numbers.decimal(word),
        None => None,
    };
    let (bytes, element_size) = (number(b"TOT_SZ")?, number(b"ELT_SZ")?);
    let capacity = number(b"ALLOC_ELTS").or((element_size > 0).then(|| bytes / element_size.max(1)));
    let free = number(b"FREE_ELTS");
    let elements = number(b"COUNT").or_else(|| Some(capacity?.saturating_sub(free?)))?;
    let (most_bytes, allocs, frees) = (number(b"MAX_SZ"), number(b"TOT_ALLOC"), number(b"TOT_FREE"));
    let (name, flags) = name_and_flags(words.get(first_text..)?, names[first_text] == b"FLAGS")?;
    let address = Some(Avma(lex::bare_hex(words[0].strip_prefix(b"0x")?.trim_ascii_start()).or_else(|| long_address(words[0]))?));
    let zone = Zone { name, address, element_size, elements, capacity, bytes, most_bytes, allocs, frees, flags, line: 0 };
    Some((zone, numbers.cut))
}

/// `0x00ffffff8006306c50`: an address with zeros before it.
fn long_address(word: &[u8]) -> Option<u64> {
    let digits = word.strip_prefix(b"0x")?;
    let zeros = digits.iter().take_while(|b| **b == b'0').count();
    lex::bare_hex(&digits[zeros.min(digits.len().saturating_sub(1))..])
}

/// Name, which may have blanks in it, and flags on either side of it.
fn name_and_flags(words: &[&[u8]], flags_first: bool) -> Option<(String, Option<String>)> {
    let is_flags = |word: &&&[u8]| word.iter().all(|b| b"HCX$FROLAGKDPE.".contains(b));
    let count = |words: &mut dyn Iterator<Item = &&[u8]>| words.take_while(is_flags).count();
    let most = words.len().checked_sub(1)?;
    let flags = if flags_first { count(&mut words.iter()) } else { count(&mut words.iter().rev()).min(1) }.min(most);
    let (name, flags) =
        if flags_first { (&words[flags..], &words[..flags]) } else { (&words[..words.len() - flags], &words[words.len() - flags..]) };
    Some((lex::text(&name.join(&b' ')), Some(lex::text(&flags.concat()))))
}

/// `NAME ELEM CUR MAX #CUR #MAX INUSE ALLOC COUNT [FLAGS]`.
fn tool_row(body: &[u8]) -> Option<(Zone, bool)> {
    let mut words: Vec<&[u8]> = lex::words(body).collect();
    let is_number = |word: &&[u8]| word.first().is_some_and(u8::is_ascii_digit);
    let flags = words.pop_if(|word| !is_number(&&**word)).map(lex::text).unwrap_or_default();
    let numbers_at = words.len().checked_sub(8).filter(|at| *at > 0)?;
    let numbers = &words[numbers_at..];
    let mut read = Numbers::default();
    let none = |word: &[u8]| word.starts_with(b"----");
    let most_bytes = if none(numbers[2]) { None } else { Some(read.size(numbers[2])?) };
    let zone = Zone {
        name: lex::text(&words[..numbers_at].join(&b' ')),
        element_size: read.decimal(numbers[0])?,
        bytes: read.size(numbers[1])?,
        most_bytes,
        capacity: Some(read.decimal(numbers[3])?),
        elements: read.decimal(numbers[5])?,
        flags: Some(flags),
        ..Zone::default()
    };
    Some((zone, read.cut))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn zones(text: &str) -> (Vec<Zone>, usize) {
        let capture = DarwinZprint.parse(text.as_bytes());
        (capture.zones, capture.notes.len())
    }

    #[test]
    fn gdb_and_lldb_tables() {
        let head = "ZONE                   COUNT   TOT_SZ   MAX_SZ   ELT_SZ ALLOC_SZ         TOT_ALLOC         TOT_FREE NAME\n";
        let (found, notes) =
            zones(&format!("{head}0xffffff8006306c50   1620133  18b8000  3170000  16  1000  81006650  79386517 vm objects CX\n(gdb) x\n"));
        assert_eq!((found.len(), notes), (1, 0));
        let zone = &found[0];
        assert_eq!((zone.name.as_str(), zone.flags.as_deref(), zone.elements), ("vm objects", Some("CX"), 1_620_133));
        assert_eq!((zone.bytes, zone.most_bytes, zone.frees), (0x18b_8000, Some(0x317_0000), Some(79_386_517)));
        let head =
            "ZONE  TOT_SZ PAGE_COUNT ALLOC_ELTS  FREE_ELTS    FREE_SZ     ELT_SZ      ALLOC(  ELTS    PGS  WASTE)      FLAGS      NAME\n";
        let (found, _) = zones(&format!("{head}0xffffff8006306c50 8192 2 512 12 192 16 4096 256 1 0 C X $ kalloc.16 \n"));
        let zone = &found[0];
        assert_eq!((zone.name.as_str(), zone.flags.as_deref(), zone.elements, zone.capacity), ("kalloc.16", Some("CX$"), 500, Some(512)));
    }

    #[test]
    fn zprint_of_the_command_line() {
        let head = "zone name                   size        size        size      #elts       #elts       inuse   size  count    \n-----\n";
        let rows = "vm.objects 224 17182K 19683K 78547 89980 75842 8K 36  C\nkalloc.large 60651 95M ---- 1 ---- 1 60K 1\ndamaged row\n";
        let (found, notes) = zones(&format!("{head}{rows}"));
        assert_eq!((found.len(), notes), (2, 1));
        assert_eq!((found[0].bytes, found[0].most_bytes, found[0].flags.as_deref()), (17_182 << 10, Some(19_683 << 10), Some("C")));
        assert_eq!((found[1].bytes, found[1].most_bytes, found[1].elements), (95 << 20, None, 1));
        let (found, notes) = zones(&format!("{head}x 1 99999999999999999999K 1K 1 1 1 1K 1\n"));
        assert_eq!((found[0].bytes, notes), (u64::MAX, 1), "what is too large saturates and is said");
    }
}
