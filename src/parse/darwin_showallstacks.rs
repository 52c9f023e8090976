//! What `showallstacks` prints in a kernel debugger: gdb with kgmacros (10.4 to 10.8) and lldb with xnu's macros (10.9 and later).
//!
//! ```text
//! task                vm_map              ipc_space          #acts   pid  process             command
//! 0xffffff8006a27480  0xffffff8006a35480  0xffffff8006a36480    47     0  0xffffff8006a2c580  kernel_task
//!                     thread                thread_id   processor             pri io_policy   state    wait_queue          wait_event
//!                     0xffffff8006a2c480      0x6d   0xffffff8000854c80    81            UW   0xffffff80069ce600  0xffffff80069ce638
//!                         stacktop=0xffffff80f40ab000
//!                         0xffffff80f40ab000  0xffffff8005c02d34 <thread_invoke+116>
//!                         0xffffff80f40ab480  0xffffff7f8684f90c <net.example.spl + 0x90c>
//!     thread 0xffffff8006a2c480 tid 0x6d state UW wait_event 0xffffff80069ce638
//!         stacktop = 0xffffff80edc70000
//!         0xffffff80edc70000 0xffffff8009412b94 kernel`machine_switch_context + 0x16
//! ```
//! Innermost first; run-time addresses. gdb begins with a return address, lldb with the saved pc itself. The offset into a kext counts from
//! its Mach-O header, on arm64 from `__TEXT_EXEC`.

use std::ops::Range;

use memchr::{memchr, memmem};
use rustc_hash::FxHashSet;

use super::darwin_bases::{Bases, is_kernel};
use super::lex::{self, Line};
use super::{Confidence, Format, Holds, atos};
use crate::model::addr::{Arch, Avma};
use crate::model::capture::{Capture, Os};
use crate::model::image::{Basis, ImageClaim};
use crate::model::stack::{Lookup, RawFrame, Span, Stack};
use crate::note::Note;

/// The format.
pub struct DarwinShowallstacks;

impl Format for DarwinShowallstacks {
    fn id(&self) -> &'static str {
        "darwin-showallstacks"
    }
    fn about(&self) -> &'static str {
        "showallstacks of a Darwin kernel debugger: gdb with kgmacros, lldb with xnu's macros"
    }
    fn holds(&self) -> Holds {
        Holds::Stacks
    }
    fn marks(&self) -> &'static [&'static [u8]] {
        &[b"ipc_space", b"stacktop"]
    }

    fn sniff(&self, head: &[u8]) -> Confidence {
        let has = |marker: &[u8]| memmem::find(head, marker).is_some();
        if has(b"stacktop") && (has(b"ipc_space") || has(b"stackbottom") || has(b"kernel_stack")) {
            Confidence::Certain
        } else {
            Confidence::No
        }
    }

    fn parse(&self, text: &[u8]) -> Capture {
        let mut reader = Reader::default();
        for line in lex::lines(text) {
            reader.line(&line);
        }
        reader.finish()
    }
}

/// What the line before announced.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
enum Expect {
    #[default]
    Nothing,
    Task,
    /// A thread, and whether its id is a column.
    Thread(bool),
}

#[derive(Default)]
struct Reader {
    expect: Expect,
    process: (Option<String>, Option<i64>),
    stacks: Vec<Stack>,
    current: Option<Stack>,
    /// Whether frames are those of lldb, whose first is the saved pc.
    lldb: bool,
    /// Whether frames may come: between `stacktop` and `stackbottom`.
    inside: bool,
    frame_line: u32,
    bases: Bases,
    kernel_name: Option<String>,
    /// Kernel functions of frames that name no image, and where they begin.
    anchors: Vec<(String, Avma)>,
    anchored: FxHashSet<(String, Avma)>,
    damaged: Vec<u32>,
}

/// More functions than this prove the kernel's place no better.
const MOST_ANCHORS: usize = 1000;

