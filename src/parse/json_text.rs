//! The smaller things of JSON that reports of Apple's systems need: numbers, escapes, base64, where an object begins.

use memchr::{memchr, memchr_iter};

/// A number, exact where it is an integer.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Number {
    /// 0 to 2^64 - 1.
    Whole(u64),
    /// Below 0.
    Negative(i64),
    /// Written with an exponent or a fraction, or too large: the nearest that a float can hold.
    Rounded(f64),
}

impl Number {
    /// From its spelling in decimal, or in hexadecimal after `0x`. `18446741874803916800.0` is exact.
    pub fn parse(text: &str) -> Option<Number> {
        let text = text.trim();
        if let Some(digits) = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
            return u64::from_str_radix(digits, 16).ok().map(Number::Whole);
        }
        let whole = text.split_once('.').map_or(text, |(whole, zeros)| if zeros.bytes().all(|b| b == b'0') { whole } else { text });
        let exact = whole.parse().ok().map(Number::Whole).or_else(|| whole.parse().ok().map(Number::Negative));
        exact.or_else(|| text.parse().ok().filter(|value: &f64| value.is_finite()).map(Number::Rounded))
    }

    /// The value, if it is certain; a negative one in two's complement. Floats are exact up to 2^53.
    pub fn exact(self) -> Option<u64> {
        match self {
            Number::Whole(value) => Some(value),
            Number::Negative(value) => Some(value as u64),
            Number::Rounded(value) => (value.fract() == 0.0 && value.abs() <= 9_007_199_254_740_992.0).then_some(value as i64 as u64),
        }
    }
}

/// `\n`, `\t`, `\u0041` and the others undone. What is no escape stays.
pub fn unescape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        let Some(kind) = rest.chars().next() else { break };
        rest = &rest[kind.len_utf8()..];
        match kind {
            'n' => out.push('\n'),
            't' => out.push('\t'),
            'r' => out.push('\r'),
            'b' => out.push('\u{8}'),
            'f' => out.push('\u{c}'),
            'u' => rest = unescape_unit(rest, &mut out),
            other => out.push(other),
        }
    }
    out.push_str(rest);
    out
}

/// The digits after `\u`, with the second half of a pair; gives back what follows.
fn unescape_unit<'s>(rest: &'s str, out: &mut String) -> &'s str {
    let unit = |text: &str| text.get(..4).and_then(|digits| u32::from_str_radix(digits, 16).ok());
    let Some(first) = unit(rest) else {
        out.push(char::REPLACEMENT_CHARACTER);
        return rest;
    };
    let rest = &rest[4..];
    let low = rest.strip_prefix("\\u").and_then(unit).filter(|low| (0xd800..0xdc00).contains(&first) && (0xdc00..0xe000).contains(low));
    let code = low.map_or(first, |low| 0x10000 + ((first - 0xd800) << 10) + (low - 0xdc00));
    out.push(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER));
    if low.is_some() { &rest[6..] } else { rest }
}

/// Where the next object begins at or after `at`: a `{` with a key or `}` behind it. Text before a report may have braces of its own.
pub fn next_object(text: &[u8], at: usize) -> Option<usize> {
    let begins = |from: usize| matches!(text[from + 1..].iter().find(|byte| !byte.is_ascii_whitespace()), Some(b'"' | b'}') | None);
    memchr_iter(b'{', text.get(at..)?).map(|n| at + n).find(|from| begins(*from))
}

/// Whether `text` has a JSON key of that name, which is given with its quotes.
pub fn has_key(text: &[u8], quoted: &[u8]) -> bool {
    let colon = |at: usize| text[at + quoted.len()..].iter().find(|byte| !byte.is_ascii_whitespace()).is_none_or(|byte| *byte == b':');
    memchr::memmem::find_iter(text, quoted).any(colon)
}

/// Whether `byte` can stand in base64 text, line ends included.
fn is_base64(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=' | b'\n' | b'\r')
}

/// Decodes base64 up to the first byte that is none, line ends passed over; gives the bytes and how much text was read.
pub fn base64(text: &[u8]) -> (Vec<u8>, usize) {
    let end = text.iter().position(|byte| !is_base64(*byte)).unwrap_or(text.len());
    let end = memchr(b'=', &text[..end]).unwrap_or(end);
    let value = |byte: u8| match byte {
        b'A'..=b'Z' => byte - b'A',
        b'a'..=b'z' => byte - b'a' + 26,
        b'0'..=b'9' => byte - b'0' + 52,
        b'+' => 62,
        _ => 63,
    };
    let mut bytes = Vec::with_capacity(end / 4 * 3 + 3);
    let (mut bits, mut count) = (0u32, 0);
    for byte in text[..end].iter().filter(|byte| !byte.is_ascii_whitespace()) {
        (bits, count) = (bits << 6 | u32::from(value(*byte)), count + 6);
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count) as u8);
        }
    }
    (bytes, end)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_bytes_do(bytes in prop::collection::vec(any::<u8>(), 0..80), text in ".{0,40}") {
            let (decoded, read) = base64(&bytes);
            prop_assert!(read <= bytes.len() && decoded.len() <= bytes.len());
            let _ = (unescape(&text), Number::parse(&text), next_object(&bytes, 0), has_key(&bytes, b"\"\""));
        }
    }

    #[test]
    fn numbers_are_exact_or_said_to_be_rounded() {
        assert_eq!(Number::parse("18446741874803916801").unwrap().exact(), Some(18446741874803916801));
        assert_eq!(Number::parse("18446741874803916801.0").unwrap().exact(), Some(18446741874803916801));
        assert_eq!(Number::parse("0xfffffe000702c000").unwrap().exact(), Some(0xffff_fe00_0702_c000));
        assert_eq!(Number::parse("-551890460672").unwrap().exact(), Some(0xffff_ff7f_80c3_e000));
        assert_eq!(Number::parse("12728.0").unwrap().exact(), Some(12728));
        assert_eq!(Number::parse("1.2728e4").unwrap().exact(), Some(12728));
        assert_eq!(Number::parse("1.8446741874803917e+19").unwrap().exact(), None);
        assert_eq!(Number::parse("machine"), None);
    }

    #[test]
    fn escapes_and_base64() {
        assert_eq!(unescape(r#"a\n\tb\"\\\u00e9\ud83d\ude00\ud83dx\u12"#), "a\n\tb\"\\é😀\u{fffd}x\u{fffd}12");
        assert_eq!(base64(b"a3N0\nYWNr-").0, b"kstack");
        assert_eq!(base64(b"a3M=").0, b"ks");
        assert_eq!(next_object(b"see {this} {\"a\":1}", 0), Some(11));
    }
}
