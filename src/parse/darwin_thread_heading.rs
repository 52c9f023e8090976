//! The line that begins a thread in spindump and sample(1).
//!
//! ```text
//!   Thread 0x2d042    DispatchQueue 1          priority 31
//!   Thread 0x3fd504    DispatchQueue "com.apple.main-thread"(1)    341 samples (1-341)    priority 31 (base 31)    cpu time 0.922s
//!   Thread 0x45928b    Thread name "JIT Worklist Helper Thread"    341 samples (1-341)    priority 31 (base 31)
//!     2651 Thread_13961   DispatchQueue_1: com.apple.main-thread  (serial)              sample(1): the tree's root
//!     2651 Thread_13962: worker
//! ```

use memchr::memmem;

use super::{darwin_tree_line, lex};

/// What the line says.
#[derive(Default, PartialEq, Eq, Debug)]
pub struct Heading {
    /// Thread id as printed.
    pub tid: String,
    /// Name of the thread.
    pub name: Option<String>,
    /// The dispatch queue that it works for, as printed.
    pub queue: Option<String>,
    /// How many samples it is in; 0 where the line does not say.
    pub samples: u64,
}

/// Reads the heading of either tool.
pub fn heading(line: &[u8]) -> Option<Heading> {
    spindump(line).or_else(|| sample(line))
}

fn spindump(line: &[u8]) -> Option<Heading> {
    let rest = line.trim_ascii().strip_prefix(b"Thread ")?;
    let tid = lex::words(rest).next().filter(|word| lex::hex(word).is_some())?;
    let mut heading = Heading { tid: lex::text(tid), ..Heading::default() };
    for field in fields(&rest[tid.len()..]) {
        if let Some(name) = field.strip_prefix(b"Thread name ") {
            let name = name.strip_prefix(b"\"").map_or(name, |name| name.strip_suffix(b"\"").unwrap_or(name));
            heading.name = Some(lex::text(name));
        } else if field.starts_with(b"DispatchQueue ") {
            heading.queue = Some(lex::text(field));
        } else if let Some(samples) = memmem::find(field, b" sample").and_then(|at| lex::decimal(&field[..at])) {
            heading.samples = samples;
        }
    }
    Some(heading)
}

/// The pieces between two or more blanks. Blanks inside quotes are the name's own.
fn fields(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let (mut quoted, mut from, mut at, mut found) = (false, 0, 0, Vec::new());
    while at < text.len() {
        match text[at] {
            b'"' => quoted = !quoted && memchr::memchr(b'"', &text[at + 1..]).is_some(),
            b' ' if !quoted && text.get(at + 1) == Some(&b' ') => {
                found.push(text[from..at].trim_ascii());
                from = at + 1;
            }
            _ => {}
        }
        at += 1;
    }
    found.push(text[from..].trim_ascii());
    found.into_iter().filter(|field| !field.is_empty())
}

fn sample(line: &[u8]) -> Option<Heading> {
    let counted = darwin_tree_line::counted(line)?;
    let rest = line[counted.rest..].strip_prefix(b"Thread_")?;
    let digits = rest.iter().take_while(|b| b.is_ascii_hexdigit()).count();
    let (tid, rest) = rest.split_at(digits);
    let mut heading = Heading { tid: lex::text(tid), samples: counted.count, ..Heading::default() };
    let rest = rest.trim_ascii();
    if let Some(name) = rest.strip_prefix(b":") {
        heading.name = Some(lex::text(name.trim_ascii()));
    } else if rest.starts_with(b"DispatchQueue_") {
        heading.queue = Some(lex::text(rest));
    }
    (digits > 0).then_some(heading)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_of_both_tools_are_read() {
        let cases = [
            ("  Thread 0x2d042    DispatchQueue 1          priority 31        ", ("0x2d042", None, Some("DispatchQueue 1"), 0)),
            (
                "  Thread 0x3f    DispatchQueue \"com.apple.main-thread\"(1)    341 samples (1-341)    priority 31 (base 31)",
                ("0x3f", None, Some("DispatchQueue \"com.apple.main-thread\"(1)"), 341),
            ),
            (
                "  Thread 0x4    Thread name \"JIT  Helper\"    1 sample (7)    cpu time <0.001s (814.5K cycles, 1.80c/i)",
                ("0x4", Some("JIT  Helper"), None, 1),
            ),
            ("  Thread 0x4    Thread name \"cut", ("0x4", Some("cut"), None, 0)),
            ("  Thread 0x6d", ("0x6d", None, None, 0)),
            ("    2651 Thread_13961   DispatchQueue_1: main  (serial)", ("13961", None, Some("DispatchQueue_1: main  (serial)"), 2651)),
            ("    12 Thread_7: worker", ("7", Some("worker"), None, 12)),
        ];
        for (line, (tid, name, queue, samples)) in cases {
            let own = |text: Option<&str>| text.map(str::to_string);
            let expected = Heading { tid: tid.into(), name: own(name), queue: own(queue), samples };
            assert_eq!(heading(line.as_bytes()), Some(expected), "{line}");
        }
        for other in ["Thread state: 0x9", "Thread: x", "  12 main (zfs) [0x1]", "Thread 12"] {
            assert_eq!(heading(other.as_bytes()), None, "{other}");
        }
    }
}
