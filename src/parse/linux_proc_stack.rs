//! `/proc/PID/stack` and `/proc/PID/task/TID/stack`: one file, or many one after the other.
//!
//! ```text
//! ==> /proc/271/stack <==                          head, tail
//! [<0>] __cv_timedwait_common+0x12a/0x160 [spl]
//! [<0>] txg_sync_thread+0x2a8/0x3a0 [zfs]
//! [<0>] ret_from_fork+0x22/0x30
//!
//! == /proc/1/task/1 init                           a loop with echo
//! [<ffffffff8a8a6684>] do_wait+0x114/0x320         up to 4.14
//! [<ffffffffffffffff>] 0xffffffffffffffff
//! /proc/10/stack:[<0>] kthread+0xda/0x100          grep .
//! PID = 301                                        crmsh
//!
//! ==> /proc/271/comm <==                           other files of the same task, in both forms
//! txg_sync
//! /proc/10/wchan:rrw_enter_write
//! ```
//! Sample: Debian 6.1 with OpenZFS. Sources: `proc_pid_stack` in fs/proc/base.c (4.14, 6.12). All frames are return addresses; the
//! file of a running thread is empty.

use std::collections::BTreeMap;

use memchr::memmem;

use super::lex::{self, Line};
use super::linux_frame::{self, Trace};
use super::linux_prefix::{Context, Record};
use super::linux_proc_task::{FILES, Task};
use super::linux_symbol;
use super::{Confidence, Format, Holds};
use crate::model::addr::{Arch, Avma};
use crate::model::capture::{Capture, Os};
use crate::model::image::Basis;
use crate::model::stack::{RawFrame, Stack};

/// The format.
pub struct LinuxProcStack;

/// What only kernel logs have, whose frames can look alike.
const LOG: &[&[u8]] = &[b"Call Trace:", b"Call trace:", b"backtrace:"];

/// What old kernels print below the outermost frame.
const TERMINATOR: Avma = Avma(u64::MAX);

