//! Lines and fields of a report, as bytes: logs are not always UTF-8.

use memchr::memchr;

/// One line, without its `\n` or `\r\n`.
#[derive(Clone, Copy, Debug)]
pub struct Line<'t> {
    /// Number, from 1; stays at the highest value beyond 2^32 - 1 lines.
    pub number: u32,
    /// Byte offset of its first byte in the text.
    pub start: u64,
    /// Its bytes.
    pub bytes: &'t [u8],
}

/// The lines of `text`, split at `\n` only; one trailing `\r` is dropped from each.
pub fn lines(text: &[u8]) -> impl Iterator<Item = Line<'_>> {
    let (mut at, mut number) = (0, 0u32);
    std::iter::from_fn(move || {
        let rest = text.get(at..).filter(|rest| !rest.is_empty())?;
        let end = memchr(b'\n', rest).unwrap_or(rest.len());
        let bytes = rest[..end].strip_suffix(b"\r").unwrap_or(&rest[..end]);
        number = number.saturating_add(1);
        let line = Line { number, start: at as u64, bytes };
        at += end + 1;
        Some(line)
    })
}

/// How many blanks and tabs `bytes` begins with.
pub fn indent(bytes: &[u8]) -> usize {
    bytes.iter().take_while(|b| matches!(b, b' ' | b'\t')).count()
}

/// How many blanks, tabs and `>` of quoted mail `bytes` begins with.
pub fn margin(bytes: &[u8]) -> usize {
    bytes.iter().take_while(|b| matches!(b, b' ' | b'\t' | b'>')).count()
}

/// The value of `0x` and 1 to 16 hex digits that fill `word` whole.
pub fn hex(word: &[u8]) -> Option<u64> {
    let digits = word.strip_prefix(b"0x").or_else(|| word.strip_prefix(b"0X"))?;
    bare_hex(digits)
}

/// The value of 1 to 16 hex digits that fill `word` whole.
pub fn bare_hex(word: &[u8]) -> Option<u64> {
    if word.is_empty() || word.len() > 16 {
        return None;
    }
    word.iter().try_fold(0u64, |value, b| Some(value << 4 | u64::from((*b as char).to_digit(16)?)))
}

/// The value of decimal digits that fill `word` whole.
pub fn decimal(word: &[u8]) -> Option<u64> {
    if word.is_empty() {
        return None;
    }
    word.iter().try_fold(0u64, |value, b| {
        let digit = (*b as char).to_digit(10)?;
        value.checked_mul(10)?.checked_add(u64::from(digit))
    })
}

/// As [`decimal`], but the highest value for what is larger, and whether that was so.
pub fn saturating(word: &[u8]) -> Option<(u64, bool)> {
    let number = !word.is_empty() && word.iter().all(u8::is_ascii_digit);
    number.then(|| decimal(word).map_or((u64::MAX, true), |value| (value, false)))
}

/// The text of `bytes`, with U+FFFD for what is no UTF-8.
pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Number, from 1, of the line that holds byte `at`.
pub fn line_number(text: &[u8], at: usize) -> usize {
    memchr::memchr_iter(b'\n', &text[..at.min(text.len())]).count() + 1
}

/// The words of `bytes`, separated by blanks and tabs.
pub fn words(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    bytes.split(|b| matches!(b, b' ' | b'\t')).filter(|word| !word.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn numbers_fill_their_word_or_are_none() {
        assert_eq!(hex(b"0xffffff8000202c78"), Some(0xffff_ff80_0020_2c78));
        assert_eq!(hex(b"ffffff8000202c78"), None);
        assert_eq!(hex(b"0x11112222333344445"), None);
        assert_eq!(decimal(b"18446744073709551616"), None);
        assert_eq!(decimal(b"42"), Some(42));
    }

    proptest! {
        #[test]
        fn lines_put_together_again_are_the_text(text in prop::collection::vec(prop_oneof![Just(b'\n'), Just(b'\r'), any::<u8>()], 0..200)) {
            let mut seen = 0;
            for (number, line) in lines(&text).enumerate() {
                prop_assert_eq!(line.number as usize, number + 1);
                prop_assert_eq!(line.start as usize, seen);
                prop_assert_eq!(&text[seen..seen + line.bytes.len()], line.bytes);
                seen += line.bytes.len();
                seen += text[seen..].iter().position(|b| *b == b'\n').map_or(text.len() - seen, |n| n + 1);
            }
            prop_assert_eq!(seen, text.len());
        }

        #[test]
        fn numbers_come_back(value in any::<u64>()) {
            prop_assert_eq!(hex(format!("{value:#x}").as_bytes()), Some(value));
            prop_assert_eq!(decimal(value.to_string().as_bytes()), Some(value));
        }
    }
}
