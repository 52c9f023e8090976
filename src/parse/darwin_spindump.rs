//! Reports of spindump (10.9 to 26) and sample(1): call trees of sampled threads.
//!
//! ```text
//! OS Version:      Mac OS X 10.13.6 (Build 17G65)
//! Architecture:    x86_64
//!
//! Process:         kernel_task [0]
//!   Thread 0x6d              1001 samples (1-1001)       priority 81 (base 81)     cpu time <0.001s
//!  *1001  thread_continue + 22 (kernel + 11780) [0xffffff8000202e04]
//!    *1001  call_continuation + 12 (kernel + 11748) [0xffffff8000202de4]
//!
//!   Binary Images:
//!    *0xffffff8000200000 - 0xffffff8000bfffff  kernel (17G65)  <…>  /System/Library/Kernels/kernel
//! ```
//! Outermost first, two blanks deeper for each call. Kernel addresses have the slide taken off: of 10.11 to 10.14, address without
//! image offset is 0xffffff8000200000 for the kernel. On Apple silicon offsets count from `__TEXT_EXEC`.

use memchr::memmem;
use rustc_hash::{FxHashMap, FxHashSet};

use super::darwin_bases::{Bases, is_kernel};
use super::darwin_thread_heading::{self, Heading};
use super::darwin_tree::{Path, Tree};
use super::darwin_tree_line::{self, TreeLine, tree_line};
use super::lex::{self, Line};
use super::{Confidence, Format, Holds, atos, darwin_binary_images};
use crate::model::addr::{Arch, Avma};
use crate::model::capture::{Capture, Os};
use crate::model::image::{Basis, ImageClaim, ImageId};
use crate::model::stack::{Stack, StackKind};
use crate::note::Note;

/// The format.
pub struct DarwinSpindump;

impl Format for DarwinSpindump {
    fn id(&self) -> &'static str {
        "darwin-spindump"
    }
    fn about(&self) -> &'static str {
        "spindump and sample(1) text, Mac OS X 10.9 to macOS 26"
    }
    fn holds(&self) -> Holds {
        Holds::Stacks
    }
    fn marks(&self) -> &'static [&'static [u8]] {
        &[b"Report Version:", b"Date/Time:", b"Analysis of sampling ", b"  Thread 0x"]
    }

    fn sniff(&self, head: &[u8]) -> Confidence {
        let has = |marker: &[u8]| memmem::find(head, marker).is_some();
        if has(b"Analysis of sampling ") || (has(b"sampling interval)") && has(b"Report Version:")) {
            return Confidence::Certain;
        }
        let tree = has(b" [0x") && lex::lines(head).any(|line| is_sampled(line.bytes));
        let heading = || has(b"  Thread 0x") && lex::lines(head).any(|line| darwin_thread_heading::heading(line.bytes).is_some());
        match (tree, heading()) {
            (true, true) => Confidence::Certain,
            (true, false) => Confidence::Likely,
            (false, true) if has(b"Binary Images:") => Confidence::Certain,
            (false, true) if has(b" (0x") && has(b"Process:") => Confidence::Certain,
            _ => Confidence::No,
        }
    }

    fn parse(&self, text: &[u8]) -> Capture {
        let mut reader = Reader { text, ..Reader::default() };
        for line in lex::lines(text) {
            reader.line(&line);
        }
        reader.finish()
    }
}

/// A line of a tree that shows by itself whose it is: with an address and an image or `*`.
fn is_sampled(line: &[u8]) -> bool {
    tree_line(line).is_some_and(|read| read.frame.address.is_some() && (read.kernel || !read.frame.module.is_empty()))
}

/// Which part of the report the current lines belong to.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
enum Section {
    #[default]
    Header,
    /// Fields and threads of a process.
    Process,
    Images,
    /// `Total number in stack` and what else sample(1) counts once more.
    Totals,
}

#[derive(Default)]
struct Reader<'t> {
    text: &'t [u8],
    section: Section,
    /// Whether a process has been named, so that fields are no longer the report's own.
    named: bool,
    capture: Capture,
    process: Option<(String, Option<i64>)>,
    /// The thread whose tree is being read, and the line of its heading.
    thread: Option<(Heading, u32)>,
    tree: Tree,
    bases: Bases,
    /// What frames without an address state: image and offset, by the start of their line.
    offsets: FxHashMap<u64, (String, u64)>,
    listed: FxHashSet<(String, Option<ImageId>, Option<Avma>)>,
    frame_line: u32,
    damaged: Vec<u32>,
    odd: Vec<u32>,
}

