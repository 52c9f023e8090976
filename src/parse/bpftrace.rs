//! Maps of bpftrace whose keys are stacks.
//!
//! ```text
//! @[
//!     tcp_transmit_skb+1308
//!     tcp_write_xmit+424
//! ]: 12
//! @stacks[iperf,
//!     0xffffffff8103ce3b
//! ,
//!     main+20
//! ]: 3
//! ```
//! A histogram (`hist`, `lhist`) has its rows below an empty value, `[1K, 2K)   3 |@@   |`; they are summed. `stats` writes
//! `count 5, average 12, total 60`. With `-f json` the map is an object whose keys are these lines, see `bpftrace_json.rs`.
//!
//! Offsets are decimal (bpftrace's reference guide); `kstack(perf)` puts the address in front, `kstack(raw)` writes nothing else. Nothing
//! in a map says whether a stack is `kstack` or `ustack`. In this order it is told by
//!
//! - addresses, files and demangled names of any of its frames: all frames of a stack are of one side;
//! - the command, where it was pasted too: `@[ustack, kstack] = count()`;
//! - the name of the map, `@ustack[`;
//! - its place: the first stack of a key is the kernel's, the others are the program's.

use rustc_hash::FxHashMap;

use super::lex::{self, Line};
use super::samples::{self, Offset, Samples};
use super::{Confidence, Format, Holds, Part, atos, bpftrace_json};
use crate::model::addr::Avma;
use crate::model::capture::{Capture, Os};
use crate::model::stack::{RawFrame, Stack};

/// The format.
pub struct Bpftrace;

impl Format for Bpftrace {
    fn id(&self) -> &'static str {
        "bpftrace"
    }
    fn about(&self) -> &'static str {
        "bpftrace maps with stacks as keys: @[kstack], @stacks[comm, kstack, ustack]"
    }
    fn holds(&self) -> Holds {
        Holds::Stacks
    }
    fn marks(&self) -> &'static [&'static [u8]] {
        &[b"@[", b"@stack", b"Attaching "]
    }
    fn begins(&self, _: &[u8], rest: &[u8]) -> bool {
        let mut lines = lex::lines(rest);
        let opened = lines.next().is_some_and(|line| opens(line.bytes).is_some());
        let attaches = || rest.starts_with(b"Attaching ") && super::first_line(rest).trim_ascii_end().ends_with(b"...");
        attaches() && self.sniff(rest) == Confidence::Certain || opened && lines.next().is_some_and(|line| frame(line.bytes).is_some())
    }

    fn sniff(&self, head: &[u8]) -> Confidence {
        if bpftrace_json::is_map(head) {
            return Confidence::Certain;
        }
        let (mut opened, mut frames) = (false, 0);
        for line in lex::lines(head) {
            if opens(line.bytes).is_some() {
                (opened, frames) = (true, 0);
            } else if opened && closes(line.bytes).is_some() && frames > 0 {
                return Confidence::Certain;
            } else if opened && frame(line.bytes).is_some() {
                frames += 1;
            }
        }
        // A key longer than what was shown.
        if opened && frames > 2 { Confidence::Likely } else { Confidence::No }
    }

    /// What is JSON says nothing in its own words.
    fn parse(&self, text: &[u8]) -> Capture {
        if bpftrace_json::maps(text).is_some() {
            return Capture { format: self.id(), os: Some(Os::Linux), listed: true, ..Capture::default() };
        }
        read(text)
    }

    fn parts(&self, text: &[u8]) -> Vec<Part> {
        let maps = bpftrace_json::maps(text);
        let capture = read(maps.as_deref().unwrap_or(text));
        vec![Part { capture, text: maps, ..Part::default() }]
    }
}

/// Reads maps as bpftrace writes them without `-f`.
fn read(text: &[u8]) -> Capture {
    let mut reader = Reader { declared: declared(text), ..Reader::default() };
    for line in lex::lines(text) {
        reader.line(&line);
    }
    reader.histogram();
    reader.samples.finish(Bpftrace.id())
}

/// What stands in front of the first stack of a key: `@`, `@name`, and other keys.
fn opens(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let line = line.trim_ascii_end();
    let open = memchr::memchr(b'[', line).filter(|_| line.starts_with(b"@"))?;
    let named = line[1..open].iter().all(|b| b.is_ascii_alphanumeric() || *b == b'_');
    let keys = &line[open + 1..];
    (named && (keys.is_empty() || keys.ends_with(b",")) && memchr::memmem::find(keys, b"]:").is_none()).then_some((&line[1..open], keys))
}

