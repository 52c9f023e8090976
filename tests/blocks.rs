//! A text of two kinds is read as both: for any two fixtures of different formats, one behind the other, the stacks of each are found,
//! those of the second with their lines counted on. The score is printed (`cargo test --test blocks -- --nocapture`).

mod common;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};

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

/// What two texts hold that stand one behind the other.
fn both(a: &Input, b: &Input, lines: u32) -> Found {
    let mut found = Found::default();
    for (input, lines) in [(a, 0), (b, lines)] {
        let format = parse::by_id(&input.format).expect("a format");
        for part in format.parts(&input.bytes) {
            found.take(&part.capture, part.text.as_deref().unwrap_or(&input.bytes), lines, format.holds());
        }
    }
    found
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

#[test]
fn every_pair_of_fixtures_is_read_as_both() {
    let inputs: Vec<Input> = inputs().into_iter().filter(|input| std::str::from_utf8(&input.bytes).is_ok()).collect();
    let pairs: Vec<(&Input, &Input)> =
        inputs.iter().flat_map(|a| inputs.iter().map(move |b| (a, b))).filter(|(a, b)| a.format != b.format).collect();
    for (name, between) in
        [("one behind the other", &b""[..]), ("with a blank line between", b"\n"), ("with a heading between", b"\n## And then\n\n")]
    {
        let right = AtomicUsize::new(0);
        let failed: Vec<(&Input, &Input)> = pairs
            .par_iter()
            .copied()
            .filter(|(a, b)| {
                let (text, lines) = joined(&a.bytes, between, &b.bytes);
                let same = sorted(read(&text)) == sorted(both(a, b, lines));
                right.fetch_add(usize::from(same), Ordering::Relaxed);
                !same
            })
            .collect();
        let mut kinds: BTreeMap<(&str, &str), Vec<(&str, &str)>> = BTreeMap::new();
        for (a, b) in &failed {
            kinds.entry((&a.format, &b.format)).or_default().push((&a.name, &b.name));
        }
        println!("{name}: {} of {} pairs", right.into_inner(), pairs.len());
        for ((a, b), names) in &kinds {
            println!("  {a} + {b}: {} {:?}", names.len(), names[0]);
        }
    }
}
