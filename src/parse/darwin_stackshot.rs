//! Text that `stackshot -i -f` wrote on Mac OS X 10.5 to 10.9, as it is or after `symstacks.rb` or `atos`.
//!
//! ```text
//! PID: 156
//!     Process: zpool
//!     Thread ID: 0x4e2
//!     Thread state: 0x9 == TH_WAIT |TH_UNINT
//!     Thread wait_event: 0xffffff8006608a6c
//!     Kernel stack:
//!     machine_switch_context (in mach_kernel) + 366 (0xffffff80002b3d3e)
//!       0xffffff800022e711 (in mach_kernel) + 1281 (0xffffff800022e711)
//! ```
//! Sample: the OpenZFS on OS X wiki. Frames go two blanks deeper outwards, innermost first. The innermost address is the pc
//! itself, the others are return addresses. All kernel addresses have the slide taken off (`machine_trace_thread64`, xnu-2050
//! and later; before that there was none).

use memchr::memmem;

use super::lex::{self, Line};
use super::{Confidence, Format, Holds, atos};
use crate::model::addr::Arch;
use crate::model::capture::{Capture, Os};
use crate::model::image::Basis;
use crate::model::stack::{Lookup, RawFrame, Stack};
use crate::note::Note;

/// The format.
pub struct DarwinStackshot;