impl Reader {
    fn line(&mut self, line: &Line<'_>) {
        let body = line.bytes.trim_ascii();
        let expected = std::mem::take(&mut self.expect);
        let mut words = lex::words(body);
        let first = words.next().unwrap_or_default();
        match (first, words.next().unwrap_or_default()) {
            (b"task", b"vm_map") => self.task_heading(),
            (b"thread", second) if lex::hex(second).is_some() => self.thread(line, body),
            (b"thread", second) if memmem::find(body, b"wait_event").is_some() => self.expect = Expect::Thread(second == b"thread_id"),
            (b"", _) => {}
            _ if expected == Expect::Task => self.task(body),
            _ if matches!(expected, Expect::Thread(_)) && lex::hex(first).is_some() => {
                self.thread_row(line, body, expected == Expect::Thread(true));
            }
            _ => self.field_or_frame(line, body),
        }
    }

    fn task_heading(&mut self) {
        self.close();
        (self.process, self.expect) = ((None, None), Expect::Task);
    }

    /// `TASK VM_MAP IPC_SPACE #ACTS [FLAGS] PID [PROC [POLICY] [WQ]] COMMAND`.
    fn task(&mut self, body: &[u8]) {
        let mut words: Vec<&[u8]> = lex::words(body).collect();
        let Some(pid) = (4..6).find(|at| words.get(*at).is_some_and(|word| lex::decimal(word).is_some())) else { return };
        let number = i64::try_from(lex::decimal(words[pid]).unwrap_or_default()).ok();
        let mut rest = words.split_off(pid + 1);
        rest.drain(..usize::from(rest.first().is_some_and(|word| lex::hex(word).is_some())));
        // lldb counts three kinds of work queue threads before the command.
        if let Some(at) = rest.windows(3).position(|three| three.iter().all(|word| lex::decimal(word).is_some())) {
            rest.drain(..at + 3);
        }
        let name = lex::text(&rest.join(&b' '));
        self.process = (Some(name).filter(|name| !name.is_empty()), number);
    }

    /// `thread 0xADDR tid 0x6d state UW wait_event 0xADDR`.
    fn thread(&mut self, line: &Line<'_>, body: &[u8]) {
        let words: Vec<&[u8]> = lex::words(body).collect();
        let after = |key: &[u8]| words.iter().position(|word| *word == key).and_then(|at| words.get(at + 1)).map(|word| lex::text(word));
        let (tid, state, event) = (after(b"tid"), after(b"state"), after(b"wait_event"));
        self.open(line, words[1], tid, state, event);
    }

    /// `THREAD [THREAD_ID] PROCESSOR PRI [POLICY] STATE [WAIT_QUEUE WAIT_EVENT …]`.
    fn thread_row(&mut self, line: &Line<'_>, body: &[u8], has_id: bool) {
        let words: Vec<&[u8]> = lex::words(body).collect();
        let tid = words.get(1).filter(|_| has_id).map(|word| lex::text(word));
        let rest = words.get(3 + usize::from(has_id)..).unwrap_or_default();
        let waits = rest.iter().position(|word| lex::hex(word).is_some()).unwrap_or(rest.len());
        let state = rest[..waits].last().map(|word| lex::text(word));
        let event = rest.get(waits + 1).filter(|word| lex::hex(word).is_some()).map(|word| lex::text(word));
        self.open(line, words[0], tid, state, event);
    }

    fn open(&mut self, line: &Line<'_>, address: &[u8], tid: Option<String>, state: Option<String>, event: Option<String>) {
        self.close();
        let (process, pid) = self.process.clone();
        let address = lex::text(address);
        self.current = Some(Stack {
            title: Some(format!("thread {address}")),
            pid,
            process,
            tid: tid.or(Some(address)),
            state,
            wait_channel: event.filter(|event| lex::hex(event.as_bytes()) != Some(0)),
            count: 1,
            line: line.number,
            ..Stack::default()
        });
    }

    fn field_or_frame(&mut self, line: &Line<'_>, body: &[u8]) {
        if body.starts_with(b"stacktop") {
            (self.inside, self.lldb) = (true, body.starts_with(b"stacktop ="));
        } else if body.starts_with(b"stackbottom") {
            self.inside = false;
        } else if self.inside && line.number == self.frame_line + 1 && atos::is_location(line.bytes) {
            self.frame_line = line.number;
            let latest = self.current.as_mut().and_then(|stack| stack.frames.last_mut());
            latest.into_iter().for_each(|frame| frame.notes += 1);
        } else if self.inside && body.starts_with(b"0x") {
            match frame(line.bytes) {
                Some(read) => self.frame(line, read),
                None => self.damaged.push(line.number),
            }
        }
    }

