//! Tables of `procstat -k`, `-kk` and `procstat kstack -v`, and what Ctrl-T prints with `kern.tty_info_kstacks`.
//!
//! ```text
//!   PID    TID COMM                TDNAME              KSTACK
//!  3480 100183 exchange_server     worker one          mi_switch+0xbc sleepq_catch_signals+0x27d
//! sleepq_wait_sig+0x9 _sleep+0x1a1                                      a line that was wrapped when it was pasted
//!    11 100003 idle                idle: cpu0          <running>
//! load: 0.46  cmd: cat 47077 [ttyin] 628.14r 0.00u 0.00s 0% 2140k
//! mi_switch+0xc2 sleepq_catch_signals+0x2e6
//! ```
//! Sources: usr.bin/procstat/procstat_kstack.c (`%5d %6d %-19s %-19s `; 16 in place of 19 up to FreeBSD 11), sys/kern/tty_info.c. Frames
//! stand innermost first. Names of commands and threads can contain blanks, so that the columns of the heading tell where they end.

use super::lex::{self, Line};
use super::{Confidence, bsd_frame};
use crate::model::stack::{RawFrame, Span, Stack, StackKind};
use crate::note::Note;

/// Where the columns of a table are, counted from the end of `TID`.
#[derive(Clone, Copy, Debug)]
struct Columns {
    thread: usize,
    stack: usize,
}

/// How sure it is that `head` has such a table.
pub fn sniff(head: &[u8]) -> Confidence {
    let mut best = Confidence::No;
    let mut tty = false;
    for line in lex::lines(head) {
        if columns(line.bytes).is_some() {
            return Confidence::Certain;
        }
        // A row without a heading, of `grep`, and the line below that of Ctrl-T.
        let row = ids(line.bytes).is_some_and(|(_, _, at)| count(&line.bytes[at..]) > 1);
        if row || tty && is_continuation(line.bytes) {
            best = Confidence::Likely;
        }
        tty = is_tty(line.bytes);
    }
    best
}

/// How many words of `text` are a name with an offset and nothing else.
fn count(text: &[u8]) -> usize {
    lex::words(text).filter(|word| with_offset(word)).count()
}

/// The stacks of the tables in `text`.
pub fn stacks(text: &[u8], notes: &mut Vec<Note>) -> Vec<Stack> {
    let mut table = Table { columns: None, stacks: Vec::new(), tty: None, open: false };
    for line in lex::lines(text) {
        table.line(&line, notes);
    }
    table.stacks
}

struct Table {
    columns: Option<Columns>,
    stacks: Vec<Stack>,
    /// What Ctrl-T said in the line before.
    tty: Option<Stack>,
    /// Whether the next line can go on with the latest stack.
    open: bool,
}

impl Table {
    fn line(&mut self, line: &Line<'_>, notes: &mut Vec<Note>) {
        if let Some(columns) = columns(line.bytes) {
            (self.columns, self.open) = (Some(columns), false);
        } else if let Some(stack) = self.row(line) {
            self.stacks.push(stack);
            self.open = true;
        } else if let Some(stack) = self.tty.take().filter(|_| is_continuation(line.bytes)) {
            let frames = frames(line, 0);
            self.stacks.push(Stack { frames: frames.into(), ..stack });
            self.open = true;
        } else if self.open && is_continuation(line.bytes) {
            self.go_on(line, notes);
        } else if self.open && line.bytes.ends_with(b" [inline]") {
            // A function that an earlier run found inlined into a frame of the line above.
            if let Some(last) = self.stacks.last_mut().and_then(|stack| stack.frames.last_mut()) {
                last.notes += 1;
            }
        } else {
            self.open = false;
            self.tty = tty(line);
        }
    }

