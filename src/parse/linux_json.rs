//! Records of a Linux kernel log in JSON strings.
//!
//! ```text
//!          "msg": " schedule+0x5a/0xd0"                                dmesg -J, journalctl -o json-pretty (`"MESSAGE" : "…"`)
//! {"_TRANSPORT":"kernel","MESSAGE":" schedule+0x5a/0xd0",…}            journalctl -o json
//! {"log":"[   12.345678]  schedule+0x5a/0xd0\n","stream":"stdout",…}    what a container's log keeps of a console
//! ```
//! Docker escapes `<`, `>` and `&`, too (`\u003c`, `\u003e`, `\u0026`): around addresses, in marks and in `Code:` lines that is read, names
//! of locks and other words are left as they stand.
//! Sources: util-linux 2.38.1, systemd 252 (`output_json` in src/shared/logs-show.c), Docker's json-file driver.

use memchr::memmem;

use super::lex::{self, Line};
use super::linux_prefix::{self, Context, Record, peel};

/// Where the message begins in the first line of `text`, if it is one of these.
pub fn json_message(text: &[u8]) -> Option<usize> {
    let first = *text.first()?;
    if !matches!(first, b' ' | b'\t' | b'"' | b'{') {
        return None;
    }
    let line = super::first_line(text);
    if first != b'{' {
        let indent = lex::indent(line);
        let keys: [&[u8]; 2] = [b"\"msg\"", b"\"MESSAGE\""];
        return keys.iter().find(|key| line[indent..].starts_with(key)).and_then(|key| string(line, indent + key.len()));
    }
    let field = |name: &[u8]| memmem::find(line, name).and_then(|at| string(line, at + name.len()));
    match field(b"\"MESSAGE\"") {
        Some(at) => {
            let program = field(b"\"_TRANSPORT\"").is_some_and(|from| !line[from..].starts_with(b"kernel\""));
            (!program).then_some(at)
        }
        None => field(b"\"log\"").filter(|at| *at < 16),
    }
}

/// Where the string begins behind a key that ends at `at`.
fn string(line: &[u8], at: usize) -> Option<usize> {
    let colon = at + lex::indent(&line[at..]);
    let quote = colon + 1 + lex::indent(line.get(colon + 1..)?);
    (line[colon] == b':' && line.get(quote) == Some(&b'"')).then_some(quote + 1)
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

/// The lines of text in a message that begins at `at`.
pub(super) fn records<'t>(line: &Line<'t>, mut at: usize, mut each: impl FnMut(&Record<'t>)) {
    loop {
        while let Some(b"\\t" | b"\\r") = line.bytes.get(at..at + 2) {
            at += 2;
        }
        let end = at + json_line_end(&line.bytes[at..]);
        let (from, context) = peel(&line.bytes[..end], at);
        let context = if context == Context::Bare { Context::Stamped } else { context };
        let text = trim_end(&line.bytes[from..end]);
        each(&Record { context, line: line.number, line_start: line.start, at: from as u32, text });
        // A line feed at the end begins no other line.
        if line.bytes.get(end) != Some(&b'\\') || line.bytes.get(end + 2) == Some(&b'"') {
            return;
        }
        at = (end + 2).min(line.bytes.len());
    }
}

/// `text` without blanks, carriage returns and colours at its end: consoles end their lines with them.
fn trim_end(mut text: &[u8]) -> &[u8] {
    loop {
        text = linux_prefix::trim_end(text);
        // Behind another backslash it is an `r`.
        match text.strip_suffix(b"\\r").filter(|rest| !rest.ends_with(b"\\")) {
            Some(rest) => text = rest,
            None => return text,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::linux_prefix;
    use super::*;

    fn all(line: &str) -> Vec<(Context, String)> {
        let mut found = Vec::new();
        linux_prefix::records(&Line { number: 1, start: 0, bytes: line.as_bytes() }, |record| {
            assert!(line.as_bytes()[record.at as usize..].starts_with(record.text));
            found.push((record.context, lex::text(record.text)));
        });
        found
    }

    #[test]
    fn journals_and_containers_have_their_messages_in_strings() {
        let frame = " f+0x1/0x2".to_string();
        let stamped = [(Context::Stamped, frame.clone())];
        assert_eq!(all(r#"{"PRIORITY":"4","MESSAGE":" f+0x1/0x2","_TRANSPORT":"kernel"}"#), stamped);
        assert_eq!(all("\t\"MESSAGE\" : \" f+0x1/0x2\","), stamped);
        assert_eq!(all(r#"{ "__CURSOR" : "s=1", "MESSAGE" : " f+0x1/0x2" }"#), stamped);
        assert_eq!(all(r#"{"log":"[   12.345678]  f+0x1/0x2\n","stream":"stdout"}"#), stamped);
        assert_eq!(all(r#"{"log":"[   12.345678][    T1]  f+0x1/0x2\n"}"#), [(Context::Task(1), frame)]);
        for log in [r" f+0x1/0x2\r", r"\u001b[0;32m f+0x1/0x2\u001b[0m", r"\r\u001b[1m[   12.345678] \u001b[0m f+0x1/0x2 \r\u001b[0m\r"] {
            assert_eq!(all(&format!(r#"{{"log":"{log}\n","stream":"stdout"}}"#)), stamped, "{log}");
        }
        assert_eq!(all(r#"{"log":"C:\\r\n"}"#)[0].1, r"C:\\r");
        // What a program wrote stays a line of its own.
        let program = r#"{"_TRANSPORT":"stdout","MESSAGE":" f+0x1/0x2"}"#;
        assert_eq!(all(program), [(Context::Bare, program.to_string())]);
    }

    #[test]
    fn messages_of_json_are_cut_at_their_line_feeds() {
        let found = all(r#"         "msg": " f+0x1/0x2\n\tg+0x1/0x2 \"q\\n\"""#);
        let texts: Vec<_> = found.iter().map(|(_, text)| text.as_str()).collect();
        assert_eq!(texts, [" f+0x1/0x2", r#"g+0x1/0x2 \"q\\n\""#]);
        assert_eq!(all(r#"         "msg": "torn \"#)[0].1, r"torn \");
        assert_eq!(json_line_end(br"torn \"), 6);
    }
}
