//! Lines of a macOS panic that were one line before somebody wrapped them.

use super::darwin_panic_view::View;

/// Pieces of lines that belong together, and where each came from.
#[derive(Default, Debug)]
pub struct Joined {
    /// The pieces one behind the other.
    pub bytes: Vec<u8>,
    /// Where in `bytes` a piece begins, and where in the text.
    pub pieces: Vec<(usize, usize)>,
}

impl Joined {
    /// Appends a line, with a blank before it if one was lost.
    pub fn push(&mut self, view: &View<'_>, blank: bool) {
        self.bytes.extend(blank.then_some(b' '));
        self.pieces.push((self.bytes.len(), view.start as usize + view.at));
        self.bytes.extend(view.body);
    }

    /// Where in the text byte `at` stands; a blank that was put in stands before what follows it.
    pub fn place(&self, at: usize) -> usize {
        let piece = self.pieces.iter().rev().find(|(from, _)| *from <= at).or(self.pieces.first());
        piece.map_or(0, |(from, start)| start + at.saturating_sub(*from))
    }
}

/// A line, and perhaps the next one.
pub fn joined(view: &View<'_>, next: Option<&View<'_>>, blank: bool) -> Joined {
    let mut joined = Joined::default();
    joined.push(view, false);
    next.iter().for_each(|next| joined.push(next, blank));
    joined
}
