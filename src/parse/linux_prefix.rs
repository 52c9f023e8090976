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
//! 10.0.0.2: kern:    info: [2026-11-20T19:45:56.306134Z]: sysrq: Show State     talosctl dmesg
//! syzkaller login: [   35.184476] BUG: using __this_cpu_read() …          console shared with user space
//! ```
//! Sources: `info_print_prefix` in kernel/printk/printk.c (6.12), util-linux 2.38.1 dmesg, kernel logs of 6.1 and 6.12. Two
//! records can share a line, when the first was continued late: a line is cut at every printk time in it.

use memchr::{memchr, memmem};

use super::lex::{self, Line};
use super::linux_json;
pub use super::linux_json::{json_line_end, json_message};
use super::linux_stamp::{blank, caller, digits, only_caller, printk_time, stamp};
use super::linux_syslog::{facility, host, iso, kmsg, level, node, rfc5424, syslog, translated, weekday};
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
        return linux_json::records(line, at, each);
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

/// Where the message of the first record of a line begins, behind its leading blanks.
pub fn message(line: &[u8]) -> usize {
    let mut found = None;
    records(&Line { number: 1, start: 0, bytes: line }, |record| {
        found.get_or_insert(record.at as usize + lex::indent(record.text));
    });
    found.unwrap_or(0)
}

/// `bytes` without blanks, carriage returns and colour sequences at its end, and without the signs `␍␊` that terminal programs record.
pub(super) fn trim_end(bytes: &[u8]) -> &[u8] {
    let mut bytes = bytes.trim_ascii_end();
    while let Some(rest) = bytes.strip_suffix("\u{240a}".as_bytes()).or_else(|| bytes.strip_suffix("\u{240d}".as_bytes())) {
        bytes = rest.trim_ascii_end();
    }
    while let Some(rest) = without_colour(bytes) {
        bytes = rest.trim_ascii_end();
    }
    bytes
}

/// `bytes` without the colour sequence at its end.
fn without_colour(bytes: &[u8]) -> Option<&[u8]> {
    let parameters = bytes.strip_suffix(b"m")?;
    let len = parameters.iter().rev().take_while(|b| matches!(b, b'0'..=b'9' | b';')).count();
    let start = parameters[..parameters.len() - len].strip_suffix(b"[")?;
    ESCAPES.iter().find_map(|escape| start.strip_suffix(*escape))
}

/// Takes every prefix off, from `from` on.
pub(super) fn peel(line: &[u8], from: usize) -> (usize, Context) {
    let (mut at, mut context) = (from, Context::Bare);
    while let Some((len, found)) = step(&line[at..], context != Context::Bare) {
        at += len;
        context = if found == Context::Bare { context } else { found };
    }
    (at, context)
}

/// The message of a record as `journalctl -o export` and `-o verbose` write it, each field on a line of its own.
const EXPORTED: &[u8] = b"MESSAGE=";