/// What stands in front of `]: N`, and the count; `None` where the rows of a histogram follow instead.
fn closes(line: &[u8]) -> Option<(&[u8], Option<u64>)> {
    let at = memchr::memmem::rfind(line, b"]:").filter(|_| !line.starts_with(b"@"))?;
    let value = line[at + 2..].trim_ascii();
    let stats = value.strip_prefix(b"count ").and_then(|rest| rest.split(|b| *b == b',').next());
    let count = if value.is_empty() { None } else { Some(lex::decimal(stats.unwrap_or(value))?) };
    Some((&line[..at], count))
}

/// The count of a histogram's row: `[1K, 2K)    3 |@@@   |`, `(..., 0)`, `[7]`.
fn bar(line: &[u8]) -> Option<u64> {
    let body = line.trim_ascii();
    let bars = memchr::memchr(b'|', body).filter(|_| matches!(body.first(), Some(b'[' | b'(')) && body.ends_with(b"|"))?;
    lex::words(&body[..bars]).last().and_then(lex::decimal)
}

/// For the maps that a command in `text` fills, whether each stack of their keys is the kernel's. What two commands say differently is
/// no help.
fn declared(text: &[u8]) -> FxHashMap<Vec<u8>, Vec<bool>> {
    let mut maps: FxHashMap<Vec<u8>, Vec<bool>> = FxHashMap::default();
    for line in lex::lines(text).filter(|line| memchr::memmem::find(line.bytes, b"stack").is_some() && opens(line.bytes).is_none()) {
        for at in memchr::memchr_iter(b'@', line.bytes) {
            let Some((name, sides)) = assigned(&line.bytes[at + 1..]) else { continue };
            let known = maps.entry(name.to_vec()).or_insert_with(|| sides.clone());
            if *known != sides {
                known.clear();
            }
        }
    }
    maps
}

/// The name and the stacks of `NAME[comm, ustack, kstack(3)] = `.
fn assigned(text: &[u8]) -> Option<(&[u8], Vec<bool>)> {
    const LONGEST: usize = 400;
    let text = &text[..text.len().min(LONGEST)];
    let open = memchr::memchr(b'[', text)?;
    let close = open + memchr::memchr(b']', &text[open..])?;
    let set = text[close + 1..].trim_ascii_start();
    if !(set.starts_with(b"=") || set.starts_with(b"++")) || !text[..open].iter().all(|b| b.is_ascii_alphanumeric() || *b == b'_') {
        return None;
    }
    let side = |word: &[u8]| match word {
        b"kstack" => Some(true),
        b"ustack" => Some(false),
        _ => None,
    };
    let words = text[open + 1..close].split(|b| !(b.is_ascii_alphanumeric() || *b == b'_'));
    let sides: Vec<bool> = words.filter_map(side).collect();
    (!sides.is_empty()).then_some((&text[..open], sides))
}

/// Reads a frame, and whose it is if it says.
fn frame(line: &[u8]) -> Option<(RawFrame, Option<bool>)> {
    let (body, place) = samples::location(line.trim_ascii());
    if lex::indent(line) < 1 || body.is_empty() || body.starts_with(b",") {
        return None;
    }
    let first = lex::words(body).next()?;
    let value = lex::hex(first).or_else(|| lex::bare_hex(first).filter(|_| first.len() >= 8 && first.len() < body.len()));
    let rest = if value.is_some() { body[first.len()..].trim_ascii() } else { body };
    let file = rest.strip_suffix(b")").and_then(|rest| match memchr::memmem::rfind(rest, b" (") {
        Some(at) => Some((&rest[..at], &rest[at + 2..])),
        None => rest.strip_prefix(b"(").map(|file| (&rest[..0], file)),
    });
    let (word, file) = file.map_or((rest, None), |(word, file)| (word, Some(file)));
    let mut frame = match (value, word.is_empty()) {
        (Some(value), true) => samples::address(line, first, value),
        (value, _) => RawFrame { address: value.map(Avma), text: atos::span(line, body), ..samples::symbol(line, word, Offset::Decimal)? },
    };
    // A name with blanks is C++'s, with a comma and a colon a histogram's.
    if word.contains(&b'|') || (value.is_none() && file.is_none() && word.contains(&b' ') && !word.contains(&b'(') && !word.contains(&b'<'))
    {
        return None;
    }
    frame.location = place.map(|place| atos::span(line, place)).unwrap_or_default();
    let path = file.filter(|file| file.contains(&b'/') && !file.ends_with(b".ko"));
    if let Some(file) = file {
        let name = file.strip_prefix(b"[").and_then(|name| name.strip_suffix(b"]")).unwrap_or(file);
        frame.module = if name == b"unknown" || name.starts_with(b"kernel") { frame.module } else { atos::span(line, name) };
    }
    let program = path.is_some() || samples::is_programs(word);
    let kernel = value.map(|value| value >= samples::KERNEL).or(program.then_some(false));
    Some((frame, kernel))
}