impl Reader<'_> {
    fn line(&mut self, line: &Line<'_>) {
        let body = line.bytes.trim_ascii();
        if body.is_empty() {
            return self.close();
        }
        if self.section == Section::Totals && !body.starts_with(b"Binary Images:") && !body.starts_with(b"Process:") {
            return;
        }
        if let Some(heading) = darwin_thread_heading::heading(line.bytes) {
            self.close();
            self.section = Section::Process;
            self.tree = Tree::new(heading.samples);
            self.thread = Some((heading, line.number));
        } else if let Some(read) = tree_line(line.bytes).filter(|_| self.thread.is_some() || is_sampled(line.bytes)) {
            self.frame(line, read);
        } else if self.section != Section::Images || !self.image(line) {
            self.other(line, body);
        }
    }

    fn frame(&mut self, line: &Line<'_>, read: TreeLine) {
        let image = || lex::text(read.frame.module.of(self.text, line.start));
        match (read.frame.address, read.image_offset) {
            (Some(address), Some(offset)) if read.kernel => self.bases.add(&image(), address, offset, line.number),
            (None, Some(offset)) if read.kernel => drop(self.offsets.insert(line.start, (image(), offset))),
            _ => {}
        }
        if self.capture.kernel_name.is_none() && read.kernel && is_kernel(&image()) {
            self.capture.kernel_name = Some(image());
        }
        self.thread.get_or_insert_with(|| (Heading::default(), line.number));
        self.tree.push(line, read);
        self.frame_line = line.number;
    }

    fn image(&mut self, line: &Line<'_>) -> bool {
        let Some(claim) = darwin_binary_images::image(line.bytes) else { return false };
        // Every process lists the libraries that all share.
        if self.listed.insert((claim.name.clone(), claim.id, claim.load.or(claim.exec))) {
            self.capture.images.push(ImageClaim { line: line.number, ..claim });
        }
        true
    }

    /// A line that is no frame: a field, a place below a frame, or damage.
    fn other(&mut self, line: &Line<'_>, body: &[u8]) {
        if self.tree.latest().is_some() && line.number == self.frame_line + 1 && atos::is_location(line.bytes) {
            self.frame_line = line.number;
            return self.tree.latest().into_iter().for_each(|frame| frame.notes += 1);
        }
        if darwin_tree_line::counted(line.bytes).is_some() && self.thread.is_some() {
            return self.damaged.push(line.number);
        }
        if body.starts_with(b"Total number in stack") || body.starts_with(b"Sort by top of stack") {
            self.close();
            self.section = Section::Totals;
        } else if let Some(colon) = memchr::memchr(b':', body) {
            self.field(&body[..colon], body[colon + 1..].trim_ascii());
        }
    }

    fn field(&mut self, key: &[u8], value: &[u8]) {
        let capture = &mut self.capture;
        match key {
            b"Process" => {
                self.close();
                (self.section, self.named) = (Section::Process, true);
                self.process = Some(process(value));
            }
            b"Binary Images" => {
                self.close();
                self.section = Section::Images;
            }
            b"OS Version" => capture.os_build = build(value),
            b"Architecture" | b"Code Type" if capture.arch.is_none() && (!self.named || key == b"Code Type") => capture.arch = arch(value),
            b"Version" if value.starts_with(b"Darwin Kernel Version") => capture.kernel_version = Some(lex::text(value)),
            _ => {}
        }
    }

    /// Ends the thread: its paths become stacks.
    fn close(&mut self) {
        let Some((heading, line)) = self.thread.take() else { return };
        let paths = self.tree.finish();
        self.odd.append(&mut self.tree.odd);
        let (process, pid) = self.process.clone().map_or((None, None), |(name, pid)| (Some(name), pid));
        for Path { count, kernel, user, state } in paths {
            let state = lex::text(state.1.of(self.text, state.0));
            self.capture.stacks.push(Stack {
                kind: StackKind::Sample,
                title: heading.queue.clone(),
                pid,
                tid: Some(heading.tid.clone()).filter(|tid| !tid.is_empty()),
                process: process.clone(),
                thread: heading.name.clone(),
                state: Some(state).filter(|state| !state.is_empty()),
                count,
                line,
                frames: kernel.into(),
                user_frames: user.into(),
                ..Stack::default()
            });
        }
    }

    fn finish(mut self) -> Capture {
        self.close();
        let mut capture = self.capture;
        let frames = || capture.stacks.iter().flat_map(|stack| &stack.frames);
        let told = frames().filter_map(|frame| frame.address).find_map(Arch::of_darwin_address);
        capture.arch = capture.arch.filter(|arch| told.is_none_or(|told| told.fits(*arch))).or(told);
        let split = matches!(capture.arch, Some(Arch::Arm64 | Arch::Arm64e));
        for (name, base, line) in self.bases.agreed(&mut capture.notes) {
            claim(&mut capture, name, base, line, split);
        }
        let bases: FxHashMap<&str, Avma> = capture
            .images
            .iter()
            .filter(|claim| !claim.user)
            .filter_map(|claim| Some((claim.name.as_str(), base(claim, split)?)))
            .collect();
        for frame in capture.stacks.iter_mut().flat_map(|stack| &mut stack.frames).filter(|frame| frame.address.is_none()) {
            let Some((image, offset)) = self.offsets.get(&frame.line_start) else { continue };
            frame.address = bases.get(image.as_str()).map(|base| Avma(base.0.wrapping_add(*offset)));
        }
        let listed = capture.images.iter().find(|claim| claim.kernel).map(|claim| claim.name.clone());
        capture.kernel_name = capture.kernel_name.or(listed);
        capture.notes.extend(lines_note(&self.damaged, "looks like a cut or damaged line of a tree; left as it is"));
        capture.notes.extend(lines_note(&self.odd, "has fewer samples than its branches together; those are taken as they are"));
        Capture { format: DarwinSpindump.id(), os: Some(Os::Darwin), basis: Some(Basis::Unslid), ..capture }
    }
}

