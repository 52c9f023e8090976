//! What keeps data data: JSON that cannot end its block, text that is no markup, bytes as base64.

use std::borrow::Cow;
use std::io::{self, Write};

/// Writes JSON with `<` as `\u003c`. In JSON it occurs in strings only, where that is the same character; without it neither
/// `</script>` nor `<!--` can occur.
pub struct Inert<'w>(pub &'w mut dyn Write);

impl Write for Inert<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        for (n, part) in bytes.split(|byte| *byte == b'<').enumerate() {
            if n > 0 {
                self.0.write_all(b"\\u003c")?;
            }
            self.0.write_all(part)?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// Text between tags.
pub fn markup(text: &str) -> Cow<'_, str> {
    if !text.contains(['<', '>', '&', '"', '\'']) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    Cow::Owned(out)
}

/// RFC 4648, with padding.
pub fn base64(bytes: &[u8]) -> Vec<u8> {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = Vec::with_capacity(bytes.len().div_ceil(3) * 4);
    for three in bytes.chunks(3) {
        let value = three.iter().enumerate().fold(0u32, |value, (n, byte)| value | u32::from(*byte) << (16 - 8 * n));
        let digit = |n: usize| if n <= three.len() { DIGITS[(value >> (18 - 6 * n)) as usize & 63] } else { b'=' };
        out.extend((0..4).map(digit));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_that_of_the_rfc() {
        for (bytes, text) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg=="), ("\0\u{7f}~", "AH9+")] {
            assert_eq!(String::from_utf8(base64(bytes.as_bytes())).unwrap(), text);
        }
    }

    #[test]
    fn nothing_ends_a_block() {
        let mut out = Vec::new();
        serde_json::to_writer(Inert(&mut out), "</script><!--<script>").unwrap();
        assert!(!out.contains(&b'<'));
        assert_eq!(serde_json::from_slice::<String>(&out).unwrap(), "</script><!--<script>");
        assert_eq!(markup("<b a='&\">"), "&lt;b a=&#39;&amp;&quot;&gt;");
    }
}
