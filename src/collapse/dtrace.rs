//! Aggregations of `stack()`: what comes before the first empty line is the heading, frames follow innermost first, then their count.

use std::borrow::Cow;

use rayon::prelude::*;
use rustc_hash::FxHashMap;

use super::{Counts, Known, add, merged, pieces, tidy};
use crate::parse::dtrace::{DISTRIBUTION, is_row};
use crate::parse::lex;

/// Whether `text` is an aggregation of counts and nothing else: collapsers take histograms and the rows of probes for frames.
pub fn fits(text: &[u8]) -> bool {
    let (body, _) = body(text);
    let is_count = |line: &[u8]| std::str::from_utf8(line).is_ok_and(|line| count(line).is_some());
    let is_other = |line: &[u8]| !line.starts_with(b"              ") && is_row(line);
    let counted = lex::lines(body).any(|line| is_count(line.bytes));
    counted
        && memchr::memmem::find(body, DISTRIBUTION).is_none()
        && !pieces(body, rayon::current_num_threads() * 4, |_| true)
            .par_iter()
            .any(|part| lex::lines(part).any(|line| is_other(line.bytes)))
}

pub fn collapse(text: &[u8], known: Option<&Known>) -> Counts {
    let (body, first) = body(text);
    if known.is_some() {
        return merged(vec![piece(body, first, known)]);
    }
    let parts = pieces(body, rayon::current_num_threads() * 4, |line| count(&String::from_utf8_lossy(line)).is_some());
    merged(parts.into_par_iter().map(|part| piece(part, 0, None)).collect())
}

/// What follows the heading, and how many lines that has.
fn body(text: &[u8]) -> (&[u8], u32) {
    let blank = lex::lines(text).find(|line| String::from_utf8_lossy(line.bytes).trim().is_empty());
    blank.map_or((&[], 0), |line| (&text[super::line_end(text, line.start as usize)..], line.number))
}

/// The count that a line says alone.
fn count(line: &str) -> Option<u64> {
    line.trim().parse().ok()
}

fn piece(text: &[u8], first: u32, known: Option<&Known>) -> FxHashMap<String, u64> {
    let mut counts = FxHashMap::default();
    // Innermost first, and the line where the stack begins.
    let (mut stack, mut start): (Vec<String>, u32) = (Vec::new(), 0);
    for line in lex::lines(text) {
        let number = line.number.saturating_add(first);
        let words = String::from_utf8_lossy(line.bytes);
        let words = words.trim();
        if words.is_empty() {
            continue;
        }
        if let Some(count) = count(words) {
            let wanted = known.is_none_or(|known| known.stacks.contains(&start));
            if !stack.is_empty() && wanted {
                stack.reverse();
                add(&mut counts, &stack.join(";"), count);
            }
            stack.clear();
            continue;
        }
        if stack.is_empty() {
            start = number;
        }
        match known.and_then(|known| known.names(number)) {
            Some(names) => stack.extend(names.iter().rev().cloned()),
            None => frame(words, &mut stack),
        }
    }
    counts
}

/// Appends the frame of a line, what was inlined into it first.
fn frame(line: &str, stack: &mut Vec<String>) {
    let mut name = &line[..line.rfind('+').unwrap_or(line.len())];
    if line.contains("::") {
        name = without_arguments(name);
    }
    let name = if name.is_empty() { Cow::Borrowed("-") } else { rust(name) };
    let part = |name: &str| if line.contains(';') { name.replace(';', ":") } else { name.to_string() };
    if !line.contains("->") {
        return stack.push(part(&name));
    }
    let parts = name.split("->").enumerate();
    let written = |(n, name): (usize, &str)| part(name.trim_start_matches('L')) + if n > 0 { "_[i]" } else { "" };
    let parts: Vec<String> = parts.map(written).collect();
    stack.extend(parts.into_iter().rev());
}

/// A C++ name up to the last parenthesis or angle bracket behind its first scope.
fn without_arguments(name: &str) -> &str {
    let Some(scope) = name.find("::") else { return name };
    let behind = scope + 2;
    name[behind..].rfind(['(', '<']).map_or(name, |at| &name[..behind + at])
}

fn rust(frame: &str) -> Cow<'_, str> {
    let Some((module, name)) = frame.split_once('`') else { return Cow::Borrowed(frame) };
    match tidy::rust(name.trim_end()) {
        Cow::Owned(name) => Cow::Owned(format!("{module}`{name}")),
        Cow::Borrowed(_) => Cow::Borrowed(frame),
    }
}
