//! What lines of a BSD console say about the stack that follows: what happened, whose stack it is, what kind it is of.
//!
//! ```text
//! panic: mtx_lock() of destroyed mutex @ sys/kern/sys_socket.c:316            what happened
//! Fatal trap 12: page fault while in kernel mode
//! instruction pointer     = 0x20:0xffffffff82632029                           where it came in; FreeBSD
//! current process         = 3094 (syz-executor0)                              whose the next stack is; FreeBSD
//! [ thread pid 907 tid 100096 ]
//! Tracing command zfskern pid 5 tid 100096 td 0xfffff80003a5a000 (CPU 1)      ddb's alltrace
//! curlwp 0xffffdd8012046b00 pid 8023.2 lowest kstack 0xffffdd817bba42c0       NetBSD: process.lwp
//! trace: pid 0 lid 5 at 0xffffdd817bbab690
//! ddb{1}> machine ddbcpu 0                                                   the debugger turns to another CPU
//! ddb{0}> trace /t 0t72594                                                   ... traces another thread
//! *329861   4439      0         0x2          0    0K syz-executor1            OpenBSD: thread, process; `*` is the one that runs
//! Process 71 (reaper) thread 0xffff800020bba4c8 (482899)
//! lock order "netlock"(rwlock) -> "&ip->i_lock"(rrwlock) first seen at:      witness
//! exclusive rwlock fdlock r = 0 (0xfffffd8073f0e448)
//! ```
//! Sources: sys/kern/kern_shutdown.c, sys/amd64/amd64/trap.c, sys/ddb/db_thread.c, sys/ddb/db_ps.c, sys/kern/subr_witness.c (FreeBSD),
//! sys/arch/x86/x86/db_trace.c, sys/arch/amd64/amd64/trap.c (NetBSD), sys/kern/subr_witness.c, sys/ddb/db_command.c (OpenBSD).

use super::lex;
use crate::model::stack::StackKind;

/// Whose a stack is, as far as lines before it said.
#[derive(Clone, Default, PartialEq, Debug)]
pub struct Owner {
    /// Process id.
    pub pid: Option<i64>,
    /// Thread or LWP id, as printed.
    pub tid: Option<String>,
    /// Name of the process or command.
    pub process: Option<String>,
    /// CPU number.
    pub cpu: Option<u32>,
    /// Where it stopped, `name+0xH`: the stack begins with that very instruction.
    pub stopped: Option<String>,
    /// The instruction at which a fatal trap came in, an address of the running kernel.
    pub pc: Option<u64>,
}

/// What a line is.
#[derive(Clone, PartialEq, Debug)]
pub enum Heading {
    /// Nothing that matters; perhaps it told of the owner.
    None,
    /// It says what happened, from that byte on.
    Happened(usize),
    /// A stack follows; of that kind, or the crash's own.
    Stack(Option<StackKind>),
    /// A stack follows that the line itself describes.
    Titled(StackKind),
    /// The debugger turns to that CPU.
    Cpu(u32),
    /// The kernel's version.
    Version(String),
}

/// How messages begin that say what happened.
const HAPPENED: &[&[u8]] = &[
    b"panic: ",
    b"Fatal trap ",
    b"Fatal double fault",
    b"fatal page fault in supervisor mode",
    b"fatal protection fault in supervisor mode",
    b"fatal ",
    b"uvm_fault(",
    b"kernel: page fault trap",
    b"kernel: protection fault trap",
    b"kernel: double fault trap",
    b"kernel: ",
    b"witness: ",
    b"lock order reversal:",
    b"ASan: ",
    b"MSan: ",
    b"UBSan: ",
    b"KCSan: ",
];

/// Reads a line without blanks around it; what it says of an owner goes to `owner`. A line that says what happened leaves it as it is.
pub fn read(text: &[u8], owner: &mut Owner) -> Heading {
    if let Some(at) = happened(text) {
        return Heading::Happened(at);
    }
    if let Some(heading) = begins(text, owner) {
        return heading;
    }
    tells(text, owner);
    version(text).map_or(Heading::None, Heading::Version)
}

/// Where a message that says what happened begins: user space can have left its prompt before it.
fn happened(text: &[u8]) -> Option<usize> {
    const PROMPT: &[u8] = b"login: ";
    let from = if let Some(at) = memchr::memmem::find(text, PROMPT) { at + PROMPT.len() } else { 0 };
    let line = &text[from..];
    let trap = |line: &[u8]| line.ends_with(b"supervisor mode") || memchr::memmem::find(line, b" trap, code=").is_some();
    let found = HAPPENED.iter().find(|words| line.starts_with(words))?;
    let vague = matches!(*found, b"fatal " | b"kernel: ");
    (!vague || trap(line)).then_some(from)
}