/// Where offsets into an image count from.
fn base(claim: &ImageClaim, split: bool) -> Option<Avma> {
    if split { claim.exec.or(claim.load) } else { claim.load.or(claim.exec) }
}

/// Adds what the frames say of an image, where `Binary Images` has not said it; a contradiction is told.
fn claim(capture: &mut Capture, name: String, at: Avma, line: u32, split: bool) {
    let id = ImageId::parse(&name);
    let same = |claim: &&ImageClaim| !claim.user && (claim.name == name || (id.is_some() && claim.id == id));
    if let Some(listed) = capture.images.iter().find(same).and_then(|claim| base(claim, split)) {
        if listed != at {
            let text = format!("frames in {name} put its base at {at}, `Binary Images` at {listed}; the latter is used");
            capture.notes.push(Note::warning("", text));
        }
        return;
    }
    let (load, exec) = if split { (None, Some(at)) } else { (Some(at), None) };
    let name = id.map_or(name, |id| id.to_string());
    let kernel = is_kernel(&name);
    capture.images.push(ImageClaim { name, id, load, exec, kernel, basis: Basis::Unslid, line, ..ImageClaim::default() });
}

/// `kernel_task [0]`, with more behind it in some versions.
fn process(value: &[u8]) -> (String, Option<i64>) {
    let at = memmem::rfind(value, b" [").and_then(|at| {
        let close = at + memchr::memchr(b']', &value[at..])?;
        Some((at, i64::try_from(lex::decimal(&value[at + 2..close])?).ok()?))
    });
    at.map_or_else(|| (lex::text(value), None), |(at, pid)| (lex::text(value[..at].trim_ascii_end()), Some(pid)))
}

/// `17G65` of `Mac OS X 10.13.6 (Build 17G65)` or `Mac OS X 10.9 (13A603)`.
fn build(value: &[u8]) -> Option<String> {
    let open = memchr::memrchr(b'(', value)?;
    let inner = value[open + 1..].strip_suffix(b")")?;
    Some(lex::text(inner.strip_prefix(b"Build ").unwrap_or(inner)))
}

/// spindump writes `x86_64`, sample(1) `X86-64`.
fn arch(value: &[u8]) -> Option<Arch> {
    let word = lex::words(value).next()?;
    Arch::by_name(&lex::text(word).to_ascii_lowercase().replace('-', "_"))
}

