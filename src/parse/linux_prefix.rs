//! What stands in front of a line of a Linux kernel log: time, caller id, level, host; and who printed it.
//!
//! ```text
//! [   55.614677][    T1] sysrq: Show Blocked State                       printk with CONFIG_PRINTK_CALLER
//! <6>[   85.501187] WARNING: foo                                          dmesg -r
//! Nov 20 21:07:55 labvm kernel: [   55.614677] sysrq: Show State          syslog
//! kern  :info  : [    1.306134] tokio-rt-worker (70): drop_caches: 3      dmesg -x
//! [  +0.036829] tokio-rt-worker …                                         dmesg -e
//!          "msg": " schedule+0x5a/0xd0"                                    dmesg -J
//! Wed 2026-11-20 19:45:56 CET labvm kernel: sysrq: Show State          journalctl -o short-full
//! <4>1 2026-11-20T19:45:56.306134+00:00 labvm kernel - - - sysrq: …    RFC 5424
//! [   55.614677@2] sysrq: Show State                                   Amlogic; for other vendors see `linux_vendor`
//! > > Call Trace:                                                      quoted mail
//! syzkaller login: [   35.184476] BUG: using __this_cpu_read() …          console shared with user space
//! ```
//! Sources: `info_print_prefix` in kernel/printk/printk.c (6.12), util-linux 2.38.1 dmesg, kernel logs of 6.1 and 6.12. Two
//! records can share a line, when the first was continued late: a line is cut at every printk time in it.

use memchr::memchr;
use memchr::memmem;

use super::lex::{self, Line};
use super::linux_vendor;

/// Who printed a record, as far as the log says. Records of one context follow each other; those of several interleave.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Context {
    /// No stamp: user space, or a log that was saved without stamps.
    #[default]
    Bare,
    /// A stamp without caller id.
    Stamped,
    /// `[ T123]`: the task of that id.
    Task(u64),
    /// `[ C1]`: that CPU, in an interrupt or early in boot.
    Cpu(u64),
}

/// One record, or the piece of one that stands on a line.
#[derive(Clone, Copy, Debug)]
pub struct Record<'t> {
    /// Who printed it.
    pub context: Context,
    /// Line of the report, from 1.
    pub line: u32,
    /// Byte offset of that line in the report.
    pub line_start: u64,
    /// Where `text` begins in the line.
    pub at: u32,
    /// The message, with its leading blanks.
    pub text: &'t [u8],
}

/// The records of a line, in their order.
pub fn records<'t>(line: &Line<'t>, mut each: impl FnMut(&Record<'t>)) {
    let bytes = trim_end(line.bytes);
    if let Some(at) = json_message(bytes) {
        return json_records(line, at, each);
    }
    let mut from = 0;
    loop {
        let (at, context) = peel(bytes, from);
        let next = embedded_stamp(bytes, at);
        let end = next.unwrap_or(bytes.len());
        // Before a stamp may stand what user space printed without a line feed, but an empty piece says nothing.
        if next.is_none() || end > at {
            each(&Record { context, line: line.number, line_start: line.start, at: at as u32, text: &bytes[at..end] });
        }
        match next {
            Some(next) => from = next,
            None => return,
        }
    }
}

/// Where the message begins in a line of `dmesg -J`, which writes each field of a record on a line of its own.
pub fn json_message(line: &[u8]) -> Option<usize> {
    if !matches!(line.first()?, b' ' | b'\t' | b'"') {
        return None;
    }
    let indent = lex::indent(line);
    line[indent..].starts_with(b"\"msg\": \"").then_some(indent + 8)
}

/// How long the line of text is that begins at the start of `rest`, in a JSON string: up to an escaped line feed or the string's end.
pub fn json_line_end(rest: &[u8]) -> usize {
    let mut at = 0;
    while let Some(n) = memchr::memchr3(b'\\', b'"', b'\n', &rest[at..]) {
        at += n;
        if rest[at] != b'\\' || rest.get(at + 1) == Some(&b'n') {
            return at;
        }
        at = (at + 2).min(rest.len());
    }
    rest.len()
}

/// The lines of text in a message of `dmesg -J` that begins at `at`.
fn json_records<'t>(line: &Line<'t>, mut at: usize, mut each: impl FnMut(&Record<'t>)) {
    loop {
        while line.bytes[at..].starts_with(b"\\t") {
            at += 2;
        }
        let end = at + json_line_end(&line.bytes[at..]);
        let text = line.bytes[at..end].trim_ascii_end();
        each(&Record { context: Context::Stamped, line: line.number, line_start: line.start, at: at as u32, text });
        if line.bytes.get(end) != Some(&b'\\') {
            return;
        }
        at = end + 2;
    }
}