/// A line that begins a stack.
fn begins(text: &[u8], owner: &mut Owner) -> Option<Heading> {
    let says = |words: &[u8]| memchr::memmem::find(text, words).is_some();
    if text.starts_with(b"Tracing command ") || text.starts_with(b"Tracing pid ") {
        *owner = Owner::default();
        traced(text, owner);
        return Some(Heading::Titled(StackKind::Thread));
    }
    if text.starts_with(b"trace: pid ") {
        let words: Vec<&[u8]> = lex::words(text).collect();
        owner.pid = words.get(2).and_then(|word| number(word));
        owner.tid = words.get(4).filter(|_| words.get(3) == Some(&&b"lid"[..])).map(|word| lex::text(word));
        return Some(Heading::Titled(StackKind::Thread));
    }
    if text.ends_with(b" first seen at:") || text.starts_with(b"exclusive ") || text.starts_with(b"shared ") && says(b" r = ") {
        return Some(Heading::Titled(StackKind::Lock));
    }
    if text == b"KDB: stack backtrace:" || text.ends_with(b"Begin traceback...") || text == b"Starting stack trace..." {
        return Some(Heading::Stack(None));
    }
    if text == b"stack backtrace:" || text.starts_with(b"Stopped at ") || text.starts_with(b"Stopped in pid ") {
        stopped(text, owner);
        return Some(Heading::Stack(None));
    }
    let (prompt, command) = prompt(text)?;
    owner.cpu = prompt.or(owner.cpu);
    commanded(command, owner)
}

/// `machine ddbcpu 0`, `mach cpu 0`, `bt`, `trace /t 0t72594`: another CPU or thread, or a trace of the one at hand. A debugger takes any
/// beginning of a command that is no other's (`db_cmd_list_search` in sys/ddb/db_command.c).
fn commanded(command: &[u8], owner: &mut Owner) -> Option<Heading> {
    let words: Vec<&[u8]> = lex::words(command).collect();
    let name = words.first()?.split(|b| *b == b'/').next()?;
    if name.starts_with(b"mac") && b"machine".starts_with(name) {
        let chosen = words.get(1).is_some_and(|word| *word == b"cpu" || word.starts_with(b"ddb") && b"ddbcpu".starts_with(word));
        let cpu = words.get(2).filter(|_| chosen).and_then(|word| debugger_number(word))?;
        *owner = Owner { cpu: u32::try_from(cpu).ok(), ..Owner::default() };
        return owner.cpu.map(Heading::Cpu);
    }
    if !(name.starts_with(b"t") && b"trace".starts_with(name) || name.starts_with(b"bt") || name.starts_with(b"tr")) {
        return None;
    }
    let modifiers = command.split(|b| *b == b'/').nth(1).and_then(|rest| rest.split(|b| *b == b' ').next()).unwrap_or_default();
    // What `/p` takes was a process once and is a thread later: it is no name of either.
    let others = [b't', b'p', b'a'].iter().any(|other| modifiers.contains(other)) && words.len() > 1;
    let number = words.last().filter(|_| others && modifiers.contains(&b't')).and_then(|word| debugger_number(word));
    if others {
        *owner = Owner { tid: number.map(|tid| tid.to_string()), ..Owner::default() };
    }
    Some(Heading::Stack(others.then_some(StackKind::Thread)))
}

/// A number as debuggers take it: hexadecimal but behind `0t` (`db_lex`, sys/ddb/db_lex.c).
fn debugger_number(word: &[u8]) -> Option<u64> {
    word.strip_prefix(b"0t").map_or_else(|| lex::hex(word).or_else(|| lex::bare_hex(word)), lex::decimal)
}

/// The CPU and the command of `ddb{1}> trace`, `ddb> bt`, `db> bt`, `db{0}> bt`, `db:0:kdb.enter.panic>  bt`, `crash> bt`.
pub fn prompt(text: &[u8]) -> Option<(Option<u32>, &[u8])> {
    let end = text.iter().position(|b| *b == b'>')?;
    let (name, command) = (&text[..end], text[end + 1..].trim_ascii());
    let rest = [&b"ddb"[..], b"db", b"crash"].iter().find_map(|own| name.strip_prefix(*own))?;
    let cpu = rest.strip_prefix(b"{").and_then(|rest| rest.strip_suffix(b"}")).and_then(lex::decimal);
    (rest.is_empty() || cpu.is_some() || rest.starts_with(b":")).then_some((cpu.and_then(|cpu| u32::try_from(cpu).ok()), command))
}

fn number(word: &[u8]) -> Option<i64> {
    i64::try_from(lex::decimal(word)?).ok()
}