/// One prefix at the start of `rest`: its length, and the context it tells.
fn step(rest: &[u8], stamped: bool) -> Option<(usize, Context)> {
    let stamps = |len| (len, Context::Stamped);
    let bare = |len| (len, Context::Bare);
    let behind = || host(rest).filter(|_| stamped).map(bare);
    match rest.first()? {
        b'[' => match stamp(rest) {
            Some(len) => Some(stamps(blank(rest, len))),
            None if stamped => caller(rest).or_else(|| linux_vendor::tail(rest)),
            None => only_caller(rest),
        },
        b' ' | b'-' | b'.' | b'(' if stamped => linux_vendor::tail(rest),
        b'(' => linux_vendor::xen(rest).map(bare),
        b'I' if stamped && rest.get(1) == Some(&b'[') => linux_vendor::tail(rest),
        // Quoted mail.
        b'>' if !stamped => Some(bare(blank(rest, 1))),
        b'<' => level(rest).map(stamps),
        b'\r' => Some(bare(1)),
        0x1b | b'#' | b'\\' => colour(rest).map(bare),
        b'M' | b' ' if !stamped && rest.trim_ascii_start().starts_with(EXPORTED) => Some(stamps(lex::indent(rest) + EXPORTED.len())),
        b'*' => dropped(rest).map(bare),
        b'A'..=b'Z' if rest.get(1) == Some(&b'/') && !stamped => linux_vendor::brief(rest).map(stamps),
        b'A'..=b'Z' => syslog(rest).or_else(|| weekday(rest)).or_else(|| translated(rest)).map(stamps).or_else(behind),
        b'0'..=b'9' if stamped => rfc5424(rest).or_else(|| iso(rest)).map(stamps).or_else(behind),
        b'0'..=b'9' => {
            let found = iso(rest).or_else(|| kmsg(rest)).or_else(|| linux_vendor::logcat(rest));
            found.or_else(|| node(rest)).or_else(|| translated(rest)).map(stamps)
        }
        b'a'..=b'z' if !stamped => facility(rest).or_else(|| node(rest)).or_else(|| translated(rest)).map(stamps),
        b' ' | 0x80.. if !stamped => translated(rest).map(stamps),
        b'c' => linux_vendor::android(rest).or_else(behind),
        _ => behind(),
    }
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

/// ESC, as rsyslog writes it, and as JSON does.
const ESCAPES: [&[u8]; 3] = [b"\x1b", b"#033", b"\\u001b"];

/// `ESC [ … m`.
fn colour(rest: &[u8]) -> Option<usize> {
    let parameters = ESCAPES.iter().find_map(|escape| rest.strip_prefix(*escape))?.strip_prefix(b"[")?;
    let len = parameters.iter().take_while(|b| matches!(b, b'0'..=b'9' | b';')).count();
    (parameters.get(len) == Some(&b'm')).then(|| rest.len() - parameters.len() + len + 1)
}

/// `** 2499 printk messages dropped ** `, on the line of the next message up to 4.14.
fn dropped(rest: &[u8]) -> Option<usize> {
    let near = &rest[..rest.len().min(60)];
    let end = memmem::find(near.strip_prefix(b"** ")?, b" printk messages dropped **")?;
    (digits(&rest[3..]) == end).then(|| blank(rest, 3 + end + 27))
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
    fn every_prefix_comes_off_and_blanks_of_the_message_stay() {
        for (line, context) in [
            ("[   55.615543]  a+0x1/0x2", Context::Stamped),
            ("[   55.615543][    T1]  a+0x1/0x2", Context::Task(1)),
            ("[   55.615543][    C0]  a+0x1/0x2", Context::Cpu(0)),
            ("[   55.615543] c1    12  a+0x1/0x2", Context::Task(12)),
            ("<4>[   55.615543]  a+0x1/0x2", Context::Stamped),
            ("июл 27 14:08:03 labvm kernel:  a+0x1/0x2", Context::Stamped),
            (" 7月 27 14:08:03 labvm kernel:  a+0x1/0x2", Context::Stamped),
            ("10月 03 14:08:03.123456 labvm kernel:  a+0x1/0x2", Context::Stamped),
            ("Dez  3 14:08:03 labvm kernel:  a+0x1/0x2", Context::Stamped),
            ("févr. 03 14:08:03 labvm kernel:  a+0x1/0x2", Context::Stamped),
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
            ("10.0.0.2: kern: warning: [2026-11-20T19:45:56.306134Z]:  a+0x1/0x2", Context::Stamped),
            ("fd00::2: kern:  notice: [2026-11-20T19:45:56.306134Z]:  a+0x1/0x2", Context::Stamped),
            ("[2026-11-20T19:45:56.123Z] [   55.615543][    T1]  a+0x1/0x2", Context::Task(1)),
            ("[2026-11-20 19:45:56]  a+0x1/0x2", Context::Stamped),
            ("[    T1]  a+0x1/0x2", Context::Task(1)),
            ("kern  :warn  : 2026-11-20T19:45:56,306134+00:00  a+0x1/0x2", Context::Stamped),
            ("<4>Nov 20 21:07:55 labvm kernel: [   55.615543]  a+0x1/0x2", Context::Stamped),
            ("(d3) [   55.615543]  a+0x1/0x2", Context::Stamped),
            ("(XEN)  a+0x1/0x2", Context::Bare),
            ("[19:45:56.123]  a+0x1/0x2", Context::Stamped),
            ("Nov 20 21:07:55 labvm kernel[-]:  a+0x1/0x2", Context::Stamped),
            ("2026-11-20T19:45:56+00:00 labvm kernel[123]:  a+0x1/0x2", Context::Stamped),
            ("#033[32m[    1.306134]  a+0x1/0x2#033[0m", Context::Stamped),
            ("MESSAGE= a+0x1/0x2", Context::Stamped),
            ("    MESSAGE= a+0x1/0x2", Context::Stamped),
            ("[2026-11-20 19:45:56]  a+0x1/0x2\u{240d}\u{240a}", Context::Stamped),
            ("W/        (    0): <4>[   55.615543]  a+0x1/0x2", Context::Stamped),
            (" a+0x1/0x2", Context::Bare),
        ] {
            assert_eq!(all(line), [(context, " a+0x1/0x2".to_string())], "{line}");
        }
    }

    #[test]
    fn no_prefix_is_searched_for_in_the_whole_line() {
        let zone = |len: usize| format!("2026-11-20T19:45:56{} f", "0".repeat(len));
        assert_eq!([iso(zone(13).as_bytes()), iso(zone(50).as_bytes())], [Some(33), None]);
        let data = |len: usize| format!("1 2026-11-20T19:45:56Z labvm kernel - - [x k=\"{}\"] f", "v".repeat(len));
        assert_eq!([100, 1000].map(|len| rfc5424(data(len).as_bytes()).is_some()), [true, false]);
        let lost = |len: usize| format!("** {} printk messages dropped ** f", "2".repeat(len));
        assert_eq!([dropped(lost(20).as_bytes()), dropped(lost(40).as_bytes())], [Some(51), None]);
    }

    #[test]
    fn a_line_is_cut_at_stamps_and_addresses_are_no_stamps() {
        let found = all("[  709.689956]  <IRQ> [  709.689960]  [<ffffffff8168b899>] schedule+0x29/0x70 [zfs]");
        let texts: Vec<_> = found.iter().map(|(_, text)| text.as_str()).collect();
        assert_eq!(texts, [" <IRQ> ", " [<ffffffff8168b899>] schedule+0x29/0x70 [zfs]"]);
        assert_eq!(all("login: [   35.184476] BUG: x")[1], (Context::Stamped, "BUG: x".to_string()));
        let tagged = "05-01 10:00:00.123     0     0 E Internal error: Oops: 96000005 [#1]";
        assert_eq!(all(tagged), [(Context::Stamped, "Internal error: Oops: 96000005 [#1]".to_string())]);
        assert_eq!(all("[<0>] a+0x1/0x2")[0].0, Context::Bare);
    }
}