    /// `PID TID COMM TDNAME FRAMES`; without a heading only rows whose frames have offsets are told from other text.
    fn row(&self, line: &Line<'_>) -> Option<Stack> {
        let (pid, tid, at) = ids(line.bytes)?;
        let rest = &line.bytes[at..];
        let by_columns = self.columns.and_then(|columns| split(rest, columns));
        let (comm, thread, from) = match by_columns {
            Some(found) => found,
            None => split_alone(rest).or_else(|| guess(rest))?,
        };
        let mut frames = frames(line, at + from);
        let state = lex::words(&rest[from..]).next().filter(|word| word.starts_with(b"<") && word.ends_with(b">"));
        let state = state.map(|word| lex::text(&word[1..word.len() - 1]));
        if state.is_some() {
            frames.clear();
        } else if frames.is_empty() {
            return None;
        }
        let thread = Some(lex::text(thread)).filter(|thread| !thread.is_empty() && thread != "-");
        let process = Some(lex::text(comm)).filter(|comm| !comm.is_empty());
        let stack =
            Stack { kind: StackKind::Thread, pid: Some(pid), tid: Some(lex::text(tid)), process, thread, state, ..Stack::default() };
        Some(Stack { count: 1, line: line.number, frames: frames.into(), ..stack })
    }

    /// A line that was wrapped; a word that was cut in two cannot be a frame, and its parts are no names.
    fn go_on(&mut self, line: &Line<'_>, notes: &mut Vec<Note>) {
        let Some(stack) = self.stacks.last_mut() else { return };
        let mut all: Vec<RawFrame> = stack.frames.iter().copied().collect();
        let detailed = all.iter().any(|frame| frame.offset.is_some());
        let cut = all.last().is_some_and(|last| last.offset.is_none()) && detailed;
        let mut more = frames(line, 0);
        if cut && !more.is_empty() {
            let broken = all.pop().map_or(line.number, |frame| frame.line);
            more.remove(0);
            let text = "a frame is broken in two by a wrapped line and left out; capture the table without wrapping";
            notes.push(Note::warning(format!("line {broken}"), text));
        }
        all.extend(more);
        stack.frames = all.into();
    }
}

/// Columns by the heading: widths behind the end of `TID`.
fn columns(line: &[u8]) -> Option<Columns> {
    let find = |word: &[u8]| memchr::memmem::find(line, word);
    let words: Vec<&[u8]> = lex::words(line).collect();
    if words != [&b"PID"[..], b"TID", b"COMM", b"TDNAME", b"KSTACK"] {
        return None;
    }
    let (tid, comm, thread, stack) = (find(b"TID")? + 3, find(b"COMM")?, find(b"TDNAME")?, find(b"KSTACK")?);
    // Where blanks were lost, so were the columns.
    (comm == tid + 1 && thread > comm + 5 && stack > thread + 7).then_some(Columns { thread: thread - tid, stack: stack - tid })
}

/// Process and thread id at the start of a row, and where they end.
fn ids(line: &[u8]) -> Option<(i64, &[u8], usize)> {
    let start = lex::indent(line);
    let mut words = lex::words(line);
    let (pid, tid) = (words.next()?, words.next()?);
    let at = start + pid.len();
    let at = at + lex::indent(&line[at..]) + tid.len();
    let pid = i64::try_from(lex::decimal(pid)?).ok()?;
    // Threads have numbers from 100000 on.
    (lex::decimal(tid)? >= 100_000 && line.get(at) == Some(&b' ')).then_some((pid, tid, at))
}

/// Command, thread, and where the frames begin, if blanks stand between the columns.
fn split(rest: &[u8], columns: Columns) -> Option<(&[u8], &[u8], usize)> {
    let blank = |at: usize| rest.get(at - 1).is_some_and(|b| *b == b' ');
    if rest.len() <= columns.stack || !blank(columns.thread) || !blank(columns.stack) || rest[columns.stack] == b' ' {
        return None;
    }
    let (comm, thread) = (&rest[1..columns.thread], &rest[columns.thread..columns.stack]);
    // Words of a table whose blanks were lost begin anywhere.
    let thread_starts = thread.first().is_some_and(|b| *b != b' ');
    (thread_starts && count(comm) + count(thread) == 0).then_some((comm.trim_ascii(), thread.trim_ascii(), columns.stack))
}

/// The columns of the tables, the newer one first.
const WIDTHS: [Columns; 2] = [Columns { thread: 1 + 20, stack: 1 + 20 + 20 }, Columns { thread: 1 + 17, stack: 1 + 17 + 17 }];

/// The same in a row whose heading is not there: in the columns that procstat has, if its blanks and the first frame fit.
fn split_alone(rest: &[u8]) -> Option<(&[u8], &[u8], usize)> {
    let is_frame = |at: usize| lex::words(&rest[at..]).next().is_some_and(begins_frames);
    WIDTHS.iter().find_map(|columns| split(rest, *columns).filter(|(comm, _, at)| !comm.is_empty() && is_frame(*at)))
}