/// `Tracing command NAME pid N tid N td 0xH (CPU N)`; names can contain blanks.
fn traced(text: &[u8], owner: &mut Owner) {
    let words: Vec<&[u8]> = lex::words(text).collect();
    let Some(at) = words.windows(4).rposition(|four| four[0] == b"pid" && four[2] == b"tid") else { return };
    owner.pid = number(words[at + 1]);
    owner.tid = Some(lex::text(words[at + 3]));
    if words[1] == b"command" && at > 2 {
        owner.process = Some(lex::text(&words[2..at].join(&b' ')));
    }
    let cpu = words.windows(2).find(|two| two[0] == b"(CPU").and_then(|two| lex::decimal(two[1].strip_suffix(b")")?));
    owner.cpu = cpu.and_then(|cpu| u32::try_from(cpu).ok());
}

/// `Stopped in pid 9532.2 (NAME) at  netbsd:SYM: INSN`, `Stopped at  SYM: INSN`.
fn stopped(text: &[u8], owner: &mut Owner) {
    if let Some(place) = lex::words(text).find_map(|word| word.strip_suffix(b":")).filter(|_| text.starts_with(b"Stopped ")) {
        owner.stopped = Some(lex::text(place.rsplit(|b| *b == b':').next().unwrap_or_default()));
    }
    let Some(rest) = text.strip_prefix(b"Stopped in pid ") else { return };
    let mut words = lex::words(rest);
    let (id, name) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    process_and_lwp(id, owner);
    owner.process = name.strip_prefix(b"(").and_then(|name| name.strip_suffix(b")")).map(lex::text);
}

/// `8023.2`.
fn process_and_lwp(word: &[u8], owner: &mut Owner) {
    let mut parts = word.split(|b| *b == b'.');
    owner.pid = parts.next().and_then(number);
    owner.tid = parts.next().filter(|lwp| lex::decimal(lwp).is_some()).map(lex::text);
}

/// Lines that tell of an owner and begin nothing.
fn tells(text: &[u8], owner: &mut Owner) {
    let words: Vec<&[u8]> = lex::words(text).take(12).collect();
    match words[..] {
        [b"current", b"process", b"=", pid, ref name @ ..] => {
            owner.pid = number(pid);
            owner.process = in_parentheses(&name.join(&b' '));
        }
        // Behind the segment's selector: `0x20:0xffffffff82632029`.
        [b"instruction", b"pointer", b"=", place] => {
            owner.pc = place.rsplit(|b| *b == b':').next().and_then(lex::hex);
        }
        [b"cpuid", b"=", cpu, ..] => {
            let cpu = cpu.strip_suffix(b";").unwrap_or(cpu);
            owner.cpu = lex::decimal(cpu).and_then(|cpu| u32::try_from(cpu).ok());
        }
        [b"[", b"thread", b"pid", pid, b"tid", tid, b"]"] => {
            (owner.pid, owner.tid) = (number(pid), Some(lex::text(tid)));
        }
        [b"curlwp", _, b"pid", id, ..] => process_and_lwp(id, owner),
        [b"Process", pid, name, b"thread", _, tid] => {
            (owner.pid, owner.process) = (number(pid), in_parentheses(name));
            owner.tid = in_parentheses(tid);
        }
        _ => running(text, owner),
    }
}

fn in_parentheses(text: &[u8]) -> Option<String> {
    Some(lex::text(text.strip_prefix(b"(")?.strip_suffix(b")")?)).filter(|name| !name.is_empty())
}

/// `*329861   4439      0         0x2          0    0K syz-executor1`: OpenBSD's `TID PID UID PRFLAGS PFLAGS CPU COMMAND`.
fn running(text: &[u8], owner: &mut Owner) {
    let Some(row) = text.strip_prefix(b"*") else { return };
    let words: Vec<&[u8]> = lex::words(row).collect();
    let [tid, pid, uid, flags, _, cpu, ref name @ ..] = words[..] else { return };
    let digits = cpu.strip_suffix(b"K").unwrap_or(cpu);
    let (Some(_), Some(cpu), Some(pid)) = (lex::decimal(uid), lex::decimal(digits), number(pid)) else { return };
    if lex::decimal(tid).is_none() || name.is_empty() || !(flags == b"0" || flags.starts_with(b"0x")) {
        return;
    }
    (owner.pid, owner.tid, owner.cpu) = (Some(pid), Some(lex::text(tid)), u32::try_from(cpu).ok());
    owner.process = Some(lex::text(&name.join(&b' ')));
}

/// `FreeBSD 14.0-RELEASE #0 …`, `NetBSD 9.99.48 (GENERIC)`, `OpenBSD 6.6 (GENERIC.MP) #1`.
fn version(text: &[u8]) -> Option<String> {
    let rest = [&b"FreeBSD "[..], b"NetBSD ", b"OpenBSD "].iter().find_map(|name| text.strip_prefix(*name))?;
    let number = rest.split(|b| matches!(b, b' ' | b'\t')).next()?;
    let plain = number.first().is_some_and(u8::is_ascii_digit) && number.contains(&b'.');
    plain.then(|| lex::text(number))
}
