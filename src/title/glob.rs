//! Patterns in which `*` stands for any text, and what it stood for.

/// Whether `pattern` fits the whole of `text`.
pub fn matches(pattern: &str, text: &str) -> bool {
    let (mut first, mut rest) = (true, text);
    let mut pieces = pattern.split('*').peekable();
    while let Some(piece) = pieces.next() {
        let last = pieces.peek().is_none();
        rest = match (first, last) {
            (true, true) => return rest == piece,
            (true, false) => match rest.strip_prefix(piece) {
                Some(rest) => rest,
                None => return false,
            },
            (false, true) => return rest.ends_with(piece),
            (false, false) => match rest.find(piece) {
                Some(at) => &rest[at + piece.len()..],
                None => return false,
            },
        };
        first = false;
    }
    false
}

/// What each `*` of `pattern` stands for in `text`, as little as possible; behind the pattern may follow anything. A `*` at its end
/// stands for all that follows.
pub fn captures<'t>(pattern: &str, text: &'t str) -> Option<Vec<&'t str>> {
    let mut pieces = pattern.split('*');
    let mut rest = text.strip_prefix(pieces.next()?)?;
    let mut found = Vec::new();
    let mut pieces = pieces.peekable();
    while let Some(piece) = pieces.next() {
        let at = if piece.is_empty() && pieces.peek().is_none() { rest.len() } else { rest.find(piece)? };
        found.push(&rest[..at]);
        rest = &rest[at + piece.len()..];
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn stars_stand_for_any_text() {
        for (pattern, text, fits) in [
            ("f", "f", true),
            ("f", "ff", false),
            ("f*", "ff", true),
            ("*_lock", "rtnl_lock", true),
            ("*_lock", "rtnl_lock_killable", false),
            ("*kasan*", "__kasan_report", true),
            ("a*b*c", "a__b__c", true),
            ("a*b*c", "a__c__b", false),
            ("*", "", true),
            ("mm/*.h", "mm/internal.h", true),
            ("ab*b", "ab", false),
        ] {
            assert_eq!(matches(pattern, text), fits, "{pattern} {text}");
        }
    }

    #[test]
    fn captures_take_as_little_as_they_can() {
        assert_eq!(captures("BUG: KASAN: * in *+", "BUG: KASAN: use-after-free in f+0x1/0x2"), Some(vec!["use-after-free", "f"]));
        assert_eq!(captures("* of size ", "Read of size 8 at addr"), Some(vec!["Read"]));
        assert_eq!(captures("panic: *", "panic: a * b"), Some(vec!["a * b"]));
        assert_eq!(captures("panic", "panic: more"), Some(vec![]));
        assert_eq!(captures("x * y", "x z"), None);
    }

    proptest! {
        #[test]
        fn a_pattern_fits_what_it_was_made_from(pieces in prop::collection::vec("[a-z_é]{0,4}", 1..5), between in "[a-z_é]{0,4}") {
            prop_assert!(matches(&pieces.join("*"), &pieces.join(&between)));
            prop_assert!(captures(&pieces.join("*"), &pieces.join(&between)).is_some());
        }
    }
}
