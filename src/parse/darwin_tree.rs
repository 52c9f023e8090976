//! A call tree becomes stacks: one for each path from the root to a line in which samples ended.
//!
//! The count of a line covers what it called, so the samples that ended in it are its count without those of the lines below it.

use std::mem;

use super::darwin_tree_line::TreeLine;
use super::lex::Line;
use crate::model::stack::{Lookup, RawFrame, Span};

/// Where samples ended.
#[derive(Debug)]
pub struct Path {
    /// How many.
    pub count: u64,
    /// Kernel frames, innermost first.
    pub kernel: Vec<RawFrame>,
    /// User frames, innermost first.
    pub user: Vec<RawFrame>,
    /// Byte offset of the innermost line, and what it says of the thread's state there.
    pub state: (u64, Span),
}

/// The tree of one thread, while its lines come.
#[derive(Default)]
pub struct Tree {
    open: Vec<Node>,
    done: Vec<Path>,
    /// Samples of the thread as its heading says; 0 where it does not.
    samples: u64,
    roots: u64,
    /// Lines whose branches have more samples than they have themselves.
    pub odd: Vec<u32>,
}

struct Node {
    line: TreeLine,
    /// Samples of the lines directly below.
    below: u64,
}

impl Tree {
    /// A tree of that many samples; 0 where nobody says.
    pub fn new(samples: u64) -> Tree {
        Tree { samples, ..Tree::default() }
    }

    /// Whether no line has come.
    pub fn is_empty(&self) -> bool {
        self.open.is_empty() && self.done.is_empty()
    }

    /// Takes the next line.
    pub fn push(&mut self, line: &Line<'_>, mut read: TreeLine) {
        (read.frame.line, read.frame.line_start) = (line.number, line.start);
        if self.is_nested(&read) {
            // Deeper than its column says.
            read.column += 1;
        }
        while self.open.last().is_some_and(|node| node.line.column >= read.column) {
            self.pop();
        }
        match self.open.last_mut() {
            Some(parent) => parent.below = parent.below.saturating_add(read.count),
            None => self.roots = self.roots.saturating_add(read.count),
        }
        self.open.push(Node { line: read, below: 0 });
    }

    /// The latest line's frame, which location lines below it belong to.
    pub fn latest(&mut self) -> Option<&mut RawFrame> {
        self.open.last_mut().map(|node| &mut node.line.frame)
    }

    /// A line that stands beside the only root although that has all samples of the thread: its indentation was lost where the tree was
    /// pasted.
    fn is_nested(&self, read: &TreeLine) -> bool {
        let [root] = &self.open[..] else { return false };
        self.samples > 0 && self.roots == self.samples && root.line.column == read.column && root.line.count == read.count
    }

    fn pop(&mut self) {
        let Some(node) = self.open.last() else { return };
        if node.below > node.line.count {
            self.odd.push(node.line.frame.line);
        }
        if node.line.count > node.below {
            let count = node.line.count - node.below;
            let state = (node.line.frame.line_start, node.line.state);
            let (kernel, user) = (self.frames(true), self.frames(false));
            self.done.push(Path { count, kernel, user, state });
        }
        self.open.pop();
    }

    /// The open lines from the innermost outwards. That one was sampled, the others are in calls.
    fn frames(&self, kernel: bool) -> Vec<RawFrame> {
        let lookup = |depth: usize| if depth == 0 { Lookup::Exact } else { Lookup::Return };
        let lines = self.open.iter().rev().enumerate().filter(|(_, node)| node.line.kernel == kernel);
        lines.map(|(depth, node)| RawFrame { lookup: lookup(depth), ..node.line.frame }).collect()
    }

    /// All paths. Those that end in a line come behind those through it.
    pub fn finish(&mut self) -> Vec<Path> {
        while !self.open.is_empty() {
            self.pop();
        }
        mem::take(&mut self.done)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{darwin_tree_line::tree_line, lex};
    use super::*;

    /// Count and lines of each path, kernel and user frames apart.
    type Lines = (u64, Vec<u32>, Vec<u32>);

    /// The paths, and the odd lines.
    fn paths(samples: u64, text: &str) -> (Vec<Lines>, Vec<u32>) {
        let mut tree = Tree::new(samples);
        for line in lex::lines(text.as_bytes()) {
            tree.push(&line, tree_line(line.bytes).unwrap());
        }
        let lines = |frames: &[RawFrame]| frames.iter().map(|frame| frame.line).collect();
        let found = tree.finish().iter().map(|path| (path.count, lines(&path.kernel), lines(&path.user))).collect();
        (found, tree.odd)
    }

    #[test]
    fn branches_share_their_trunk_and_inner_lines_keep_their_own_samples() {
        let text = "  10  main (zfs) [0x10]\n    10  ioctl (libc) [0x11]\n     *7  a (kernel) [0x1]\n       *4  b (kernel) [0x2]\n       *2  c (kernel) [0x3]\n";
        let (found, odd) = paths(10, text);
        let expected = vec![(4, vec![4, 3], vec![2, 1]), (2, vec![5, 3], vec![2, 1]), (1, vec![3], vec![2, 1]), (3, vec![], vec![2, 1])];
        assert_eq!((found, odd), (expected, vec![]));
    }

    #[test]
    fn a_line_beside_a_root_that_has_all_samples_is_below_it() {
        let text = " *9  a (kernel) [0x1]\n *9  b (kernel) [0x2]\n   *9  c (kernel) [0x3]\n";
        assert_eq!(paths(9, text).0, [(9, vec![3, 2, 1], vec![])]);
        assert_eq!(paths(0, text).0, [(9, vec![1], vec![]), (9, vec![3, 2], vec![])]);
    }

    #[test]
    fn counts_that_do_not_add_up_are_told() {
        let (found, odd) = paths(0, " *2  a (kernel) [0x1]\n   *3  b (kernel) [0x2]\n");
        assert_eq!((found.len(), odd), (1, vec![1]));
    }
}