#[derive(Default)]
struct Reader {
    samples: Samples,
    open: bool,
    name: Option<String>,
    /// Keys that are no stacks.
    keys: Vec<String>,
    /// What commands say of the maps.
    declared: FxHashMap<Vec<u8>, Vec<bool>>,
    /// How many stacks of the key are over.
    parts: usize,
    /// Whose the stack is, when one of its frames told.
    side: Option<bool>,
    /// How many of its frames were taken as is usual, because none had told.
    untold: usize,
    /// Line where the key began.
    start: u32,
    /// What the rows of its histogram come to so far.
    rows: Option<u64>,
}

impl Reader {
    fn line(&mut self, line: &Line<'_>) {
        if let (Some(sum), Some(count)) = (self.rows, bar(line.bytes)) {
            self.rows = Some(sum.saturating_add(count));
            return;
        }
        self.histogram();
        if let Some((name, keys)) = opens(line.bytes) {
            self.close(0);
            (self.open, self.start) = (true, line.number);
            self.part(0);
            self.name = (!name.is_empty()).then(|| format!("@{}", lex::text(name)));
            self.take(keys);
        } else if !self.open {
        } else if let Some((keys, count)) = closes(line.bytes) {
            self.take(keys);
            self.open = false;
            match count {
                Some(count) => self.close(count),
                None => self.rows = Some(0),
            }
        } else if line.bytes.starts_with(b",") || line.bytes.trim_ascii_end().ends_with(b",") {
            // Of a stack without frames its comma is left.
            let over = line.bytes.starts_with(b",") || self.samples.is_open();
            self.part(self.parts + usize::from(over));
            self.take(line.bytes);
        } else if !self.samples.note(line)
            && let Some((frame, kernel)) = frame(line.bytes)
        {
            self.frame(line, frame, kernel);
        }
    }

    /// Ends the key whose histogram is over.
    fn histogram(&mut self) {
        if let Some(sum) = self.rows.take() {
            self.close(sum);
        }
    }

    /// Begins a stack of the key.
    fn part(&mut self, number: usize) {
        (self.parts, self.side, self.untold) = (number, None, 0);
    }

    fn frame(&mut self, line: &Line<'_>, frame: RawFrame, says: Option<bool>) {
        let usual = self.usual();
        if let (Some(kernel), None) = (says, self.side) {
            self.side = says;
            if kernel != usual {
                self.samples.turn(self.untold, kernel);
            }
        }
        self.untold += 1;
        self.samples.push(line, frame, says.or(self.side).unwrap_or(usual));
    }

    /// Whose a stack is of which no frame tells.
    fn usual(&self) -> bool {
        let name = self.name.as_deref().unwrap_or_default().trim_start_matches('@');
        let declared = self.declared.get(name.as_bytes()).and_then(|sides| sides.get(self.parts)).copied();
        let named = || match (name.contains("kstack"), name.contains("ustack")) {
            (true, false) => Some(true),
            (false, true) => Some(false),
            _ => None,
        };
        declared.or_else(named).unwrap_or(self.parts == 0)
    }

    /// Keeps keys between commas.
    fn take(&mut self, keys: &[u8]) {
        let keys = keys.split(|b| *b == b',').map(<[u8]>::trim_ascii).filter(|key| !key.is_empty());
        self.keys.extend(keys.map(lex::text));
    }