fn lines_note(lines: &[u32], what: &str) -> Option<Note> {
    let first = lines.first()?;
    let more = if lines.len() > 1 { format!(" and {} more", lines.len() - 1) } else { String::new() };
    Some(Note::warning("", format!("line {first}{more} {what}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLE: &str = "Date/Time:       2014-03-11\r\nOS Version:      Mac OS X 10.13.6 (Build 17G65)\r\nArchitecture:    x86_64\r\n\r\n\
        Process:         kernel task [0] (2 unique pids)\r\nArchitecture:    i386\r\n\r\n  \
        Thread 0x6d    Thread name \"a b\"    9 samples (1-9)    priority 81 (base 81)\r\n  9  start + 1 (libdyld.dylib + 5629) [0x7fff8feaa5fd]\r\n   \
        *5  f + 22 (kernel + 11780) [0xffffff8000202e04] (running)\r\n     *2  ??? (net.example.spl + 7778)\r\n     *1  ??? (net.example.spl + 16) [0xffffff7f82a10010]\r\n\r\n  \
        Binary Images:\r\n    *0xffffff8000200000 - 0xffffff8000bfffff  kernel (17G65)  <B3B9C89A-5728-31D0-8065-3C50623191AE>  /S/kernel\r\n";

    #[test]
    fn paths_are_stacks_and_offsets_place_images() {
        let capture = DarwinSpindump.parse(SAMPLE.as_bytes());
        assert_eq!(
            (capture.arch, capture.os_build.as_deref(), capture.kernel_name.as_deref()),
            (Some(Arch::X86_64), Some("17G65"), Some("kernel"))
        );
        let counts: Vec<(u64, usize, usize)> =
            capture.stacks.iter().map(|stack| (stack.count, stack.frames.len(), stack.user_frames.len())).collect();
        assert_eq!(counts, [(2, 2, 1), (1, 2, 1), (2, 1, 1), (4, 0, 1)]);
        let first = &capture.stacks[0];
        assert_eq!(
            (first.pid, first.process.as_deref(), first.tid.as_deref(), first.line),
            (Some(0), Some("kernel task"), Some("0x6d"), 8)
        );
        assert_eq!((first.thread.as_deref(), first.kind), (Some("a b"), StackKind::Sample));
        // Without an address of its own: base of the kext plus the offset.
        assert_eq!(first.frames[0].address, Some(Avma(0xffff_ff7f_82a1_1e62)));
        assert_eq!(capture.stacks[2].state.as_deref(), Some("running"));
        let images: Vec<(&str, bool, Option<Avma>)> =
            capture.images.iter().map(|claim| (claim.name.as_str(), claim.kernel, claim.load)).collect();
        assert_eq!(
            images,
            [("kernel", true, Some(Avma(0xffff_ff80_0020_0000))), ("net.example.spl", false, Some(Avma(0xffff_ff7f_82a1_0000)))]
        );
        assert!(capture.notes.is_empty(), "{:?}", capture.notes);
    }

    #[test]
    fn contradictions_and_damage_are_told() {
        let text = SAMPLE.replace("+ 11780)", "+ 11784)").replace("[0xffffff7f82a10010]", "[0xffffff7f82a1");
        let notes: Vec<String> = DarwinSpindump.parse(text.as_bytes()).notes.into_iter().map(|note| note.text).collect();
        assert!(notes.iter().any(|note| note.contains("`Binary Images` at 0xffffff8000200000")), "{notes:?}");
        assert!(notes.iter().any(|note| note.starts_with("line 12 looks like")), "{notes:?}");
    }

    #[test]
    fn what_sample_counts_once_more_is_no_stack() {
        let text = "Analysis of sampling zfs (pid 7) every 1 millisecond\nProcess:         zfs [7]\nCode Type:       X86-64\n\nCall graph:\n    \
            12 Thread_1   DispatchQueue_1: main  (serial)\n      12 main  (in zfs) + 540  [0x105cd497c]  zfs_main.c:6491\n\n\
            Total number in stack (recursive counted multiple, when >=5):\n        5       main  (in zfs) + 0  [0x105cd4760]\n";
        let capture = DarwinSpindump.parse(text.as_bytes());
        let [stack] = &capture.stacks[..] else { panic!("{:?}", capture.stacks) };
        assert_eq!((stack.pid, stack.tid.as_deref(), stack.count, stack.user_frames.len()), (Some(7), Some("1"), 12, 1));
        assert_eq!(capture.arch, Some(Arch::X86_64));
        assert_eq!(DarwinSpindump.sniff(text.as_bytes()), Confidence::Certain);
    }
}