/// Where the message of the first record of a line begins, behind its leading blanks.
pub fn message(line: &[u8]) -> usize {
    let mut found = None;
    records(&Line { number: 1, start: 0, bytes: line }, |record| {
        found.get_or_insert(record.at as usize + lex::indent(record.text));
    });
    found.unwrap_or(0)
}

/// `bytes` without blanks, carriage returns and colour sequences at its end.
fn trim_end(bytes: &[u8]) -> &[u8] {
    let mut bytes = bytes.trim_ascii_end();
    while let Some(at) = bytes.ends_with(b"m").then(|| memchr::memrchr(0x1b, bytes)).flatten() {
        if colour(&bytes[at..]) != Some(bytes.len() - at) {
            break;
        }
        bytes = bytes[..at].trim_ascii_end();
    }
    bytes
}

/// Takes every prefix off, from `from` on.
fn peel(line: &[u8], from: usize) -> (usize, Context) {
    let (mut at, mut context) = (from, Context::Bare);
    while let Some((len, found)) = step(&line[at..], context != Context::Bare) {
        at += len;
        context = if found == Context::Bare { context } else { found };
    }
    (at, context)
}

/// One prefix at the start of `rest`: its length, and the context it tells.
fn step(rest: &[u8], stamped: bool) -> Option<(usize, Context)> {
    match rest.first()? {
        b'[' => match stamp(rest) {
            Some(len) => Some((blank(rest, len), Context::Stamped)),
            None if stamped => caller(rest).or_else(|| linux_vendor::tail(rest)),
            None => None,
        },
        b' ' | b'-' | b'.' | b'(' if stamped => linux_vendor::tail(rest),
        b'I' if stamped && rest.get(1) == Some(&b'[') => linux_vendor::tail(rest),
        b'1' if stamped => rfc5424(rest).map(|len| (len, Context::Stamped)).or_else(|| host(rest)),
        // Quoted mail.
        b'>' if !stamped => Some((blank(rest, 1), Context::Bare)),
        b'<' => level(rest).map(|len| (len, Context::Stamped)),
        b'\r' => Some((1, Context::Bare)),
        0x1b => colour(rest).map(|len| (len, Context::Bare)),
        b'*' => dropped(rest).map(|len| (len, Context::Bare)),
        b'A'..=b'Z' if !stamped => syslog(rest).or_else(|| weekday(rest)).map(|len| (len, Context::Stamped)),
        b'0'..=b'9' if !stamped => {
            iso(rest).or_else(|| kmsg(rest)).or_else(|| linux_vendor::logcat(rest)).map(|len| (len, Context::Stamped))
        }
        b'a'..=b'z' if !stamped => facility(rest).map(|len| (len, Context::Stamped)),
        b'c' if stamped => android(rest).or_else(|| host(rest)),
        _ if stamped => host(rest),
        _ => None,
    }
}

/// One past the blank that separates a prefix of `len` bytes from what follows.
fn blank(rest: &[u8], len: usize) -> usize {
    len + usize::from(rest.get(len) == Some(&b' '))
}

/// Where the next printk time stands at or behind `from`.
fn embedded_stamp(line: &[u8], from: usize) -> Option<usize> {
    let mut at = from;
    while let Some(n) = memchr(b'[', line.get(at..)?) {
        at += n;
        if printk_time(&line[at..]).is_some() {
            return Some(at);
        }
        at += 1;
    }
    None
}

fn digits(bytes: &[u8]) -> usize {
    bytes.iter().take_while(|b| b.is_ascii_digit()).count()
}

/// `[   55.614677]`, also with what vendors and `dmesg -d` put behind the time. Gives its length.
fn printk_time(rest: &[u8]) -> Option<usize> {
    if !matches!(rest.get(1), Some(b' ' | b'0'..=b'9')) {
        return None;
    }
    let mut at = 1 + rest[1..].iter().take(12).take_while(|b| **b == b' ').count();
    let seconds = digits(&rest[at..]);
    at += seconds;
    if seconds == 0 || rest.get(at) != Some(&b'.') {
        return None;
    }
    let fraction = digits(&rest[at + 1..]);
    at += 1 + fraction;
    match rest.get(at)? {
        b']' if fraction >= 3 => Some(at + 1),
        b' ' if fraction == 6 && matches!(rest.get(at + 1), Some(b'<' | b'/')) => close(rest, at),
        // Amlogic's CPU number.
        b'@' if fraction == 6 => {
            let cpu = digits(&rest[at + 1..]);
            (cpu > 0 && rest.get(at + 1 + cpu) == Some(&b']')).then_some(at + cpu + 2)
        }
        _ => None,
    }
}

