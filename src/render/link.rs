//! Links to files in text for terminals (OSC 8).
//!
//! `ESC ]8;;URI ESC \\ TEXT ESC ]8;; ESC \\`: the form that iTerm2 and VTE brought up and most terminals know by now; others show TEXT
//! alone. Links are made here and let through by [`super::sanitize::painted`]; nothing that a report or symbol file says can make one.

use std::fmt::Write;

use crate::model::frame::Excerpt;

/// Ends the text of a link.
pub const CLOSE: &str = "\x1b]8;;\x1b\\";

/// What every link begins with.
const OPEN: &str = "\x1b]8;;file://";

/// Begins a link to a source file, at its line where the program that opens it understands that.
pub fn open(out: &mut String, source: &Excerpt) {
    out.push_str(OPEN);
    for byte in source.path.bytes() {
        if is_plain(byte) {
            out.push(byte.into());
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    let _ = write!(out, "#{}\x1b\\", source.line);
}

/// Length of the link sequence that `text` begins with, 0 for none.
pub fn sequence(text: &str) -> usize {
    if text.starts_with(CLOSE) {
        return CLOSE.len();
    }
    let Some(uri) = text.strip_prefix(OPEN) else { return 0 };
    let end = uri.bytes().position(|byte| !(is_plain(byte) || matches!(byte, b'%' | b'#'))).unwrap_or(uri.len());
    if uri[end..].starts_with("\x1b\\") { OPEN.len() + end + 2 } else { 0 }
}

/// Whether a byte stands for itself in a file URI.
fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'.' | b'-' | b'_' | b'~' | b'+' | b',')
}
