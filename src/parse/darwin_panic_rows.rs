//! Rows of a macOS panic: registers and frames, whole, torn over two lines or damaged.

use memchr::memmem;

use super::darwin_panic_explain::{self as explain, Flags, PAGE_FAULT};
use super::darwin_panic_frame::{self as frames, Words};
use super::darwin_panic_join::{Joined, joined};
use super::darwin_panic_log::Log;
use super::darwin_panic_view::View;
use super::darwin_panic_words as words;
use crate::model::addr::Svma;
use crate::model::frame::{Answer, SymbolHit, Trust, Unresolved};
use crate::model::stack::{Known, Span};

impl Log<'_> {
    /// Says what registers mean.
    pub(super) fn registers(&mut self, view: &View<'_>) {
        let body = view.body;
        let line = (view.number, view.start);
        if let Some(esr) = words::value(body, "esr:").filter(|_| memmem::find(body, b"far:").is_some()) {
            let far = words::value(body, "far:");
            self.remark(line, explain::esr(esr, far));
        }
        self.cr2 = words::value(body, "CR2:").or(self.cr2);
        let Some(code) = words::value(body, "Error code:") else { return };
        let has = |words: &[u8]| memmem::find(body, words).is_some();
        let flags = Flags { nx: has(b"Kernel NX fault"), smep: has(b"SMEP/User NX fault"), smap: has(b"SMAP fault") };
        let number = self.trap.or(self.head.as_ref().and_then(|head| words::trap_number(&head.joined(true).bytes)));
        let number = number.or((self.lines.is_empty() && flags_are_set(flags)).then_some(PAGE_FAULT));
        if let Some(text) = explain::error_code(number, code, self.cr2, flags) {
            self.remark(line, text);
        }
    }

    /// A frame, whole, put together with the next line, or damaged.
    pub(super) fn frame(&mut self, view: &View<'_>, next: Option<&View<'_>>) -> Option<bool> {
        if !frames::is_like_frame(view.body) && !view.body.starts_with(b"lr:") && !view.body.starts_with(b"0x") {
            return None;
        }
        let found = frames::words(view.body, &self.shape);
        // The next line is a frame of its own, or the rest of this one where both together are whole.
        let rest = next.filter(|next| !frames::is_like_frame(next.body));
        let rest = rest.filter(|next| found.as_ref().is_none_or(|words| frames::goes_on(view.body, words, next.body)));
        for blank in [false, true] {
            let both = joined(view, rest, blank);
            let whole = rest.and_then(|_| frames::words(&both.bytes, &self.shape));
            let better = |words: &Words| found.is_none() || (!words.symbol.is_empty() && words.text.end == both.bytes.len());
            if let (Some(words), Some(rest)) = (whole.filter(better), rest) {
                self.close_head();
                self.push_frame(&words, &both, rest.number);
                return Some(true);
            }
        }
        if let Some(words) = found {
            self.close_head();
            self.push_frame(&words, &joined(view, None, false), view.number);
            return Some(false);
        }
        if frames::is_like_frame(view.body) {
            self.broken.push(view.number);
            return Some(false);
        }
        None
    }

    pub(super) fn push_frame(&mut self, words: &Words, joined: &Joined, last: u32) {
        let start = memchr::memrchr(b'\n', &self.text[..joined.place(words.text.start)]).map_or(0, |at| at + 1);
        let line = self.views.binary_search_by_key(&(start as u64), |view| view.start).map_or(1, |line| self.views[line].number);
        let mut frame = words.frame(&joined.bytes, |at| joined.place(at).saturating_sub(start));
        (frame.line, frame.line_start, self.frame_line) = (line, start as u64, last);
        let torn = joined.pieces.len() > 1;
        if !words.symbol.is_empty() && (torn || !words.is_plain(&joined.bytes)) {
            let named = words.offset != Some(0);
            frame.known = named.then(|| self.known(words.name(&joined.bytes), words));
            (frame.symbol, frame.offset) = (Span::default(), None);
        }
        if torn && words.module.end > joined.pieces[1].0 {
            frame.module = Span::default();
        }
        self.panic.frame(frame);
    }

    /// A name that stands nowhere in the text as it is.
    fn known(&mut self, name: String, words: &Words) -> Known {
        let offset = words.offset.unwrap_or(0);
        let start = Svma(words.address.wrapping_sub(offset));
        let symbol = Some(SymbolHit { name: name.into(), start, size: None, contains: true });
        let answer =
            Answer { symbol, offset: Some(offset), trust: Trust::Unverified, reason: None, ..Answer::unresolved(None, Unresolved::NoFile) };
        self.capture.known.push(answer);
        Known(self.capture.known.len() as u32 - 1)
    }
}

fn flags_are_set(flags: Flags) -> bool {
    flags.nx || flags.smep || flags.smap
}