impl Format for LinuxProcStack {
    fn id(&self) -> &'static str {
        "linux-proc-stack"
    }
    fn about(&self) -> &'static str {
        "/proc/PID/stack and /proc/PID/task/TID/stack, one file or many with any heading (head, tail, grep, loops)"
    }
    fn holds(&self) -> Holds {
        Holds::Stacks
    }
    fn marks(&self) -> &'static [&'static [u8]] {
        &[b"[<0>] ", b"== /proc/", b"/stack:[<"]
    }

    fn sniff(&self, head: &[u8]) -> Confidence {
        if LOG.iter().any(|marker| memmem::find(head, marker).is_some()) {
            return Confidence::No;
        }
        let (mut frames, mut hidden, mut paths, mut others) = (0, 0, 0, 0);
        for line in lex::lines(head) {
            let (path, rest, at) = split(line.bytes);
            paths += usize::from(path.is_some() || path_ids(line.bytes).is_some());
            let frame = frame(&line, rest, at).is_some();
            frames += usize::from(frame);
            hidden += usize::from(frame && rest.starts_with(b"[<0>]"));
            others += usize::from(!frame && !line.bytes.is_empty());
        }
        match (frames, hidden > 0 || paths > 0) {
            (0, _) => Confidence::No,
            (_, true) => Confidence::Certain,
            _ if frames > others => Confidence::Likely,
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

/// Who the file belongs to.
#[derive(Clone, Default, PartialEq, Debug)]
struct Owner {
    pid: Option<i64>,
    tid: Option<i64>,
    comm: Option<String>,
}

#[derive(Default)]
struct Reader<'t> {
    text: &'t [u8],
    stacks: Vec<Stack>,
    current: Option<Stack>,
    /// Its frames, moved to it at its end: so that it takes no more memory than it needs.
    frames: Vec<RawFrame>,
    owner: Owner,
    /// Line of the heading that named the owner, until its stack takes it.
    heading: Option<u32>,
    /// The path in front of the latest line of `grep`.
    path: &'t [u8],
    /// Which other file of a task the lines are of.
    section: Option<(Owner, &'static str)>,
    /// The bytes of those files.
    files: BTreeMap<(i64, i64, &'static str), Vec<u8>>,
    /// The latest frame is an entry into the kernel, or the terminator below it.
    ended: bool,
    arch: Option<Arch>,
}

impl<'t> Reader<'t> {
    fn line(&mut self, line: &Line<'t>) {
        if let Some((owner, file, rest)) = file_line(line.bytes) {
            return self.file(&owner, file, rest);
        }
        let (path, rest, at) = split(line.bytes);
        if let Some(path) = path.filter(|path| *path != self.path) {
            self.head(line, Owner { comm: None, ..path_ids(path).unwrap_or_default() });
            self.path = path;
        }
        if let Some(frame) = frame(line, rest, at) {
            self.section = None;
            self.frame(frame);
        } else if rest.trim_ascii().is_empty() {
            self.close();
        } else if let Some(section) = file_heading(line.bytes) {
            self.head(line, section.0.clone());
            self.section = Some(section);
        } else if let Some((owner, file)) = self.section.clone().filter(|_| path_ids(line.bytes).is_none()) {
            self.file(&owner, file, line.bytes);
        } else {
            self.section = None;
            self.head(line, owner(line.bytes));
        }
    }

    /// A line that is no frame ends a stack and says, if anything, whose the next one is.
    fn head(&mut self, line: &Line<'_>, owner: Owner) {
        self.close();
        self.heading = (owner != Owner::default()).then_some(line.number);
        self.owner = owner;
    }

    /// A line of another file of a task.
    fn file(&mut self, owner: &Owner, file: &'static str, text: &[u8]) {
        let Some(pid) = owner.pid else { return };
        let bytes = self.files.entry((pid, owner.tid.unwrap_or(pid), file)).or_default();
        bytes.extend_from_slice(text);
        bytes.push(b'\n');
    }

    fn frame(&mut self, frame: RawFrame) {
        if frame.address == Some(TERMINATOR) {
            self.ended = true;
            return;
        }
        let name = frame.symbol.of(self.text, frame.line_start);
        let entry = linux_symbol::is_entry(name);
        if self.ended && !entry {
            self.close();
        }
        self.ended = entry;
        if entry {
            self.arch = self.arch.or_else(|| linux_symbol::arch_of_entry(name));
        }
        let (owner, heading) = (&self.owner, &mut self.heading);
        self.current.get_or_insert_with(|| Stack {
            pid: owner.pid,
            tid: owner.tid.map(|tid| tid.to_string()),
            process: owner.comm.clone(),
            line: heading.take().unwrap_or(frame.line),
            count: 1,
            ..Stack::default()
        });
        self.frames.push(frame);
    }

    fn close(&mut self) {
        if let Some(stack) = self.current.take() {
            self.stacks.push(Stack { frames: self.frames.to_vec().into(), ..stack });
            self.frames.clear();
            self.owner = Owner::default();
        }
        self.ended = false;
    }

    fn finish(mut self) -> Capture {
        self.close();
        let mut tasks: BTreeMap<(i64, i64), Task> = BTreeMap::new();
        for ((pid, tid, file), bytes) in &self.files {
            tasks.entry((*pid, *tid)).or_default().take(file, bytes.trim_ascii_end());
        }
        for stack in self.stacks.iter_mut().filter(|_| !tasks.is_empty()) {
            let Some(pid) = stack.pid else { continue };
            let tid = stack.tid.as_deref().and_then(|tid| tid.parse().ok()).unwrap_or(pid);
            if let Some(task) = tasks.get(&(pid, tid)) {
                task.tell(stack, None);
            }
        }
        Capture {
            format: LinuxProcStack.id(),
            os: Some(Os::Linux),
            arch: self.arch,
            basis: Some(Basis::Runtime),
            stacks: self.stacks,
            ..Capture::default()
        }
    }
}

/// `/proc/10/stack:[<0>] …` in path, rest, and where the rest begins; without such a path all of it is the rest.
fn split(line: &[u8]) -> (Option<&[u8]>, &[u8], u32) {
    const END: &[u8] = b"/stack:";
    // Frames begin with a bracket, and names of processes are no paths.
    let found = if line.starts_with(b"[") { None } else { memmem::find(line, END) };
    match found.filter(|at| !line[..*at].contains(&b' ')) {
        Some(at) => (Some(&line[..at]), &line[at + END.len()..], (at + END.len()) as u32),
        None => (None, line, 0),
    }
}

/// Task and file of a line of `grep`, `/proc/10/comm:kworker/0:1`, and the line of that file.
fn file_line(line: &[u8]) -> Option<(Owner, &'static str, &[u8])> {
    let at = memchr::memchr(b':', line).filter(|_| line.starts_with(b"/proc/"))?;
    let (owner, file) = file_of(&line[..at])?;
    Some((owner, file, &line[at + 1..]))
}

/// Task and file of `==> /proc/10/comm <==`.
fn file_heading(line: &[u8]) -> Option<(Owner, &'static str)> {
    file_of(line.strip_prefix(b"==> ")?.strip_suffix(b" <==")?)
}

fn file_of(path: &[u8]) -> Option<(Owner, &'static str)> {
    let name = path.rsplit(|b| *b == b'/').next()?;
    let file = FILES.into_iter().find(|file| file.as_bytes() == name)?;
    Some((path_ids(path)?, file))
}

/// A frame, which always begins with an address, hidden or not.
fn frame(line: &Line<'_>, text: &[u8], at: u32) -> Option<RawFrame> {
    let record = Record { context: Context::Bare, line: line.number, line_start: line.start, at, text };
    match linux_frame::trace(&record) {
        Some(Trace::One(frame)) if text.starts_with(b"[<") => Some(frame),
        _ => None,
    }
}

/// Process and thread of `/proc/1/task/2` in a line, and the name behind the path.
fn path_ids(line: &[u8]) -> Option<Owner> {
    let at = memmem::find(line, b"proc/")? + 5;
    let path = line[at..].split(|b| matches!(b, b' ' | b'\t' | b':')).next().unwrap_or_default();
    let mut parts = path.split(|b| *b == b'/');
    let pid = id(parts.next()?)?;
    let tid = parts.next().filter(|part| *part == b"task").and_then(|_| id(parts.next()?));
    let name = line[at + path.len()..].trim_ascii_start();
    let name = name.strip_suffix(b"<==").or(name.strip_suffix(b"==")).unwrap_or(name).trim_ascii();
    let name = name.strip_prefix(b":").unwrap_or(name).trim_ascii();
    Some(Owner { pid: Some(pid), tid, comm: (!name.is_empty()).then(|| lex::text(name)) })
}

fn id(word: &[u8]) -> Option<i64> {
    lex::decimal(word).and_then(|id| i64::try_from(id).ok())
}

/// `== /proc/1/task/1 init`, `PID = 301`, `pid: 301 (dd)`, `== 301 dd ==`; nothing of what says neither.
fn owner(line: &[u8]) -> Owner {
    if let Some(owner) = path_ids(line) {
        return owner;
    }
    let separator = |b: &u8| matches!(b, b' ' | b'\t' | b'=' | b':' | b'#' | b'-' | b'(' | b')' | b',' | b'<' | b'>' | b'[' | b']');
    let mut words = line.split(separator).filter(|word| !word.is_empty());
    let first = words.next().unwrap_or_default();
    let labelled = [b"PID".as_slice(), b"TID", b"TASK", b"THREAD", b"PROCESS"].iter().any(|label| first.eq_ignore_ascii_case(label));
    let pid = id(if labelled { words.next().unwrap_or_default() } else { first });
    let comm = words.next().filter(|_| pid.is_some());
    Owner { pid, tid: None, comm: comm.map(lex::text) }
}

/// Process and name that a heading above a stack tells; `None` where it tells no process.
pub(super) fn task(line: &[u8]) -> Option<(Option<i64>, Option<String>)> {
    let owner = owner(line);
    owner.pid.map(|pid| (Some(pid), owner.comm))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRAMES: &str = "[<0>] __cv_timedwait_common+0x12a/0x160 [spl]\n[<0>] ret_from_fork+0x22/0x30\n";

    /// Process, thread, name and number of frames.
    type Seen = (Option<i64>, Option<String>, Option<String>, usize);

    fn stacks(text: &str) -> Vec<Seen> {
        assert_eq!(LinuxProcStack.sniff(text.as_bytes()), Confidence::Certain, "{text}");
        let capture = LinuxProcStack.parse(text.as_bytes());
        capture.stacks.into_iter().map(|s| (s.pid, s.tid, s.process, s.frames.len())).collect()
    }

    #[test]
    fn every_heading_names_its_owner() {
        let own = |comm: Option<&str>| (Some(271), None, comm.map(str::to_string), 2);
        assert_eq!(stacks(&format!("==> /proc/271/stack <==\n{FRAMES}\n==> /proc/271/stack <==\n{FRAMES}")), [own(None), own(None)]);
        assert_eq!(stacks(&format!("PID = 271\n{FRAMES}PID: 271\n{FRAMES}")), [own(None), own(None)]);
        assert_eq!(stacks(&format!("== 271 txg_sync ==\n{FRAMES}")), [own(Some("txg_sync"))]);
        let task = (Some(271), Some("272".to_string()), Some("kworker/1:2".to_string()), 2);
        assert_eq!(stacks(&format!("== /proc/271/task/272 kworker/1:2\n{FRAMES}")), [task]);
        let grep: String = FRAMES.lines().map(|line| format!("/proc/271/stack:{line}\n")).collect();
        assert_eq!(stacks(&format!("{grep}{}", grep.replace("271", "272")))[0], own(None));
    }

    #[test]
    fn without_headings_the_outermost_frame_ends_a_stack() {
        let found = stacks(&format!("{FRAMES}[<0>] ret_from_fork_asm+0x1a/0x30\n{FRAMES}"));
        assert_eq!(found.iter().map(|stack| stack.3).collect::<Vec<_>>(), [3, 2]);
    }

    #[test]
    fn addresses_of_old_kernels_are_read_and_their_terminator_is_no_frame() {
        let text = b"== /proc/1/task/1 init\n[<ffffffff8a8a6684>] do_wait+0x114/0x320\n[<ffffffff8a8a7dc4>]\n[<ffffffffffffffff>] 0xffffffffffffffff\n";
        let capture = LinuxProcStack.parse(text);
        let addresses: Vec<_> = capture.stacks[0].frames.iter().map(|frame| frame.address.unwrap().0).collect();
        assert_eq!(addresses, [0xffff_ffff_8a8a_6684, 0xffff_ffff_8a8a_7dc4]);
    }

    #[test]
    fn other_files_of_a_task_say_who_it_is() {
        let head = format!(
            "==> /proc/271/cmdline <==\n\n==> /proc/271/status <==\nName:\ttxg_sync\nState:\tD (disk sleep)\nPid:\t271\n\n\
             ==> /proc/271/wchan <==\nrrw_enter_write\n==> /proc/271/stack <==\n{FRAMES}\n==> /proc/272/stack <==\n{FRAMES}"
        );
        let frames = |tid: u32| FRAMES.lines().map(move |line| format!("/proc/271/task/{tid}/stack:{line}\n")).collect::<String>();
        let grep = format!(
            "{}/proc/271/task/271/comm:txg_sync\n/proc/271/task/271/stat:271 (txg_sync) D 2 0\n/proc/271/task/271/wchan:rrw_enter_write\n{}",
            frames(271),
            frames(272)
        );
        for text in [head, grep] {
            let capture = LinuxProcStack.parse(text.as_bytes());
            let [known, other] = &capture.stacks[..] else { panic!("{text}") };
            let told = [&known.process, &known.state, &known.wait_channel].map(|told| told.as_deref().unwrap_or_default());
            assert_eq!(told, ["txg_sync", "D", "rrw_enter_write"], "{text}");
            assert_eq!((known.frames.len(), other.frames.len(), &other.process, &other.state), (2, 2, &None, &None), "{text}");
        }
    }

    #[test]
    fn kernel_logs_are_not_claimed() {
        assert_eq!(LinuxProcStack.sniff(b"Call Trace:\n [<ffffffff8a8a6684>] do_wait+0x114/0x320\n"), Confidence::No);
        assert_eq!(LinuxProcStack.sniff(b"stackshot\nPID: 156\n"), Confidence::No);
    }
}