fn begins_frames(word: &[u8]) -> bool {
    with_offset(word) || matches!(word, b"<running>" | b"<swapped>" | b"<unknown>")
}

/// The same where columns run together: frames begin with the first word that has an offset, or `<running>`.
fn guess(rest: &[u8]) -> Option<(&[u8], &[u8], usize)> {
    let mut at = 0;
    while at < rest.len() {
        at += lex::indent(&rest[at..]);
        let word = rest[at..].split(|b| matches!(b, b' ' | b'\t')).next()?;
        if begins_frames(word) {
            let names = rest[..at].trim_ascii();
            let mut words = lex::words(names);
            return match (words.next(), words.next(), words.next()) {
                (Some(comm), Some(thread), None) => Some((comm, thread, at)),
                _ => Some(parted(names, at)),
            };
        }
        at += word.len().max(1);
    }
    None
}

/// Names with blanks in them: where two stand, a column ends.
fn parted(names: &[u8], at: usize) -> (&[u8], &[u8], usize) {
    match memchr::memmem::find(names, b"  ") {
        Some(gap) => (&names[..gap], names[gap..].trim_ascii(), at),
        None => (names, b"", at),
    }
}

/// `name+0xH`, and no size.
fn with_offset(word: &[u8]) -> bool {
    let Some(plus) = memchr::memmem::rfind(word, b"+0x") else { return false };
    plus > 0 && bsd_frame::is_name(&word[..plus]) && lex::hex(&word[plus + 1..]).is_some()
}

/// Whether every word of a line is a frame; the first and the last can be cut.
fn is_continuation(line: &[u8]) -> bool {
    let words: Vec<&[u8]> = lex::words(line).filter(|word| !bsd_frame::is_place(word)).collect();
    let inner = words.iter().all(|word| bsd_frame::is_name(word.split(|b| *b == b'+').next().unwrap_or_default()));
    let frames = words.iter().filter(|word| with_offset(word)).count();
    inner && frames > 0 && frames + 2 >= words.len()
}

/// The frames of a line from byte `from` on.
fn frames(line: &Line<'_>, from: usize) -> Vec<RawFrame> {
    let mut frames: Vec<RawFrame> = Vec::new();
    let mut at = from;
    while at < line.bytes.len() {
        at += lex::indent(&line.bytes[at..]);
        let word = line.bytes[at..].split(|b| matches!(b, b' ' | b'\t')).next().unwrap_or_default();
        let plus = if with_offset(word) { memchr::memmem::rfind(word, b"+0x") } else { None };
        let name = &word[..plus.unwrap_or(word.len())];
        if bsd_frame::is_place(word) {
            // Where an earlier run found the frame before.
            if let Some(last) = frames.last_mut() {
                last.location = Span { start: at as u32, end: (at + word.len()) as u32 };
            }
        } else if !name.is_empty() && bsd_frame::is_name(name) {
            let span = |length: usize| Span { start: at as u32, end: (at + length) as u32 };
            frames.push(RawFrame {
                offset: plus.and_then(|plus| lex::hex(&word[plus + 1..])),
                symbol: span(name.len()),
                text: span(word.len()),
                line: line.number,
                line_start: line.start,
                reliable: true,
                ..RawFrame::default()
            });
        }
        at += word.len().max(1);
    }
    frames
}

/// Whether a line is the first one of Ctrl-T.
fn is_tty(line: &[u8]) -> bool {
    line.starts_with(b"load: ") && memchr::memmem::find(line, b"  cmd: ").is_some()
}

