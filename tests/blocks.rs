//! A text of two kinds is read as both: for any two fixtures of different formats, one behind the other, the stacks of each are found,
//! those of the second with their lines counted on. The score is printed (`cargo test --test blocks -- --nocapture`).

mod common;

use common::inputs::{Input, inputs};
use kstack::model::capture::Capture;
use kstack::model::stack::{RawFrame, Stack};
use kstack::parse::{self, Holds, blocks};
use rayon::prelude::*;

/// A stack as what it says of itself: line, kind, count, and its frames with line, address and name.
type Shape = (u32, &'static str, u64, Vec<(u32, Option<u64>, String)>);

fn shape(stack: &Stack, text: &[u8], lines: u32) -> Shape {
    let frame = |frame: &RawFrame| {
        let name = String::from_utf8_lossy(frame.symbol.of(text, frame.line_start)).into_owned();
        (frame.line + lines, frame.address.map(|address| address.0), name)
    };
    let frames = stack.frames.iter().chain(&stack.user_frames).map(frame).collect();
    (stack.line + lines, stack.kind.name(), stack.count, frames)
}

/// What a capture is read for, its lines moved by `lines`.
#[derive(PartialEq, Eq, Debug, Default)]
struct Found {
    stacks: Vec<Shape>,
    /// Line and name.
    images: Vec<(u32, String)>,
    /// Line and name.
    zones: Vec<(u32, String)>,
}

impl Found {
    fn take(&mut self, capture: &Capture, text: &[u8], lines: u32, holds: Holds) {
        self.stacks.extend(capture.stacks.iter().map(|stack| shape(stack, text, lines)));
        if holds == Holds::LoadMap {
            self.images.extend(capture.images.iter().map(|image| (image.line + lines, image.name.clone())));
        }
        self.zones.extend(capture.zones.iter().map(|zone| (zone.line + lines, zone.name.clone())));
    }
}

/// What `text` holds, however it is read: the command's own way.
fn read(text: &[u8]) -> Found {
    let mut found = Found::default();
    let whole = parse::detect(text);
    match blocks::of(text, whole) {
        Some(blocks) => blocks.iter().for_each(|block| {
            block.parts.iter().for_each(|part| found.take(&part.capture, part.text.as_deref().unwrap_or(text), 0, block.holds))
        }),
        None => whole.iter().for_each(|format| {
            format.parts(text).iter().for_each(|part| found.take(&part.capture, part.text.as_deref().unwrap_or(text), 0, format.holds()))
        }),
    }
    found
}

/// What an input holds by itself.
fn alone(input: &Input) -> Found {
    let format = parse::by_id(&input.format).expect("a format");
    let mut found = Found::default();
    for part in format.parts(&input.bytes) {
        found.take(&part.capture, part.text.as_deref().unwrap_or(&input.bytes), 0, format.holds());
    }
    found
}

/// What two texts hold that stand one behind the other.
fn both(a: &Found, b: &Found, lines: u32) -> Found {
    let frame = |(line, address, name): &(u32, Option<u64>, String)| (line + lines, *address, name.clone());
    let stack = |(line, kind, count, frames): &Shape| (line + lines, *kind, *count, frames.iter().map(frame).collect());
    let named = |(line, name): &(u32, String)| (line + lines, name.clone());
    Found {
        stacks: a.stacks.iter().cloned().chain(b.stacks.iter().map(stack)).collect(),
        images: a.images.iter().cloned().chain(b.images.iter().map(named)).collect(),
        zones: a.zones.iter().cloned().chain(b.zones.iter().map(named)).collect(),
    }
}

fn sorted(mut found: Found) -> Found {
    found.stacks.sort();
    found.images.sort();
    found.zones.sort();
    found
}

/// One text behind another, with what stands between them, and the lines before the second.
fn joined(a: &[u8], between: &[u8], b: &[u8]) -> (Vec<u8>, u32) {
    let mut text = a.to_vec();
    if !text.ends_with(b"\n") {
        text.push(b'\n');
    }
    text.extend_from_slice(between);
    let lines = text.iter().filter(|b| **b == b'\n').count() as u32;
    text.extend_from_slice(b);
    (text, lines)
}

/// Pairs that are not read as both, beginnings of their names, and why.
const EXCEPTIONS: &[(&str, &str, &str)] = &[
    (
        "bcc/",
        "linux-log/dmesg-json",
        "dmesg -J begins with words that are indented as the frames of bcc are; nothing says that its stacks are over",
    ),
    ("bcc/", "crash-bt/session", "the head of crash's session is indented as the frames of bcc are, and goes to them"),
    ("kmemleak/", "page-owner/stacks", "the first stack has no heading, and is that of the object before it"),
    ("darwin-panic/quoted", "linux-log/prefixes", "the log begins with a quotation, as the panic does that ends there"),
    ("go-trace/panic", "freebsd/", "both systems say `panic: `, and the BSD's reader takes the line: the goroutine is a thread then"),
    ("", "dtrace/quiet", "frames between empty lines and nothing else: no line of it says that it begins"),
    ("dtrace/quiet", "", "as behind it: only a text that has nothing else is taken for stacks of probes without rows"),
    ("crash-bt/session", "bcc/", "the session has a crash of its own, whose reader goes on over frames without addresses"),
    ("openbsd/mips64", "freebsd/", "a session in ddb goes on where no prompt of another begins"),
    ("go-trace/panic", "netbsd/", "as with FreeBSD"),
    ("go-trace/panic", "openbsd/", "as with FreeBSD"),
];

fn is_exception(a: &str, b: &str) -> bool {
    EXCEPTIONS.iter().any(|(first, second, _)| a.starts_with(first) && b.starts_with(second))
}

/// Pairs of formats that are one document are left out: nothing can stand before or behind it; and addresses in any text, which are what is
/// left where no format is found.
#[test]
fn every_pair_of_fixtures_is_read_as_both() {
    let document = |input: &Input| input.format == "addresses" || parse::by_id(&input.format).is_some_and(|format| format.is_document());
    let inputs: Vec<(Input, Found)> = inputs()
        .into_iter()
        .filter(|input| !document(input))
        .map(|input| (alone(&input), input))
        .map(|(found, input)| (input, found))
        .collect();
    let pairs: Vec<_> = inputs.iter().flat_map(|a| inputs.iter().map(move |b| (a, b))).filter(|(a, b)| a.0.format != b.0.format).collect();
    assert!(pairs.len() > 5_000, "the fixtures are there");
    // Every third pair with a heading between, the others with nothing: all of them both ways take minutes.
    let failed: Vec<_> = pairs
        .par_iter()
        .enumerate()
        .filter(|(n, ((a, in_a), (b, in_b)))| {
            let between: &[u8] = if n % 3 == 0 { b"\n## And then\n\n" } else { b"" };
            let (text, lines) = joined(&a.bytes, between, &b.bytes);
            sorted(read(&text)) != sorted(both(in_a, in_b, lines))
        })
        .map(|(_, (a, b))| (a.0.name.as_str(), b.0.name.as_str()))
        .collect();
    println!("{} of {} pairs are read as both", pairs.len() - failed.len(), pairs.len());
    for (a, b, why) in EXCEPTIONS {
        println!("  not {a} + {b}: {why}");
    }
    let unexpected: Vec<_> = failed.iter().filter(|(a, b)| !is_exception(a, b)).collect();
    assert!(unexpected.is_empty(), "{unexpected:#?}");
}

/// What is quoted in a mail or indented in Markdown is found in its place.
#[test]
fn every_fixture_is_found_in_a_quotation() {
    let (mut seen, mut wrong) = (0, Vec::new());
    for input in inputs().into_iter().filter(|input| input.format.starts_with("linux-log") || QUOTABLE.contains(&input.format.as_str())) {
        let own = alone(&input);
        let text = String::from_utf8_lossy(&input.bytes);
        let quoted: String = text.lines().map(|line| format!("> {line}\n")).collect();
        let whole = format!("He wrote:\n{quoted}Why?\n");
        seen += 1;
        if sorted(read(whole.as_bytes())) != sorted(both(&Found::default(), &own, 1)) {
            wrong.push(input.name);
        }
    }
    println!("{} of {seen} quoted fixtures are read as they are alone", seen - wrong.len());
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Formats whose blocks people quote.
const QUOTABLE: [&str; 10] = [
    "gdb-bt",
    "crash-bt",
    "drgn-bt",
    "freebsd",
    "linux-proc-stack",
    "freebsd-kldstat",
    "linux-proc-modules",
    "sdb-stacks",
    "perf-script",
    "kmemleak",
];
