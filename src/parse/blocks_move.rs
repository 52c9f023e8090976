//! What a reader found in a piece of a text, brought to the places that it has in the whole.

use rustc_hash::FxHashMap;

use crate::model::capture::Capture;
use crate::model::frames::Frames;
use crate::model::lock::{Annotations, Lock, Wait};
use crate::model::stack::{RawFrame, Span, Stack};

/// Where what a reader was given stands in the whole text.
#[derive(Clone, Debug)]
pub(super) struct Map {
    /// For each line of a quotation, else for the first alone: where it begins in what was given, where in the whole, and where there
    /// what is quoted begins.
    lines: Vec<(usize, usize, usize)>,
    quoted: bool,
}

impl Map {
    /// Of a piece that begins at `at`.
    pub fn plain(at: usize) -> Map {
        Map { lines: vec![(0, at, at)], quoted: false }
    }

    /// Of a quotation with these lines.
    pub fn quoted(lines: Vec<(usize, usize, usize)>) -> Map {
        Map { lines, quoted: true }
    }

    /// Whether it is a quotation's.
    pub fn is_quoted(&self) -> bool {
        self.quoted
    }

    /// Where the whole text has what was given.
    pub fn first(&self) -> usize {
        self.lines.first().map_or(0, |line| line.1)
    }

    /// The map of what was given from `at` on, where a line begins.
    pub fn behind(&self, at: usize) -> Map {
        let lines = self.lines.iter().filter(|line| line.0 >= at).map(|line| (line.0 - at, line.1, line.2)).collect();
        Map { lines, quoted: self.quoted }
    }

    fn line(&self, at: usize) -> (usize, usize, usize) {
        let after = self.lines.partition_point(|line| line.0 <= at);
        after.checked_sub(1).and_then(|n| self.lines.get(n)).copied().unwrap_or_default()
    }

    /// Where the line begins that was given at `at`.
    pub fn line_start(&self, at: usize) -> usize {
        let (given, line, text) = self.line(at);
        if given == at { line } else { text + (at - given) }
    }

    fn place(&self, at: usize) -> usize {
        let (given, _, text) = self.line(at);
        text + (at - given)
    }
}

/// Moves captures.
pub(super) struct Mover<'m> {
    /// Where what the reader was given stands.
    pub map: &'m Map,
    /// Where the text begins that places are to be counted from.
    pub start: usize,
    /// Lines of the whole text before what the reader was given.
    pub lines: u32,
}

impl Mover<'_> {
    /// Moves lines only, of a capture that has a text of its own.
    pub fn count(&self, capture: &mut Capture) {
        self.each(capture, false);
    }

    /// Moves lines and places.
    pub fn place(&self, capture: &mut Capture) {
        self.each(capture, true);
    }

    fn each(&self, capture: &mut Capture, places: bool) {
        let mut done = FxHashMap::default();
        capture.stacks.iter_mut().for_each(|stack| self.stack(stack, places, &mut done));
        capture.images.iter_mut().for_each(|image| self.number(&mut image.line));
        capture.zones.iter_mut().for_each(|zone| self.number(&mut zone.line));
        for headline in &mut capture.headlines {
            self.number(&mut headline.line);
            if places {
                headline.text = self.span(headline.line_start, headline.text);
                self.start(&mut headline.line_start);
            }
        }
        for remark in &mut capture.remarks {
            self.number(&mut remark.line);
            if places {
                self.start(&mut remark.line_start);
            }
        }
        for task in &mut capture.tasks_with_locks {
            self.number(&mut task.line);
            task.held.iter_mut().flatten().for_each(|lock| self.lock(lock));
            task.waits_for.iter_mut().for_each(|wait| self.wait(wait));
        }
        let crashes = capture
            .crash
            .iter_mut()
            .flat_map(|crash| std::iter::once(&mut crash.line).chain(crash.later.iter_mut().map(|later| &mut later.line)));
        crashes.for_each(|line| self.number(line));
    }

    fn stack(&self, stack: &mut Stack, places: bool, done: &mut FxHashMap<*const RawFrame, Frames>) {
        self.number(&mut stack.line);
        for frames in [&mut stack.frames, &mut stack.user_frames].into_iter().filter(|frames| !frames.is_empty()) {
            // Many threads share one list, which is to stay shared.
            let moved = done.entry(frames.as_ptr()).or_insert_with(|| frames.iter().map(|frame| self.frame(*frame, places)).collect());
            *frames = moved.clone();
        }
        for code in &mut stack.code {
            self.number(&mut code.line);
            if places {
                self.start(&mut code.line_start);
            }
        }
        stack.annotations.iter_mut().for_each(|annotations| self.annotations(annotations));
    }

    fn frame(&self, mut frame: RawFrame, places: bool) -> RawFrame {
        self.number(&mut frame.line);
        if places {
            let at = frame.line_start;
            let RawFrame { text, symbol, module, build_id, location, label, .. } = &mut frame;
            for span in [text, symbol, module, build_id, location, label] {
                *span = self.span(at, *span);
            }
            self.start(&mut frame.line_start);
        }
        frame
    }

    fn annotations(&self, annotations: &mut Annotations) {
        annotations.held.iter_mut().flatten().for_each(|lock| self.lock(lock));
        annotations.waits_for.iter_mut().for_each(|wait| self.wait(wait));
        annotations.woken_by.iter_mut().flat_map(|waker| &mut waker.line).for_each(|line| self.number(line));
    }

    fn lock(&self, lock: &mut Lock) {
        self.number(&mut lock.line);
    }

    fn wait(&self, wait: &mut Wait) {
        self.number(&mut wait.line);
        self.lock(&mut wait.lock);
    }

    /// 0 stands for no line.
    fn number(&self, line: &mut u32) {
        if *line > 0 {
            *line = line.saturating_add(self.lines);
        }
    }

    fn start(&self, line_start: &mut u64) {
        *line_start = self.map.line_start(*line_start as usize).saturating_sub(self.start) as u64;
    }

    /// A span of the line that was given at `at`. One that reaches into further lines takes what they are quoted with in.
    fn span(&self, at: u64, span: Span) -> Span {
        if span.is_empty() {
            return span;
        }
        let (at, line) = (at as usize, self.map.line_start(at as usize));
        let to = |place: usize| u32::try_from(self.map.place(place).saturating_sub(line)).unwrap_or(u32::MAX);
        Span { start: to(at + span.start as usize), end: to(at + span.end as usize - 1).saturating_add(1) }
    }
}