impl Format for DarwinStackshot {
    fn id(&self) -> &'static str {
        "darwin-stackshot-text"
    }
    fn about(&self) -> &'static str {
        "stackshot -i text, Mac OS X 10.5 to 10.9, also half-resolved by symstacks.rb or atos"
    }
    fn holds(&self) -> Holds {
        Holds::Stacks
    }
    fn marks(&self) -> &'static [&'static [u8]] {
        &[b"Kernel stack:", b"PID: ", b"Thread ID: ", b"Thread state: "]
    }

    fn sniff(&self, head: &[u8]) -> Confidence {
        let has = |marker: &[u8]| memmem::find(head, marker).is_some();
        if has(b"Kernel stack:") || (has(b"Thread ID:") && has(b"PID:")) {
            Confidence::Certain
        } else if has(b" (in ") && is_piece(head) {
            Confidence::Likely
        } else {
            Confidence::No
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

/// Whether `head` can be a piece of a stackshot, which lost its headings: a frame stands below another, two blanks deeper, or nothing else
/// than frames is in it. Other text with addresses looks alike once kstack has named them.
fn is_piece(head: &[u8]) -> bool {
    let (mut above, mut frames, mut others) = (None, 0, 0);
    for line in lex::lines(head).filter(|line| !line.bytes.trim_ascii().is_empty()) {
        if atos::frame(line.bytes).is_some() {
            let indent = lex::indent(line.bytes);
            if above.is_some_and(|above| above + 2 == indent) {
                return true;
            }
            above = Some(indent);
            frames += 1;
        } else if frames == 0 || !atos::is_location(line.bytes) {
            (above, others) = (None, others + 1);
        }
    }
    frames > 0 && others == 0
}

/// Which list of frames the current lines belong to.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
enum Section {
    #[default]
    None,
    Kernel,
    User,
}

#[derive(Default)]
struct Reader<'t> {
    text: &'t [u8],
    stacks: Vec<Stack>,
    current: Option<Stack>,
    pid: Option<i64>,
    process: Option<String>,
    /// Line of the `PID:` heading, until its first thread takes it.
    pid_line: Option<u32>,
    section: Section,
    /// Indentation of the section's first and latest frame.
    indents: Option<(usize, usize)>,
    /// Line of the latest frame or of the location lines below it.
    frame_line: u32,
    damaged: Vec<u32>,
}

impl Reader<'_> {
    fn line(&mut self, line: &Line<'_>) {
        let body = line.bytes.trim_ascii();
        if body.is_empty() {
            self.section = Section::None;
            self.indents = None;
        } else if !self.heading(line, body) && !self.frame(line) {
            self.other(line, body);
        }
    }

    /// Takes a `KEY: VALUE` line. Fields of a thread before any `Thread ID:` open a thread of their own.
    fn heading(&mut self, line: &Line<'_>, body: &[u8]) -> bool {
        let Some(colon) = memchr::memchr(b':', body) else { return false };
        let value = body[colon + 1..].trim_ascii();
        match &body[..colon] {
            b"PID" => {
                self.close();
                self.pid = std::str::from_utf8(value).ok().and_then(|digits| digits.parse().ok());
                (self.process, self.pid_line) = (None, Some(line.number));
            }
            b"Process" => self.process = Some(lex::text(value)),
            b"Thread ID" => {
                self.close();
                self.stack(line).tid = Some(lex::text(value));
            }
            b"Thread state" => self.fresh(line).state = Some(state(value)),
            b"Thread wait_event" => self.fresh(line).wait_channel = Some(lex::text(value)),
            b"Thread name" => self.fresh(line).thread = Some(lex::text(value)),
            b"Kernel stack" => {
                self.fresh(line);
                self.open(line, Section::Kernel);
            }
            b"User stack" => self.open(line, Section::User),
            _ => return false,
        }
        true
    }

    fn open(&mut self, line: &Line<'_>, section: Section) {
        self.stack(line);
        (self.section, self.indents) = (section, None);
    }

    fn frame(&mut self, line: &Line<'_>) -> bool {
        let Some(mut frame) = atos::frame(line.bytes) else { return false };
        // A bare address outside a stack is a value of a line that was wrapped, not a frame.
        if self.section == Section::None && frame.module.is_empty() {
            return false;
        }
        self.split_at_indent(lex::indent(line.bytes));
        (frame.line, frame.line_start, self.frame_line) = (line.number, line.start, line.number);
        let user = self.section == Section::User;
        let stack = self.stack(line);
        let list = if user { &mut stack.user_frames } else { &mut stack.frames };
        frame.lookup = if list.is_empty() { Lookup::Exact } else { Lookup::Return };
        list.push(frame);
        true
    }

    /// Without headings (a pasted piece), a new stack begins where the indentation falls back to the first frame's.
    fn split_at_indent(&mut self, indent: usize) {
        let Some((first, latest)) = self.indents else {
            self.indents = Some((indent, indent));
            return;
        };
        let (fell_back, headed) = (indent < latest && indent <= first, self.section != Section::None);
        if fell_back && !headed {
            self.close();
        }
        self.indents = Some((if fell_back { indent } else { first }, indent));
    }

    /// A line that is neither heading nor frame: kept in the text; here only what it means for the stack is decided.
    fn other(&mut self, line: &Line<'_>, body: &[u8]) {
        if line.number == self.frame_line + 1 && atos::is_location(line.bytes) {
            self.frame_line = line.number;
            if let Some(frame) = self.latest_frame() {
                frame.notes += 1;
            }
        } else if self.section != Section::None && (body.starts_with(b"0x") || memmem::find(body, b" (in ").is_some()) {
            self.damaged.push(line.number);
        }
    }

    fn latest_frame(&mut self) -> Option<&mut RawFrame> {
        let user = self.section == Section::User;
        let stack = self.current.as_mut()?;
        if user { stack.user_frames.last_mut() } else { stack.frames.last_mut() }
    }

    /// The stack that lines belong to, opened at `line` when there is none.
    fn stack(&mut self, line: &Line<'_>) -> &mut Stack {
        let (pid, process, pid_line) = (self.pid, &self.process, &mut self.pid_line);
        self.current.get_or_insert_with(|| Stack {
            pid,
            process: process.clone(),
            line: pid_line.take().unwrap_or(line.number),
            count: 1,
            ..Stack::default()
        })
    }

    /// The same for a line that stands before a thread's frames: if there are some, its `Thread ID:` line was lost.
    fn fresh(&mut self, line: &Line<'_>) -> &mut Stack {
        if self.current.as_ref().is_some_and(|stack| !stack.frames.is_empty()) {
            self.close();
        }
        self.stack(line)
    }

    fn close(&mut self) {
        if let Some(mut stack) = self.current.take() {
            stack.frames.shrink_to_fit();
            self.stacks.push(stack);
        }
        (self.section, self.indents) = (Section::None, None);
    }

    fn finish(mut self) -> Capture {
        self.close();
        let frames = || self.stacks.iter().flat_map(|stack| &stack.frames);
        let arch = frames().filter_map(|frame| frame.address).find_map(Arch::of_darwin_address);
        let is_kernel = |name: &[u8]| name.ends_with(b"kernel");
        let kernel_name = frames().map(|frame| frame.module.of(self.text, frame.line_start)).find(|name| is_kernel(name));
        Capture {
            format: DarwinStackshot.id(),
            os: Some(Os::Darwin),
            arch,
            kernel_name: Some(kernel_name.map_or_else(|| "mach_kernel".to_string(), lex::text)),
            basis: Some(Basis::Unslid),
            notes: damage_note(&self.damaged).into_iter().collect(),
            stacks: self.stacks,
            ..Capture::default()
        }
    }
}