    fn frame(&mut self, line: &Line<'_>, (mut frame, image_offset): (RawFrame, Option<u64>)) {
        self.frame_line = line.number;
        let part = |span: Span| lex::text(span.of(line.bytes, 0));
        let (module, symbol) = (part(frame.module), part(frame.symbol));
        if let (Some(offset), Some(address)) = (image_offset, frame.address) {
            self.bases.add(&module, address, offset, line.number);
        }
        if self.kernel_name.is_none() && is_kernel(&module) {
            self.kernel_name = Some(module);
        } else if let (true, Some(offset), Some(address)) = (module.is_empty() && !symbol.is_empty(), frame.offset, frame.address) {
            let anchor = (symbol, Avma(address.0.wrapping_sub(offset)));
            if self.anchors.len() < MOST_ANCHORS && self.anchored.insert(anchor.clone()) {
                self.anchors.push(anchor);
            }
        }
        let lldb = self.lldb;
        let stack = self.current.get_or_insert_with(|| Stack { count: 1, line: line.number, ..Stack::default() });
        (frame.line, frame.line_start) = (line.number, line.start);
        frame.lookup = if lldb && stack.frames.is_empty() { Lookup::Exact } else { Lookup::Return };
        stack.frames.push(frame);
    }

    fn close(&mut self) {
        if let Some(mut stack) = self.current.take() {
            // Stacks without frames are told apart by their titles; an address is none that would tell anything.
            stack.title = stack.title.filter(|_| !stack.frames.is_empty());
            self.stacks.push(stack);
        }
        self.inside = false;
    }

    fn finish(mut self) -> Capture {
        self.close();
        let mut notes: Vec<Note> = damage_note(&self.damaged).into_iter().collect();
        let arch = self.stacks.iter().flat_map(|stack| &stack.frames).filter_map(|frame| frame.address).find_map(Arch::of_darwin_address);
        let split = matches!(arch, Some(Arch::Arm64 | Arch::Arm64e));
        let place = |base| if split { (None, Some(base)) } else { (Some(base), None) };
        let claim = |(name, base, line): (String, Avma, u32)| {
            let (load, exec) = place(base);
            ImageClaim { name, load, exec, basis: Basis::Runtime, line, ..ImageClaim::default() }
        };
        let mut images: Vec<ImageClaim> = self.bases.agreed(&mut notes).into_iter().map(claim).collect();
        let kernel_name = self.kernel_name.unwrap_or_else(|| "mach_kernel".to_string());
        // One function could be another build's of the same name; two that agree are a place.
        if self.anchors.len() > 1 {
            images.push(ImageClaim {
                name: kernel_name.clone(),
                kernel: true,
                anchors: self.anchors,
                basis: Basis::Runtime,
                ..ImageClaim::default()
            });
        }
        Capture {
            format: DarwinShowallstacks.id(),
            os: Some(Os::Darwin),
            arch,
            basis: Some(Basis::Runtime),
            kernel_name: Some(kernel_name),
            images,
            stacks: self.stacks,
            notes,
            ..Capture::default()
        }
    }
}

/// `0xFP 0xRA WHAT`, and the offset into the image where `WHAT` gives one.
fn frame(line: &[u8]) -> Option<(RawFrame, Option<u64>)> {
    let start = lex::indent(line);
    let pointer = lex::words(&line[start..]).next().filter(|word| lex::hex(word).is_some())?;
    let from = start + pointer.len() + lex::indent(&line[start + pointer.len()..]);
    let rest = line[from..].trim_ascii_end();
    address_and_name(line, from..from + rest.len())
}

