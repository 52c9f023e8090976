//! Sentences on a terminal: broken between words, not wherever its last column is.

/// `text`, which may be several lines, for a terminal of that many columns: lines that are longer are broken between words, and go on
/// `indent` blanks deeper than they begin. Without a width, and where a word is longer than the line, nothing is broken: what is copied
/// stays whole.
///
/// ```
/// # use kstack::render::wrap::wrapped;
/// assert_eq!(wrapped("  one two three", 2, Some(10)), "  one two\n    three");
/// assert_eq!(wrapped("  one two three", 2, None), "  one two three");
/// ```
pub fn wrapped(text: &str, indent: usize, width: Option<u16>) -> String {
    let Some(width) = width.map(usize::from) else { return text.to_string() };
    let mut out = String::with_capacity(text.len() + 16);
    for line in text.split_inclusive('\n') {
        one(line, indent, width, &mut out);
    }
    out
}

fn one(line: &str, indent: usize, width: usize, out: &mut String) {
    let margin = line.len() - line.trim_start_matches(' ').len();
    let mut used = 0;
    for (n, word) in line[margin..].split(' ').enumerate() {
        let len = word.trim_end_matches('\n').chars().count();
        if n == 0 {
            out.push_str(&line[..margin]);
            used = margin + len;
        } else if used + 1 + len > width && len > 0 {
            out.push('\n');
            out.extend(std::iter::repeat_n(' ', margin + indent));
            used = margin + indent + len;
        } else {
            out.push(' ');
            used += 1 + len;
        }
        out.push_str(word);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn long_words_stay_whole_and_lines_apart() {
        let path = "/System/Library/Extensions/zfs.kext/Contents/MacOS/zfs";
        assert_eq!(wrapped(&format!("try: {path} now"), 4, Some(20)), format!("try:\n    {path}\n    now"));
        assert_eq!(wrapped("a b\nc d e f\n", 1, Some(3)), "a b\nc d\n e\n f\n");
    }

    proptest! {
        #[test]
        fn words_are_the_same_and_lines_fit(text in "[ a-z\u{e9}]{0,80}(\n[a-z ]{0,60})?\n?", indent in 0usize..6, width in 12u16..60) {
            let seen = wrapped(&text, indent, Some(width));
            let words = |text: &str| text.split_whitespace().map(str::to_string).collect::<Vec<_>>();
            prop_assert_eq!(words(&seen), words(&text));
            for line in seen.lines() {
                let long = line.split_whitespace().any(|word| word.chars().count() + 10 > usize::from(width));
                prop_assert!(long || line.trim_end().chars().count() <= usize::from(width) || line.starts_with("  "), "{line:?}");
            }
        }
    }
}