    fn close(&mut self, count: u64) {
        let keys = std::mem::take(&mut self.keys);
        let number = |key: &&String| key.parse::<i64>().is_ok();
        let stack = Stack {
            title: self.name.take(),
            process: keys.iter().find(|key| !number(key)).cloned(),
            pid: keys.iter().find(number).and_then(|key| key.parse().ok()),
            line: self.start,
            count,
            ..Stack::default()
        };
        self.samples.close(stack);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_every_form_are_read() {
        let text = b"Attaching 1 probe...\n@[\n    tcp_transmit_skb+1308\n    tcp_write_xmit+424\n]: 12\n\
            @stacks[iperf, 7,\n    0xffffffff8103ce3b\n,\n    main+20\n]: 3\n@[\n    a+1\n, \n    f+2 (/bin/x)\n, two words]: 5\n";
        assert_eq!(Bpftrace.sniff(text), Confidence::Certain);
        let capture = Bpftrace.parse(text);
        let seen: Vec<_> = capture
            .stacks
            .iter()
            .map(|stack| (stack.count, stack.process.as_deref(), stack.pid, stack.frames.len(), stack.user_frames.len()))
            .collect();
        assert_eq!(seen, [(12, None, None, 2, 0), (3, Some("iperf"), Some(7), 1, 1), (5, Some("two words"), None, 1, 1)]);
        assert_eq!(capture.stacks[0].frames[0].offset, Some(1308));
    }

    /// For each stack the kernel's functions and the program's, innermost first.
    fn sides(text: &str) -> Vec<(String, String)> {
        let capture = Bpftrace.parse(text.as_bytes());
        let name = |frame: &RawFrame| match frame.symbol.of(text.as_bytes(), frame.line_start) {
            b"" => frame.address.map_or(String::new(), |address| address.to_string()),
            name => lex::text(name),
        };
        let names = |frames: &[RawFrame]| frames.iter().map(name).collect::<Vec<_>>().join(" ");
        capture.stacks.iter().map(|stack| (names(&stack.frames), names(&stack.user_frames))).collect()
    }

    fn is(kernel: &str, user: &str) -> (String, String) {
        (kernel.to_string(), user.to_string())
    }

    #[test]
    fn one_frame_tells_of_its_whole_stack() {
        let low = "@[\n    read+18\n    0x55d0c0a01000\n    main+4\n]: 2\n";
        assert_eq!(sides(low), [is("", "read 0x55d0c0a01000 main")]);
        let demangled = "@[\n    write+18\n    std::foo(int)+7\n]: 2\n";
        assert_eq!(sides(demangled), [is("", "write std::foo(int)")]);
        let turned = "@[\n    read+18 (/lib/libc.so.6)\n, \n    schedule+1\n    0xffffffff8103ce3b\n]: 2\n";
        assert_eq!(sides(turned), [is("schedule 0xffffffff8103ce3b", "read")]);
        let capture = Bpftrace.parse(turned.as_bytes());
        assert_eq!(capture.stacks[0].frames[0].lookup, crate::model::stack::Lookup::Exact);
    }

    #[test]
    fn commands_and_names_of_maps_tell_too() {
        let maps = "@[\n    read+18\n, \n    schedule+1\n]: 2\n@s[dd, \n    a+1\n]: 1\n";
        assert_eq!(sides(maps), [is("read", "schedule"), is("a", "")]);
        let command = "# bpftrace -e 'profile:hz:99 { @[ustack(5), kstack] = count(); @s[comm, ustack] = sum(args.x); }'\n";
        assert_eq!(sides(&format!("{command}{maps}")), [is("schedule", "read"), is("", "a")]);
        // Two that differ say nothing.
        let both = format!("{command}# bpftrace -e 'p {{ @[kstack, ustack]++ }}'\n{maps}");
        assert_eq!(sides(&both)[0], is("read", "schedule"));
        assert_eq!(sides("@ustacks[\n    read+18\n]: 2\n@kstack[\n    read+18\n]: 2\n"), [is("", "read"), is("read", "")]);
    }

    #[test]
    fn a_stack_without_frames_keeps_its_place() {
        assert_eq!(sides("@[\n, \n    main+20\n]: 3\n"), [is("", "main")]);
        assert_eq!(sides("@[\n    f+20\n, \n]: 3\n"), [is("f", "")]);
    }

    #[test]
    fn histograms_are_summed_and_stats_counted() {
        let text =
            b"@lat[\n    zio_wait+1\n    dmu_read+99\n]: \n[1K, 2K)               3 |@@@@     |\n[2K, 4K)              12 |@@@@@@@@@|\n\n\
            @s[zio, 12,\n    f+1\n]: count 5, average 12, total 60\n@h[\n    g+1\n]:\n(..., 0)    2 |@|\n";
        assert_eq!(Bpftrace.sniff(text), Confidence::Certain);
        let capture = Bpftrace.parse(text);
        let seen: Vec<_> = capture.stacks.iter().map(|stack| (stack.count, stack.process.as_deref(), stack.frames.len())).collect();
        assert_eq!((seen, capture.notes.len()), (vec![(15, None, 2), (5, Some("zio"), 1), (2, None, 1)], 0));
    }

    #[test]
    fn maps_without_stacks_are_none() {
        assert_eq!(Bpftrace.sniff(b"@[bash]: 12\n@us:\n[1]                     3 |@@@   |\n"), Confidence::No);
    }
}
