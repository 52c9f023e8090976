//! What a title takes from a report: its words without what differs from machine to machine.

/// Longest text that a title takes from a report, in bytes.
pub(super) const LONGEST: usize = 120;

/// `text` without what differs from machine to machine: offsets go, numbers become `NUM`, addresses `ADDR`.
pub(super) fn general(text: &str, longest: usize) -> String {
    let mut title = String::new();
    let mut rest = text.char_indices().map(|(at, _)| at).find(|at| *at > longest).map_or(text, |end| &text[..end]).trim();
    while let Some(first) = rest.chars().next() {
        let word = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len()).max(first.len_utf8());
        let (piece, after) = rest.split_at(word);
        match symbol_offset(rest) {
            Some(len) => rest = &rest[len..],
            None => {
                title.push_str(number(piece).unwrap_or(if first.is_control() { " " } else { piece }));
                rest = after;
            }
        }
    }
    title
}

/// The first `longest` bytes of `text`, fewer where that would cut a letter.
pub(super) fn cut(text: &str, longest: usize) -> &str {
    let end = text.char_indices().map(|(at, c)| at + c.len_utf8()).take_while(|end| *end <= longest).last().unwrap_or(0);
    &text[..end]
}

/// The length of the `+0x61/0x70` that `text` begins with.
fn symbol_offset(text: &str) -> Option<usize> {
    let digits = text.strip_prefix("+0x")?;
    Some(text.len() - digits.trim_start_matches(|c: char| c.is_ascii_hexdigit() || matches!(c, '/' | 'x')).len())
}

/// What stands for a number or an address in a title.
fn number(word: &str) -> Option<&'static str> {
    let hex = |digits: &str| digits.bytes().all(|b| b.is_ascii_hexdigit());
    let is_hex = word.strip_prefix("0x").is_some_and(hex) || (word.len() >= 8 && hex(word) && word.bytes().any(|b| b.is_ascii_digit()));
    let decimal = word.bytes().all(|b| b.is_ascii_digit());
    if is_hex { Some("ADDR") } else { decimal.then_some("NUM") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn titles_keep_nothing_that_differs_from_machine_to_machine() {
        assert_eq!(general("failed(-5) to start app 12", LONGEST), "failed(-NUM) to start app NUM");
        assert_eq!(general("f+0x61/0x70 at ffff888109e0af00", LONGEST), "f at ADDR");
        assert_eq!(general("ip6_output / data-race 0x12\u{1b}", LONGEST), "ip6_output / data-race ADDR ");
        assert_eq!(general("facade decade", LONGEST), "facade decade");
        assert_eq!(general(&"\u{e9}".repeat(200), LONGEST).len(), 122);
    }
}
