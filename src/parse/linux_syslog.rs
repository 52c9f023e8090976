//! What syslog, journals and the readers of /dev/kmsg put in front of a record: time, host, facility, level.

use memchr::{memchr, memmem};

use super::lex;
use super::linux_stamp::{blank, digits, is_month};

/// `labvm kernel: ` behind the time, as `journalctl -o short-monotonic` has it.
pub(super) fn host(rest: &[u8]) -> Option<usize> {
    let name = rest.iter().take(64).take_while(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_')).count();
    let tagged = name > 0 && rest[name..].starts_with(b" kernel: ");
    tagged.then_some(name + 9)
}

/// `<6>` and `<30>`.
pub(super) fn level(rest: &[u8]) -> Option<usize> {
    let number = digits(&rest[1..rest.len().min(5)]);
    (number > 0 && rest.get(number + 1) == Some(&b'>')).then_some(number + 2)
}

/// `Nov 20 21:07:55 labvm kernel: `, also with a BusyBox level or fractions of the second.
pub(super) fn syslog(rest: &[u8]) -> Option<usize> {
    let time = rest.get(7..15)?;
    (is_month(&rest[..3]) && rest[3] == b' ' && time[2] == b':' && time[5] == b':').then(|| tag(rest, 15)).flatten()
}

/// `июл 27 14:08:03 labvm kernel: `, ` 7月 27 14:08:03 labvm kernel: `, `févr. 03 14:08:03 labvm kernel: `: journalctl in other languages.
pub(super) fn translated(rest: &[u8]) -> Option<usize> {
    let start = lex::indent(&rest[..rest.len().min(2)]);
    let word = rest[start..].iter().take(20).position(|b| *b == b' ')?;
    let day = start + word + 1 + usize::from(rest.get(start + word + 1) == Some(&b' '));
    let end = day + digits(rest.get(day..day + 2)?);
    let time = rest.get(end..end + 9).filter(|_| word > 0 && end > day)?;
    let form = time[0] == b' ' && time[3] == b':' && time[6] == b':' && [1, 2, 4, 5, 7, 8].iter().all(|at| time[*at].is_ascii_digit());
    form.then(|| tag(rest, end + 9)).flatten()
}

/// `2026-11-20T19:45:56.306134+00:00 labvm kernel: `, with a comma as dmesg writes it, and without host.
pub(super) fn iso(rest: &[u8]) -> Option<usize> {
    let date = rest.get(..19)?;
    let dashes = date[4] == b'-' && date[7] == b'-' && matches!(date[10], b'T' | b' ') && date[13] == b':' && date[16] == b':';
    if !dashes {
        return None;
    }
    let zone = 19 + memchr(b' ', &rest[19..rest.len().min(59)])?;
    tag(rest, zone).or(Some(zone + 1))
}

/// `Wed 2026-11-20 19:45:56 CET labvm kernel: `: journalctl -o short-full.
pub(super) fn weekday(rest: &[u8]) -> Option<usize> {
    let date = rest.get(4..23).filter(|_| rest[3] == b' ')?;
    (date[4] == b'-' && date[7] == b'-' && date[13] == b':' && date[16] == b':').then(|| tag(rest, 23)).flatten()
}

/// `1 2026-11-20T19:45:56.306134+00:00 labvm kernel - - - ` behind the level: RFC 5424, whose version is 1. The last of the fields can
/// be `[NAME KEY="VALUE"]`, and a byte order mark may stand before the message.
pub(super) fn rfc5424(rest: &[u8]) -> Option<usize> {
    rest.get(2..22).filter(|time| rest[1] == b' ' && time[4] == b'-' && time[7] == b'-' && time[10] == b'T')?;
    let near = &rest[..rest.len().min(120)];
    let mut at = memmem::find(near, b" kernel ")? + 8;
    for _ in 0..2 {
        at += memchr(b' ', &near[at..])? + 1;
    }
    at += match near.get(at)? {
        b'-' => 1,
        _ => memmem::find(&rest[at..rest.len().min(at + 512)], b"] ")? + 1,
    };
    let mark = rest.get(at..at + 4).is_some_and(|next| next == b" \xef\xbb\xbf");
    Some(if mark { at + 4 } else { blank(rest, at) })
}

/// One past the `kernel: ` or `kernel[-]: ` that must follow within a host name's length.
fn tag(rest: &[u8], from: usize) -> Option<usize> {
    let near = rest.get(from..rest.len().min(from + 120))?;
    let end = memmem::find_iter(near, b" kernel").find_map(|at| {
        let behind = &near[at + 7..];
        let id = behind.strip_prefix(b"[").and_then(|id| memchr(b']', &id[..id.len().min(9)])).map_or(0, |id| id + 2);
        (behind.get(id) == Some(&b':')).then_some(at + 7 + id + 1)
    })?;
    Some(blank(rest, from + end))
}

/// `6,1234,5678901,-,caller=T1;`: /dev/kmsg and extended netconsole.
pub(super) fn kmsg(rest: &[u8]) -> Option<usize> {
    let end = memchr(b';', &rest[..rest.len().min(80)])?;
    let fields = rest[..end].split(|b| *b == b',').take_while(|field| lex::decimal(field).is_some()).count();
    (fields >= 3).then_some(end + 1)
}

/// `kern  :info  : ` of `dmesg -x`, and Talos's `kern:    info: `.
pub(super) fn facility(rest: &[u8]) -> Option<usize> {
    let name = rest.iter().take(8).take_while(|b| b.is_ascii_lowercase()).count();
    let colon = name + lex::indent(&rest[name..]);
    let level = rest.get(colon..)?.strip_prefix(b":")?;
    let end = level.iter().take(10).position(|b| *b == b':')?;
    let word = level[..end].trim_ascii();
    let known: [&[u8]; 9] = [b"emerg", b"alert", b"crit", b"err", b"warn", b"warning", b"notice", b"info", b"debug"];
    known.contains(&word).then(|| blank(rest, colon + 1 + end + 1))
}

/// `10.0.0.2: `, the node that talosctl asked, where a facility follows.
pub(super) fn node(rest: &[u8]) -> Option<usize> {
    let len = rest.iter().take(40).take_while(|b| b.is_ascii_hexdigit() || matches!(b, b'.' | b':')).count();
    let address = rest[..len].strip_suffix(b":")?;
    std::str::from_utf8(address).ok()?.parse::<std::net::IpAddr>().ok()?;
    Some(len + 1 + facility(rest.get(len..)?.strip_prefix(b" ")?)?)
}