/// `0xRA WHAT` in `text`, a part of `line`, and the offset into the image where `WHAT` gives one; also what kstack wrote in its place.
pub(super) fn address_and_name(line: &[u8], text: Range<usize>) -> Option<(RawFrame, Option<u64>)> {
    let rest = line.get(text.clone())?;
    let word = lex::words(rest).next()?;
    let Some(address) = lex::hex(word) else { return Some((own(line, text)?, None)) };
    let what = rest[word.len()..].trim_ascii();
    let frame = RawFrame { address: Some(Avma(address)), text: span(&text), reliable: true, ..RawFrame::default() };
    let inner = what.strip_prefix(b"<").and_then(|inner| inner.strip_suffix(b">")).unwrap_or(what);
    let named = |symbol: &[u8], offset| RawFrame { symbol: atos::span(line, symbol), offset, ..frame };
    if inner.is_empty() || inner.starts_with(b"~") {
        return Some((frame, None));
    }
    if let Some(tick) = memchr(b'`', inner) {
        let (symbol, offset) = plus(&inner[tick + 1..]);
        return Some((RawFrame { module: atos::span(line, &inner[..tick]), ..named(symbol, offset.or(Some(0))) }, None));
    }
    if let (image, Some(offset)) = plus(inner)
        && memmem::find(inner, b" + 0x").is_some()
    {
        return Some((RawFrame { module: atos::span(line, image), ..frame }, Some(offset)));
    }
    let (symbol, offset) = plus(inner);
    // `func(args)` says nothing about where in the function.
    let symbol = memchr(b'(', symbol).filter(|_| offset.is_none()).map_or(symbol, |at| &symbol[..at]);
    let bare = inner.len() < what.len() && offset.is_none();
    Some((named(symbol, if bare { Some(0) } else { offset }), None))
}

/// What kstack wrote in place of address and name.
fn own(line: &[u8], text: Range<usize>) -> Option<RawFrame> {
    let frame = atos::frame(&line[text.clone()]).filter(|frame| frame.address.is_some())?;
    let by = text.start as u32;
    let moved = |span: Span| if span.is_empty() { span } else { Span { start: span.start + by, end: span.end + by } };
    Some(RawFrame { text: span(&text), symbol: moved(frame.symbol), module: moved(frame.module), ..frame })
}

/// Takes `+DEC`, ` + DEC` or ` + 0xHEX` off the end.
fn plus(text: &[u8]) -> (&[u8], Option<u64>) {
    let found = memchr::memrchr(b'+', text).and_then(|at| {
        let digits = text[at + 1..].trim_ascii();
        Some((text[..at].trim_ascii_end(), lex::hex(digits).or_else(|| lex::decimal(digits))?))
    });
    found.map_or((text, None), |(head, offset)| (head, Some(offset)))
}

fn span(range: &Range<usize>) -> Span {
    Span { start: range.start as u32, end: range.end as u32 }
}