/// One past the `]` that ends a stamp at most 40 bytes behind `at`.
fn close(rest: &[u8], at: usize) -> Option<usize> {
    memchr(b']', &rest[at..rest.len().min(at + 40)]).map(|n| at + n + 1)
}

/// A time in brackets, in any of the forms that printk, dmesg and journalctl write.
fn stamp(rest: &[u8]) -> Option<usize> {
    printk_time(rest).or_else(|| {
        let end = close(rest, 0)?;
        let inside = &rest[1..end - 1];
        (delta(inside) || wall_clock(inside)).then_some(end)
    })
}

/// `  +0.036829` and `<    0.036829>`: `dmesg -e` and `dmesg --time-format delta`.
fn delta(inside: &[u8]) -> bool {
    let value = inside.trim_ascii_start().strip_prefix(b"+").or_else(|| inside.strip_prefix(b"<")?.strip_suffix(b">"));
    value.is_some_and(|value| memchr(b'.', value).is_some() && value.iter().all(|b| matches!(b, b' ' | b'.' | b'0'..=b'9')))
}

/// `Fri Nov 20 19:45:56 2026` and `Nov20 19:45`: `dmesg -T` and `dmesg -e`.
fn wall_clock(inside: &[u8]) -> bool {
    let start = if inside.len() > 20 { 4 } else { 0 };
    inside.get(start..start + 3).is_some_and(is_month) && memchr(b':', inside).is_some()
}

fn is_month(word: &[u8]) -> bool {
    let months: &[u8] = b"JanFebMarAprMayJunJulAugSepOctNovDec";
    word.len() == 3 && months.chunks(3).any(|month| month == word)
}

/// `[    T1]`, `[    C0]`, Android's `[T123@C0]` and a vendor's CPU number `[1]`, right behind a time.
fn caller(rest: &[u8]) -> Option<(usize, Context)> {
    let end = close(&rest[..rest.len().min(24)], 0)?;
    let inside = rest[1..end - 1].trim_ascii();
    let id = inside.split(|b| *b == b'@').next()?;
    let context = match id.split_first()? {
        (b'T', id) => Context::Task(lex::decimal(id)?),
        (b'C', id) => Context::Cpu(lex::decimal(id)?),
        _ => lex::decimal(id).map(|_| Context::Stamped)?,
    };
    Some((blank(rest, end), context))
}

/// `c0   1234 ` behind the time: CPU and task of Android kernels.
fn android(rest: &[u8]) -> Option<(usize, Context)> {
    let cpu = digits(&rest[1..]);
    let task = 1 + cpu + lex::indent(&rest[1 + cpu..]);
    let end = task + digits(&rest[task..]);
    let id = lex::decimal(&rest[task..end])?;
    (matches!(cpu, 1 | 2) && task > 1 + cpu && rest.get(end) == Some(&b' ')).then_some((end + 1, Context::Task(id)))
}

