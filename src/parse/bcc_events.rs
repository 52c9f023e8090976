//! What begins the stack of one event in the output of bcc's tools.
//!
//! ```text
//! PID     TID     COMM            FUNC             -                 trace -K, -U: a table
//! 9557    9557    a.out           do_sys_open      temp.1
//!         do_sys_open+0x1 [kernel]
//! TIME     PID     IP SADDR:SPORT          > DADDR:DPORT  STATE      tcpdrop, also bpftrace's
//! 14:46:49 0       4  39.156.66.10:80      > 10.211.55.10:33280 SYN_SENT
//!         b'sk_skb_reason_drop+0x1e4'
//! TASK: kworker/u16:5 (pid  5903 tid  5903) Total Time: 194.427  us  criticalstat
//!         248 bytes in 4 allocations from stack                      memleak
//! TIME(s)            FUNCTION                                        stacksnoop; with -v COMM, PID and CPU too
//! 0.042229132        submit_bio
//!         submit_bio
//! 248 bytes in 4 allocations from stack                              memleak of libbpf-tools
//!         addr = 0x948cd0 size = 16
//!         0 [<ffffffff8103ce3b>] kmalloc+0x10
//! ```
//! Source: tools/stacksnoop.py, libbpf-tools/stacksnoop.c and memleak.c, tools/trace.py, tcpdrop.py, criticalstat.py, memleak.py (bcc 0.30). A stack ends with the first line that is no frame.

use super::lex::{self, Line};
use crate::model::stack::Stack;

/// Where a table has what says whose an event is: numbers of columns.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Columns {
    pid: Option<usize>,
    tid: Option<usize>,
    command: Option<Column>,
    function: Option<Column>,
    /// The heading is one that no other tool has.
    pub(super) certain: bool,
}

/// A column of text.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Column {
    /// Its number.
    number: usize,
    /// The byte in which it begins.
    start: usize,
    /// The byte in which the next begins.
    end: usize,
}

impl Column {
    /// The column that `name` heads.
    fn of(line: &[u8], name: &[u8]) -> Option<Column> {
        let starts = || lex::words(line).map(|word| word.as_ptr() as usize - line.as_ptr() as usize);
        let number = lex::words(line).position(|word| word == name)?;
        Some(Column { number, start: starts().nth(number)?, end: starts().nth(number + 1).unwrap_or(line.len()) })
    }

    /// What a row has there. Names have blanks: where the row keeps to the columns it is all between them, otherwise a word.
    fn text(self, row: &[u8]) -> Option<&[u8]> {
        let is_blank = |at: usize| row.get(at).is_none_or(|b| *b == b' ');
        let kept = is_blank(self.start.wrapping_sub(1)) && !is_blank(self.start) && is_blank(self.end - 1);
        if kept { Some(row[self.start..self.end.min(row.len())].trim_ascii()) } else { lex::words(row).nth(self.number) }
    }
}

impl Columns {
    /// Reads the heading of a table with processes in it.
    pub(super) fn of(line: &[u8]) -> Option<Columns> {
        let place = |name: &[u8]| lex::words(line).position(|word| word == name);
        let pid = place(b"PID");
        let known = line.starts_with(b"PID ") || line.starts_with(b"TIME");
        let own = pid.is_some() && (place(b"COMM").is_some() || place(b"SADDR:SPORT").is_some());
        let alone = lex::words(line).eq([&b"TIME(s)"[..], b"FUNCTION"]);
        let snooped = Column::of(line, b"FUNCTION");
        let certain = alone || snooped.is_some();
        let function = Column::of(line, b"FUNC").or(snooped);
        (known && (own || alone)).then(|| Columns { pid, tid: place(b"TID"), command: Column::of(line, b"COMM"), function, certain })
    }

    /// Reads a row.
    fn row(self, line: &Line<'_>) -> Option<Stack> {
        if lex::indent(line.bytes) > 0 {
            return None;
        }
        let word = |at: usize| lex::words(line.bytes).nth(at);
        let number = |at: usize| word(at).filter(|word| lex::decimal(word).is_some());
        let pid = match self.pid {
            Some(at) => Some(number(at).and_then(lex::decimal)?),
            None => seconds(word(0)?).then_some(None)?,
        };
        let text = |column: Option<Column>| column.and_then(|column| column.text(line.bytes)).map(lex::text);
        Some(Stack {
            pid: pid.and_then(|pid| i64::try_from(pid).ok()),
            tid: self.tid.and_then(number).map(lex::text),
            process: text(self.command),
            title: text(self.function),
            line: line.number,
            count: 1,
            ..Stack::default()
        })
    }
}

/// What a line says of the stacks below it.
pub(super) enum Opens {
    /// The next stack's owner.
    Event(Box<Stack>),
    /// Whether all that follow are of programs.
    Side {
        /// Not of the kernel.
        user: bool,
    },
}

/// Reads a line that begins the stack of an event.
pub(super) fn opens(line: &Line<'_>, columns: Option<Columns>) -> Option<Opens> {
    if let Some(to) = line.bytes.strip_prefix(b"Attaching to ") {
        return Some(Opens::Side { user: to.starts_with(b"pid ") || to.starts_with(b"command ") });
    }
    if let Some(of_kernel) = line.bytes.strip_prefix(b"tracing kernel: ") {
        return Some(Opens::Side { user: of_kernel == b"false" });
    }
    let event = section(line).or_else(|| leak(line)).or_else(|| columns?.row(line));
    event.map(|stack| Opens::Event(Box::new(stack)))
}

/// Whether a line can stand between the beginning of an event and its first frame.
pub(super) fn goes_on(line: &[u8]) -> bool {
    line.trim_ascii().is_empty() || line.starts_with(b"Section ") || line.starts_with(b"\taddr = ")
}

/// `0.042229132`.
fn seconds(word: &[u8]) -> bool {
    let point = memchr::memchr(b'.', word);
    point.is_some_and(|at| lex::decimal(&word[..at]).is_some() && lex::decimal(&word[at + 1..]).is_some())
}

/// `TASK: NAME (pid N tid N) Total Time: N  us`.
fn section(line: &Line<'_>) -> Option<Stack> {
    let rest = line.bytes.strip_prefix(b"TASK: ")?;
    let open = memchr::memmem::rfind(rest, b" (pid ")?;
    let mut words = lex::words(&rest[open + 6..]);
    let (pid, word, tid) = (words.next()?, words.next()?, words.next()?);
    let tid = tid.strip_suffix(b")").filter(|tid| word == b"tid" && lex::decimal(tid).is_some())?;
    Some(Stack {
        process: Some(lex::text(&rest[..open])),
        pid: i64::try_from(lex::decimal(pid)?).ok(),
        tid: Some(lex::text(tid)),
        line: line.number,
        count: 1,
        ..Stack::default()
    })
}

/// `248 bytes in 4 allocations from stack`.
fn leak(line: &Line<'_>) -> Option<Stack> {
    let words: Vec<&[u8]> = lex::words(line.bytes).take(8).collect();
    let [bytes, b"bytes", b"in", count, b"allocations", b"from", b"stack"] = &words[..] else { return None };
    Some(Stack { bytes: Some(lex::decimal(bytes)?), count: lex::decimal(count)?, line: line.number, ..Stack::default() })
}
