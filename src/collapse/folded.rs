//! Folded lines again: equal stacks counted together. Lines without a count are none.

use rustc_hash::FxHashMap;

use super::{Counts, Known, add, merged};
use crate::parse::folded::parts;
use crate::parse::lex;

pub fn collapse(text: &[u8], known: Option<&Known>) -> Counts {
    let mut counts = FxHashMap::default();
    for line in lex::lines(text).filter(|line| known.is_none_or(|known| known.stacks.contains(&line.number))) {
        if let Some((stack, count)) = parts(line.bytes) {
            add(&mut counts, &String::from_utf8_lossy(stack), count);
        }
    }
    merged(vec![counts])
}
