//! Keeps text from reports from driving the terminal: task names and paths can hold escape sequences.

use std::borrow::Cow;

use super::{Style, link};

/// `text` with control characters made visible, except tab, line feed and a carriage return before it. Bidirectional overrides
/// and bytes that are no UTF-8 become visible too.
///
/// ```
/// # use kstack::render::sanitize::visible;
/// assert_eq!(&*visible(b"a\x1b[31mb\n"), "a\\x1b[31mb\n".as_bytes());
/// ```
pub fn visible(text: &[u8]) -> Cow<'_, [u8]> {
    if text.iter().all(|b| matches!(b, b' '..=b'~' | b'\t' | b'\n')) {
        return Cow::Borrowed(text);
    }
    let mut out = Vec::with_capacity(text.len() + 16);
    for chunk in text.utf8_chunks() {
        let mut chars = chunk.valid().chars().peekable();
        while let Some(c) = chars.next() {
            let harmless =
                !(c.is_control() || is_bidirectional(c)) || matches!(c, '\t' | '\n') || (c == '\r' && chars.peek() == Some(&'\n'));
            if harmless {
                out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
            } else if (c as u32) < 0x100 {
                out.extend_from_slice(format!("\\x{:02x}", c as u32).as_bytes());
            } else {
                out.extend_from_slice(format!("\\u{{{:x}}}", c as u32).as_bytes());
            }
        }
        out.extend(chunk.invalid().iter().flat_map(|b| format!("\\x{b:02x}").into_bytes()));
    }
    Cow::Owned(out)
}

/// Characters that reorder the text around them.
fn is_bidirectional(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{061c}')
}

/// The same for one line of text, where a line feed is made visible as well.
pub fn visible_line(text: &str) -> String {
    String::from_utf8_lossy(&visible(text.replace('\n', "\u{0}").as_bytes())).replace("\\x00", "\\n")
}

/// Text of ours, with names and paths of reports and symbol files in it, made visible like [`visible`]. Our own sequences stay: for colours
/// and links, where `style` has them.
pub fn painted(text: &str, style: Style) -> String {
    let seen = |text: &str| String::from_utf8_lossy(&visible(text.as_bytes())).into_owned();
    let (mut out, mut rest) = (String::with_capacity(text.len()), text);
    while let Some(at) = rest.find('\x1b').filter(|_| style.colour || style.links) {
        let own = own_sequence(&rest[at..], style);
        out.push_str(&seen(&rest[..at]));
        out.push_str(&if own > 0 { rest[at..at + own].to_string() } else { seen("\x1b") });
        rest = &rest[at + own.max(1)..];
    }
    out + &seen(rest)
}

/// Length of the sequence of ours that `text` begins with, 0 for none.
fn own_sequence(text: &str, style: Style) -> usize {
    let colours = ["\x1b[0m", "\x1b[1m", "\x1b[2m"];
    let colour = colours.iter().find(|colour| style.colour && text.starts_with(**colour));
    colour.map_or_else(|| if style.links { link::sequence(text) } else { 0 }, |colour| colour.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_a_terminal_obeys_survives() {
        let hostile = b"\x1b]0;owned\x07 \x9b31m \xe2\x80\xaeevil \r\nnext\rover\t\xff";
        let seen = String::from_utf8(visible(hostile).into_owned()).unwrap();
        assert_eq!(seen, "\\x1b]0;owned\\x07 \\x9b31m \\u{202e}evil \r\nnext\\x0dover\t\\xff");
        assert_eq!(visible_line("a\nb\x1b"), "a\\nb\\x1b");
        let colour = Style { colour: true, ..Style::default() };
        assert_eq!(painted("\x1b[1mf\x1b[0m \x1b[31m\x1b]0;x", colour), "\x1b[1mf\x1b[0m \\x1b[31m\\x1b]0;x");
        assert_eq!(painted("\x1b[1mf", Style::default()), "\\x1b[1mf");
        let link = "\x1b]8;;file:///a%20b.c#3\x1b\\b.c\x1b]8;;\x1b\\";
        assert_eq!(painted(link, Style { links: true, ..Style::default() }), link);
        assert!(!painted(link, colour).contains('\x1b'));
    }
}
