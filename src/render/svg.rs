//! Flame graphs as interactive SVG, drawn by inferno.

use std::collections::BTreeMap;
use std::io::{self, Write};

use inferno::flamegraph::color::{Color, PaletteMap};
use inferno::flamegraph::{Options, TextTruncateDirection, from_lines};

use super::sanitize::visible_line;

/// A flame graph.
#[derive(Clone, Copy, Debug)]
pub struct Graph<'a> {
    /// Folded stacks, with two counts each for a differential graph.
    pub lines: &'a [String],
    /// The module of each frame; frames of one module have one hue.
    pub modules: &'a BTreeMap<String, String>,
    /// The heading.
    pub title: &'a str,
    /// What it was made from.
    pub subtitle: &'a str,
}

/// Counts that add up to more are no counts of threads, and inferno would not survive them.
const MOST: u64 = 1 << 53;

/// Writes the graph. The same lines make the same bytes.
///
/// # Errors
/// When writing fails, or the counts are too large to be drawn.
pub fn write(graph: &Graph<'_>, out: &mut dyn Write) -> io::Result<()> {
    let counts = graph.lines.iter().flat_map(|line| line.rsplit(' ').take(2)).filter_map(|count| count.parse::<u64>().ok());
    if counts.fold(0, u64::saturating_add) > MOST {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the counts of the stacks are too large to be drawn"));
    }
    let mut palette = palette(graph.modules);
    let mut options = Options::default();
    options.title = visible_line(graph.title);
    options.subtitle = Some(visible_line(graph.subtitle)).filter(|text| !text.is_empty());
    options.count_name = "threads".to_string();
    options.deterministic = true;
    options.text_truncate_direction = TextTruncateDirection::Right;
    options.palette_map = Some(&mut palette);
    match from_lines(&mut options, graph.lines.iter().map(String::as_str), &mut *out) {
        // Without anything to draw, inferno has written a picture that says so.
        Err(error) if error.kind() == io::ErrorKind::InvalidData => Ok(()),
        done => done,
    }
}

/// The kernel in the usual warm colours, every module in a hue of its own.
fn palette(modules: &BTreeMap<String, String>) -> PaletteMap {
    let mut palette = PaletteMap::default();
    for (frame, module) in modules {
        let shade = hash(frame);
        let base = if module.is_empty() { [225, 140, 50] } else { HUES[hash(module) as usize % HUES.len()] };
        let [r, g, b] = base.map(|part: u8| part.saturating_add((shade % 30) as u8));
        palette.insert(frame, Color { r, g, b });
    }
    palette
}

/// Light enough for black letters, and far from the kernel's orange.
const HUES: [[u8; 3]; 8] =
    [[110, 170, 225], [110, 190, 110], [190, 140, 220], [90, 190, 185], [225, 140, 170], [170, 180, 90], [140, 150, 225], [190, 165, 140]];

/// FNV-1a: the same on every machine.
fn hash(text: &str) -> u32 {
    text.bytes().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}