fn damage_note(lines: &[u32]) -> Option<Note> {
    let first = lines.first()?;
    let more = if lines.len() > 1 { format!(" and {} more", lines.len() - 1) } else { String::new() };
    Some(Note::warning("", format!("line {first}{more} looks like a cut or damaged frame; left as it is")))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Symbol, offset, image, offset into it, address.
    type Parts = (String, Option<u64>, String, Option<u64>, Option<u64>);

    fn read(line: &str) -> Option<Parts> {
        let (frame, image_offset) = frame(line.as_bytes())?;
        let part = |span: Span| lex::text(span.of(line.as_bytes(), 0));
        Some((part(frame.symbol), frame.offset, part(frame.module), image_offset, frame.address.map(|address| address.0)))
    }

    #[test]
    fn every_form_of_a_frame_is_read() {
        let a = 0xffff_ff80_05c0_2d34;
        let cases = [
            ("<thread_invoke+116>", ("thread_invoke", Some(116), "", None)),
            ("<thread_invoke>", ("thread_invoke", Some(0), "", None)),
            ("<net.example.spl + 0x90c>", ("", None, "net.example.spl", Some(0x90c))),
            ("kernel`msleep + 0x15 ", ("msleep", Some(0x15), "kernel", None)),
            ("kernel.release.t6000`C::f(int) + 8", ("C::f(int)", Some(8), "kernel.release.t6000", None)),
            ("net.example.spl + 0x1f31 ", ("", None, "net.example.spl", Some(0x1f31))),
            ("thread_invoke(self=0x0, reason=2) ", ("thread_invoke", None, "", None)),
            ("~ kext info not available. please run 'showallkexts' once ~", ("", None, "", None)),
            ("", ("", None, "", None)),
        ];
        for (what, (symbol, offset, module, image_offset)) in cases {
            let line = format!("        0xffffff80f40ab000  0xffffff8005c02d34 {what}");
            assert_eq!(read(&line), Some((symbol.into(), offset, module.into(), image_offset, Some(a))), "{what}");
        }
        let own = "  0xffffff80f40ab000 thread_invoke (in mach_kernel) + 116 (0xffffff8005c02d34)";
        assert_eq!(read(own), Some(("thread_invoke".into(), Some(116), "mach_kernel".into(), None, Some(a))));
        assert_eq!(read("  0xffffff80f40ab000 0xffffff8005c02d3"), Some((String::new(), None, String::new(), None, Some(a >> 4))));
        assert_eq!(read("  0xffffff80f40ab000"), None);
    }

    const GDB: &str = "task                vm_map              ipc_space          #acts   pid  process             command\n\
        0xffffff8006a27480  0xffffff8006a35480  0xffffff8006a36480    47     7  0xffffff8006a2c580  a b\n    \
        thread                thread_id   processor             pri io_policy   state    wait_queue          wait_event\n    \
        0xffffff8006a2c480      0x6d   0xffffff8000854c80    81      T      UW\t 0xffffff80069ce600  0xffffff80069ce638 <x>\n        \
        stacktop=0xffffff80f40ab000\n        0xffffff80f40ab000  0xffffff8005c02d34 <thread_invoke+116>\n        \
        0xffffff80f40ab480  0xffffff7f8684f90c <net.example.spl + 0x90c>\n        0xffffff80f40ab490  0xfff <cut\n        0xffffff80f40ab4a0\n        \
        stackbottom=0xffffff80f40ab910\n    thread                processor             pri    state    wait_queue          wait_event\n    \
        0xffffff8006a2c500   0xffffff8000854c80    81    R\n";

    #[test]
    fn rows_of_gdb_say_whose_a_stack_is() {
        assert_eq!(DarwinShowallstacks.sniff(GDB.as_bytes()), Confidence::Certain);
        let capture = DarwinShowallstacks.parse(GDB.as_bytes());
        let [first, second] = &capture.stacks[..] else { panic!("{:?}", capture.stacks) };
        assert_eq!((first.pid, first.process.as_deref(), first.tid.as_deref(), first.line), (Some(7), Some("a b"), Some("0x6d"), 4));
        assert_eq!((first.state.as_deref(), first.wait_channel.as_deref()), (Some("UW"), Some("0xffffff80069ce638")));
        assert_eq!(first.title.as_deref(), Some("thread 0xffffff8006a2c480"));
        assert_eq!(first.frames.iter().map(|frame| frame.lookup).collect::<Vec<_>>(), [Lookup::Return; 3]);
        assert_eq!((second.tid.as_deref(), second.state.as_deref()), (Some("0xffffff8006a2c500"), Some("R")));
        assert_eq!(capture.images[0].load, Some(Avma(0xffff_ff7f_8684_f000)));
        assert_eq!(capture.notes.len(), 1, "{:?}", capture.notes);
    }

    #[test]
    fn lldb_begins_with_the_pc() {
        let text = "task vm_map ipc_space #acts flags pid process io_policy wq_state command\n0x1 0x2 0x3 5 R 42 0xffffff8006a2c580 -- 1 0 2 dd\n    \
            thread 0xffffff8006a2c480 tid 0x6d state W wait_event 0x0000000000000000\n        stacktop = 0xfffffe3a3dd50000\n        \
            0xfffffe3a3dd50000 0xfffffe00127d31b8 kernel.release.t6000`machine_switch_context + 0x24 \n        \
            0xfffffe3a3dd50360 0xfffffe00187b1894 net.example.spl + 0x54 \n        stackbottom = 0xfffffe3a3dd50710\n";
        let capture = DarwinShowallstacks.parse(text.as_bytes());
        let [stack] = &capture.stacks[..] else { panic!("{:?}", capture.stacks) };
        assert_eq!((stack.pid, stack.process.as_deref(), stack.wait_channel.as_deref()), (Some(42), Some("dd"), None));
        assert_eq!(stack.frames.iter().map(|frame| frame.lookup).collect::<Vec<_>>(), [Lookup::Exact, Lookup::Return]);
        assert_eq!(capture.kernel_name.as_deref(), Some("kernel.release.t6000"));
        assert_eq!((capture.images[0].exec, capture.arch), (Some(Avma(0xffff_fe00_187b_1840)), Some(Arch::Arm64)));
    }
}