/// `labvm kernel: ` behind the time, as `journalctl -o short-monotonic` has it.
fn host(rest: &[u8]) -> Option<(usize, Context)> {
    let name = rest.iter().take(64).take_while(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_')).count();
    let tagged = name > 0 && rest[name..].starts_with(b" kernel: ");
    tagged.then_some((name + 9, Context::Bare))
}

/// `<6>` and `<30>`.
fn level(rest: &[u8]) -> Option<usize> {
    let number = digits(&rest[1..rest.len().min(5)]);
    (number > 0 && rest.get(number + 1) == Some(&b'>')).then_some(number + 2)
}

/// `ESC [ … m`.
fn colour(rest: &[u8]) -> Option<usize> {
    let parameters = rest.strip_prefix(b"\x1b[")?;
    let len = parameters.iter().take_while(|b| matches!(b, b'0'..=b'9' | b';')).count();
    (parameters.get(len) == Some(&b'm')).then_some(len + 3)
}

/// `** 2499 printk messages dropped ** `, on the line of the next message up to 4.14.
fn dropped(rest: &[u8]) -> Option<usize> {
    let end = memmem::find(rest.strip_prefix(b"** ")?, b" printk messages dropped **")?;
    (digits(&rest[3..]) == end).then(|| blank(rest, 3 + end + 27))
}

/// `Nov 20 21:07:55 labvm kernel: `, also with a BusyBox level or fractions of the second.
fn syslog(rest: &[u8]) -> Option<usize> {
    let time = rest.get(7..15)?;
    (is_month(&rest[..3]) && rest[3] == b' ' && time[2] == b':' && time[5] == b':').then(|| tag(rest, 15)).flatten()
}

/// `2026-11-20T19:45:56.306134+00:00 labvm kernel: `, with a comma as dmesg writes it, and without host.
fn iso(rest: &[u8]) -> Option<usize> {
    let date = rest.get(..19)?;
    let dashes = date[4] == b'-' && date[7] == b'-' && matches!(date[10], b'T' | b' ') && date[13] == b':' && date[16] == b':';
    if !dashes {
        return None;
    }
    let zone = 19 + memchr(b' ', &rest[19..])?;
    tag(rest, zone).or(Some(zone + 1))
}

/// `Wed 2026-11-20 19:45:56 CET labvm kernel: `: journalctl -o short-full.
fn weekday(rest: &[u8]) -> Option<usize> {
    let date = rest.get(4..23).filter(|_| rest[3] == b' ')?;
    (date[4] == b'-' && date[7] == b'-' && date[13] == b':' && date[16] == b':').then(|| tag(rest, 23)).flatten()
}

/// `1 2026-11-20T19:45:56.306134+00:00 labvm kernel - - - ` behind the level: RFC 5424, whose version is 1. The last of the fields can
/// be `[NAME KEY="VALUE"]`, and a byte order mark may stand before the message.
fn rfc5424(rest: &[u8]) -> Option<usize> {
    rest.get(2..22).filter(|time| rest[1] == b' ' && time[4] == b'-' && time[7] == b'-' && time[10] == b'T')?;
    let near = &rest[..rest.len().min(120)];
    let mut at = memmem::find(near, b" kernel ")? + 8;
    for _ in 0..2 {
        at += memchr(b' ', &near[at..])? + 1;
    }
    at += match near.get(at)? {
        b'-' => 1,
        _ => memmem::find(&rest[at..], b"] ")? + 1,
    };
    let mark = rest.get(at..at + 4).is_some_and(|next| next == b" \xef\xbb\xbf");
    Some(if mark { at + 4 } else { blank(rest, at) })
}

/// One past the `kernel: ` that must follow within a host name's length.
fn tag(rest: &[u8], from: usize) -> Option<usize> {
    let near = rest.get(from..rest.len().min(from + 120))?;
    let at = memmem::find(near, b" kernel:")?;
    Some(blank(rest, from + at + 8))
}

/// `6,1234,5678901,-,caller=T1;`: /dev/kmsg and extended netconsole.
fn kmsg(rest: &[u8]) -> Option<usize> {
    let end = memchr(b';', &rest[..rest.len().min(80)])?;
    let fields = rest[..end].split(|b| *b == b',').take_while(|field| lex::decimal(field).is_some()).count();
    (fields >= 3).then_some(end + 1)
}

/// `kern  :info  : `.
fn facility(rest: &[u8]) -> Option<usize> {
    let name = rest.iter().take(8).take_while(|b| b.is_ascii_lowercase()).count();
    let colon = name + lex::indent(&rest[name..]);
    let level = rest.get(colon..)?.strip_prefix(b":")?;
    let end = level.iter().take(8).position(|b| *b == b':')?;
    let word = level[..end].trim_ascii_end();
    let known: [&[u8]; 8] = [b"emerg", b"alert", b"crit", b"err", b"warn", b"notice", b"info", b"debug"];
    known.contains(&word).then(|| blank(rest, colon + 1 + end + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(line: &str) -> Vec<(Context, String)> {
        let mut found = Vec::new();
        let line = Line { number: 1, start: 0, bytes: line.as_bytes() };
        records(&line, |record| {
            assert!(line.bytes[record.at as usize..].starts_with(record.text));
            found.push((record.context, lex::text(record.text)));
        });
        found
    }

    #[test]
    fn messages_of_json_are_cut_at_their_line_feeds() {
        let found = all(r#"         "msg": " f+0x1/0x2\n\tg+0x1/0x2 \"q\\n\"""#);
        let texts: Vec<_> = found.iter().map(|(_, text)| text.as_str()).collect();
        assert_eq!(texts, [" f+0x1/0x2", r#"g+0x1/0x2 \"q\\n\""#]);
        assert_eq!(all(r#"         "msg": "torn \"#)[0].1, r"torn \");
        assert_eq!(json_line_end(br"torn \"), 6);
    }

    #[test]
    fn every_prefix_comes_off_and_blanks_of_the_message_stay() {
        for (line, context) in [
            ("[   55.615543]  a+0x1/0x2", Context::Stamped),
            ("[   55.615543][    T1]  a+0x1/0x2", Context::Task(1)),
            ("[   55.615543][    C0]  a+0x1/0x2", Context::Cpu(0)),
            ("[   55.615543] c1    12  a+0x1/0x2", Context::Task(12)),
            ("<4>[   55.615543]  a+0x1/0x2", Context::Stamped),
            ("<4> a+0x1/0x2", Context::Stamped),
            ("[   55.615543] labvm kernel:  a+0x1/0x2", Context::Stamped),
            ("Nov 20 21:07:55 labvm kernel:  a+0x1/0x2", Context::Stamped),
            ("Nov 20 21:07:55 labvm kernel: [   55.615543]  a+0x1/0x2", Context::Stamped),
            ("2026-11-20T19:45:56,306134+00:00  a+0x1/0x2", Context::Stamped),
            ("2026-11-20T19:45:56.306134Z labvm kernel: [    1.306134]  a+0x1/0x2", Context::Stamped),
            ("kern  :warn  : [    1.306134]  a+0x1/0x2", Context::Stamped),
            ("[Fri Nov 20 19:45:56 2026]  a+0x1/0x2", Context::Stamped),
            ("[  +0.036829]  a+0x1/0x2", Context::Stamped),
            ("[<    0.036829>]  a+0x1/0x2", Context::Stamped),
            ("[    1.306134 <    0.036829>]  a+0x1/0x2", Context::Stamped),
            ("[   57.068758 / 10-26 15:03:55.524][1]  a+0x1/0x2", Context::Stamped),
            ("[   55.615543@2]  a+0x1/0x2", Context::Stamped),
            ("[   55.615543]  (2)[123:kworker/0:1] a+0x1/0x2", Context::Task(123)),
            ("<4>[   55.615543] -(2)[123:kworker/0:1] a+0x1/0x2", Context::Task(123)),
            ("<6>[   55.615543]<2>.(2)[0:swapper/2] a+0x1/0x2", Context::Cpu(2)),
            ("[   55.615543]  [2:    kworker/2:1:   33]  a+0x1/0x2", Context::Task(33)),
            ("<4>[   55.615543]I[2:      swapper/2:    0]  a+0x1/0x2", Context::Cpu(2)),
            ("05-01 10:00:00.123     0     0 W         :  a+0x1/0x2", Context::Stamped),
            ("05-01 10:00:00.123  1234  1234 E KERNEL  : [   55.615543]  a+0x1/0x2", Context::Stamped),
            ("Wed 2026-11-20 19:45:56 CET labvm kernel:  a+0x1/0x2", Context::Stamped),
            ("<4>1 2026-11-20T19:45:56.306134+00:00 labvm kernel - - -  a+0x1/0x2", Context::Stamped),
            ("<4>1 2026-11-20T19:45:56Z labvm kernel - - [meta sequenceId=\"1\"] \u{feff}[   55.615543]  a+0x1/0x2", Context::Stamped),
            (">  a+0x1/0x2", Context::Bare),
            ("> > [   55.615543]  a+0x1/0x2", Context::Stamped),
            (">> Nov 20 21:07:55 labvm kernel:  a+0x1/0x2", Context::Stamped),
            ("4,1234,5678901,-,caller=T1; a+0x1/0x2", Context::Stamped),
            ("** 2499 printk messages dropped ** [   60.095515]  a+0x1/0x2", Context::Stamped),
            ("\x1b[32m[    1.306134] \x1b[0m a+0x1/0x2\x1b[0m\r", Context::Stamped),
            (" a+0x1/0x2", Context::Bare),
        ] {
            assert_eq!(all(line), [(context, " a+0x1/0x2".to_string())], "{line}");
        }
    }

    #[test]
    fn a_line_is_cut_at_stamps_and_addresses_are_no_stamps() {
        let found = all("[  709.689956]  <IRQ> [  709.689960]  [<ffffffff8168b899>] schedule+0x29/0x70 [zfs]");
        let texts: Vec<_> = found.iter().map(|(_, text)| text.as_str()).collect();
        assert_eq!(texts, [" <IRQ> ", " [<ffffffff8168b899>] schedule+0x29/0x70 [zfs]"]);
        assert_eq!(all("login: [   35.184476] BUG: x")[1], (Context::Stamped, "BUG: x".to_string()));
        assert_eq!(all("[<0>] a+0x1/0x2")[0].0, Context::Bare);
    }
}