/// `0x9 == TH_WAIT |TH_UNINT ` becomes `TH_WAIT|TH_UNINT`; without names the number stays.
fn state(value: &[u8]) -> String {
    let flags = memmem::find(value, b"==").map_or(value, |at| &value[at + 2..]);
    lex::text(&flags.iter().copied().filter(|b| !b.is_ascii_whitespace()).collect::<Vec<u8>>())
}

fn damage_note(lines: &[u32]) -> Option<Note> {
    let first = lines.first()?;
    let more = if lines.len() > 1 { format!(" and {} more", lines.len() - 1) } else { String::new() };
    Some(Note::warning("", format!("line {first}{more} looks like a cut or damaged frame; left as it is")))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLE: &str = "PID: 156\r\n    Process: zpool\r\n    Thread ID: 0x4e2\r\n    Thread state: 0x9 == TH_WAIT |TH_UNINT \r\n    \
        Thread wait_event: 0xffffff8006608a6c\r\n    Kernel stack: \r\n    machine_switch_context (in mach_kernel) + 366 (0xffffff80002b3d3e)\r\n      \
        0xffffff7f80e52a76 (0xffffff7f80e52a76)\r\n\r\n    Thread ID: 0x4e3\r\n    Kernel stack: \r\n    0xffffff80002b3d3e (0xffffff80002b3d3e)\r\n    \
        User stack: \r\n    0x7fff8a2b3c4d (0x7fff8a2b3c4d)\r\n";

    #[test]
    fn threads_have_their_process_state_and_frames() {
        let capture = DarwinStackshot.parse(SAMPLE.as_bytes());
        let [first, second] = &capture.stacks[..] else { panic!("{:?}", capture.stacks) };
        assert_eq!((first.pid, first.process.as_deref(), first.tid.as_deref(), first.line), (Some(156), Some("zpool"), Some("0x4e2"), 1));
        assert_eq!((first.state.as_deref(), first.wait_channel.as_deref()), (Some("TH_WAIT|TH_UNINT"), Some("0xffffff8006608a6c")));
        assert_eq!(first.frames.iter().map(|f| (f.line, f.lookup)).collect::<Vec<_>>(), [(7, Lookup::Exact), (8, Lookup::Return)]);
        assert_eq!((second.pid, second.line, second.frames.len(), second.user_frames.len()), (Some(156), 10, 1, 1));
        assert_eq!(capture.arch, Some(Arch::X86_64));
    }

    #[test]
    fn a_pasted_piece_without_headings_splits_at_the_indentation() {
        let text = "a (in k) + 1 (0xffffff8000000001)\n  b (in k) + 1 (0xffffff8000000002)\nc (in k) + 1 (0xffffff8000000003)\n";
        let capture = DarwinStackshot.parse(text.as_bytes());
        assert_eq!(capture.stacks.iter().map(|s| s.frames.len()).collect::<Vec<_>>(), [2, 1]);
    }

    #[test]
    fn named_addresses_in_other_text_are_no_stackshot() {
        let deeper = "a (in k) + 1 (0xffffff8000000001)\n    at a.c:1 in a\n  b (in k) + 1 (0xffffff8000000002)\n";
        for (text, sure) in [
            (deeper.to_string(), Confidence::Likely),
            (format!("pasted:\n{deeper}"), Confidence::Likely),
            ("a (in k) + 1 (0xffffff8000000001)\n\nb (in k) (b.c:12)\n".to_string(), Confidence::Likely),
            (
                "It hung at\na (in k) + 1 (0xffffff8000000001)\n    at a.c:1 in a\nand at\n  b (in k) + 1 (0xffffff8000000002)\n"
                    .to_string(),
                Confidence::No,
            ),
            ("It hung:\na (in k) + 1 (0xffffff8000000001)\nb (in k) + 1 (0xffffff8000000002)\n".to_string(), Confidence::No),
        ] {
            assert_eq!(DarwinStackshot.sniff(text.as_bytes()), sure, "{text}");
        }
    }

    #[test]
    fn a_cut_frame_is_said_and_not_guessed() {
        let cut = &SAMPLE[..SAMPLE.find("0xffffff7f80e52a76 (0xffffff7f80e52").unwrap() + 30];
        let capture = DarwinStackshot.parse(cut.as_bytes());
        assert_eq!(capture.stacks[0].frames.len(), 1);
        assert!(capture.notes[0].text.starts_with("line 8 looks like a cut"), "{:?}", capture.notes);
    }
}
