//! Profiles folded straight from their text: each distinct stack, root first, and how often it was seen.
//!
//! The lines are those of inferno's collapsers with their default options (inferno 0.12), which are those of FlameGraph's
//! `stackcollapse-*.pl`; `tests/collapse.rs` compares the two. A profile of 100 MB has millions of frames: nothing is kept of it but the
//! distinct stacks. What symbol files know of a frame comes in by its line number.

mod dtrace;
mod folded;
mod perf;
pub mod tidy;

use std::collections::BTreeMap;

use rustc_hash::{FxHashMap, FxHashSet};

use crate::parse::Format;

/// Distinct stacks, frames joined by semicolons, and their counts.
pub type Counts = BTreeMap<String, u64>;

/// What is known of a profile that was parsed too.
#[derive(Debug, Default)]
pub struct Known {
    /// Lines of the samples that are wanted, where the reader says that a stack begins.
    pub stacks: FxHashSet<u32>,
    /// For the line of a frame, an index into `names`.
    pub frames: FxHashMap<u32, u32>,
    /// What a frame is called, outermost first: the function, then what was inlined into it.
    pub names: Vec<Vec<String>>,
}

impl Known {
    fn names(&self, line: u32) -> Option<&[String]> {
        self.frames.get(&line).and_then(|at| self.names.get(*at as usize)).map(Vec::as_slice)
    }
}

/// How a format is folded: its text, and what is known of its stacks, if that matters.
pub type Collapse = fn(&[u8], Option<&Known>) -> Counts;

/// How `text` of that format is folded; `None` for formats that have no form of their own, and for text that has more than that form.
pub fn of(format: &str, text: &[u8]) -> Option<Collapse> {
    match format {
        id if id == crate::parse::perf_script::PerfScript.id() => Some(perf::collapse),
        id if id == crate::parse::dtrace::Dtrace.id() => dtrace::fits(text).then_some(dtrace::collapse as Collapse),
        id if id == crate::parse::folded::Folded.id() => Some(folded::collapse),
        _ => None,
    }
}

/// Adds `count` to what `counts` has for `stack`. Only a new stack costs a string.
fn add(counts: &mut FxHashMap<String, u64>, stack: &str, count: u64) {
    match counts.get_mut(stack) {
        Some(sum) => *sum = sum.saturating_add(count),
        None => drop(counts.insert(stack.to_string(), count)),
    }
}

/// All of `parts` in one.
fn merged(parts: Vec<FxHashMap<String, u64>>) -> Counts {
    let mut all: FxHashMap<String, u64> = FxHashMap::default();
    for part in parts {
        if all.is_empty() {
            all = part;
            continue;
        }
        for (stack, count) in part {
            let sum = all.entry(stack).or_default();
            *sum = sum.saturating_add(count);
        }
    }
    all.into_iter().collect()
}

/// Cuts `text` behind lines for which `ends` holds, into about `pieces` parts of like size.
fn pieces(text: &[u8], pieces: usize, ends: impl Fn(&[u8]) -> bool) -> Vec<&[u8]> {
    let size = (text.len() / pieces.max(1)).max(SMALLEST_PIECE);
    let (mut list, mut rest) = (Vec::new(), text);
    while rest.len() > size {
        let mut at = line_end(rest, size);
        while at < rest.len() {
            let end = line_end(rest, at);
            let found = ends(&rest[at..end]);
            at = end;
            if found {
                break;
            }
        }
        list.push(&rest[..at]);
        rest = &rest[at..];
    }
    list.push(rest);
    list
}

/// Pieces below this are not worth a thread, in bytes.
const SMALLEST_PIECE: usize = 1 << 20;

/// One past the line feed that ends the line at `at`.
fn line_end(text: &[u8], at: usize) -> usize {
    memchr::memchr(b'\n', &text[at..]).map_or(text.len(), |n| at + n + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_end_where_a_sample_ends_and_are_the_text() {
        let text = "head\n\tframe\n\tframe\n\n".repeat(200_000).into_bytes();
        let parts = pieces(&text, 4, <[u8]>::is_empty);
        assert_eq!(parts.concat(), text);
        let parts = pieces(&text, 4, |line| line.trim_ascii().is_empty());
        assert_eq!(parts.concat(), text);
        assert!(parts.len() >= 4 && parts.iter().all(|part| part.starts_with(b"head\n") && part.ends_with(b"\n\n")), "{}", parts.len());
    }
}