/// `load: 0.46  cmd: cat 47077 [ttyin] 628.14r …`.
fn tty(line: &Line<'_>) -> Option<Stack> {
    if !is_tty(line.bytes) {
        return None;
    }
    let at = memchr::memmem::find(line.bytes, b"  cmd: ")? + 7;
    let rest = &line.bytes[at..];
    let open = rest.iter().position(|b| *b == b'[')?;
    let close = open + rest[open..].iter().position(|b| *b == b']')?;
    let who = rest[..open].trim_ascii_end();
    let blank = who.iter().rposition(|b| *b == b' ')?;
    let pid = i64::try_from(lex::decimal(&who[blank + 1..])?).ok()?;
    let channel = Some(lex::text(&rest[open + 1..close])).filter(|channel| !channel.is_empty());
    let process = Some(lex::text(who[..blank].trim_ascii()));
    Some(Stack { pid: Some(pid), process, wait_channel: channel, count: 1, line: line.number, ..Stack::default() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Vec<String> {
        let mut notes = Vec::new();
        let one = |stack: &Stack| {
            let names: Vec<String> =
                stack.frames.iter().map(|frame| lex::text(frame.symbol.of(text.as_bytes(), frame.line_start))).collect();
            let text = |name: &Option<String>| name.clone().unwrap_or("-".to_string());
            format!("{} {}/{}: {}", stack.pid.unwrap_or(-1), text(&stack.process), text(&stack.thread), names.join(" "))
        };
        let read = stacks(text.as_bytes(), &mut notes).iter().map(one).collect::<Vec<_>>();
        read.into_iter().chain(notes.iter().map(|note| note.text.clone())).collect()
    }

    #[test]
    fn names_with_blanks_end_where_the_columns_do() {
        let new = "  PID    TID COMM                TDNAME              KSTACK                       \n\
            \x20   0 100312 kernel              zio write issue     mi_switch+0xbf _sleep+0x1f2 fork_exit+0x80 \n\
            \x20  11 100003 idle                idle: cpu0          <running>                    \n";
        assert_eq!(read(new), ["0 kernel/zio write issue: mi_switch _sleep fork_exit", "11 idle/idle: cpu0: "]);
        let old = "  PID    TID COMM             TDNAME           KSTACK                       \n\
            \x203480 100183 my server        -                mi_switch sleepq_wait \n";
        assert_eq!(read(old), ["3480 my server/-: mi_switch sleepq_wait"]);
        assert_eq!(sniff(new.as_bytes()), Confidence::Certain);
    }

    #[test]
    fn rows_without_their_heading_have_its_columns() {
        let new = "   50 100713 zfskern             trim zroot          mi_switch+0xe2 fork_exit+0x83\n\
            \x20  50 100363 zfskern             solthread 0xfffffff mi_switch+0xe2 fork_exit+0x83\n\
            \x20  11 100003 idle                idle: cpu0          <running>\n\
            \x203480 100183 memcheck-x86-freebs -                   mi_switch+0x143 \n";
        let want = [
            "50 zfskern/trim zroot: mi_switch fork_exit",
            "50 zfskern/solthread 0xfffffff: mi_switch fork_exit",
            "11 idle/idle: cpu0: ",
            "3480 memcheck-x86-freebs/-: mi_switch",
        ];
        assert_eq!(read(new), want);
        let old = "   12 100021 intr             irq1: atkbd0     mi_switch+0xe2 fork_exit+0x83\n";
        assert_eq!(read(old), ["12 intr/irq1: atkbd0: mi_switch fork_exit"]);
        let moved = "   50 100713 zfskern    trim zroot   mi_switch+0xe2 fork_exit+0x83\n";
        assert_eq!(read(moved), ["50 zfskern/trim zroot: mi_switch fork_exit"]);
    }

    #[test]
    fn wrapped_lines_go_on_and_broken_words_are_left_out() {
        let text = " 3480 100183 server worker mi_switch+0xbc sleepq_wait+0x3a\n _sleep+0x1 fork_exit+0x2\n\
            \x203481 100184 server worker mi_switch+0xbc sleepq_catch_sig\nnals+0x27d fork_exit+0x2\n";
        let broken = "a frame is broken in two by a wrapped line and left out; capture the table without wrapping";
        let want = ["3480 server/worker: mi_switch sleepq_wait _sleep fork_exit", "3481 server/worker: mi_switch fork_exit", broken];
        assert_eq!(read(text), want);
    }

    #[test]
    fn a_terminal_tells_where_its_process_stands() {
        let text = "load: 0.46  cmd: cat 47077 [ttyin] 628.14r 0.00u 0.00s 0% 2140k\nmi_switch+0xc2 sleepq_catch_signals+0x2e6\n";
        assert_eq!(read(text), ["47077 cat/-: mi_switch sleepq_catch_signals"]);
        assert_eq!(sniff(text.as_bytes()), Confidence::Likely);
        assert!(read("load: 0.46  cmd: cat 47077 [ttyin] 1r\nhello world\n").is_empty());
    }
}
