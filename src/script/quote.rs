//! Names and paths inside scripts: each debugger takes a line apart in its own way, and what a report says must stay one word.

use std::path::Path;

/// Why a word cannot stand in a script.
pub type Refusal = String;

/// The text of a path or name that a line can hold at all: UTF-8 without control characters.
///
/// # Errors
/// Otherwise: no debugger has a way to write a line feed inside a word.
pub fn one_line(text: &str) -> Result<&str, Refusal> {
    if text.is_empty() {
        return Err("is empty".to_string());
    }
    let odd = text.chars().find(|c| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{fffd}'));
    odd.map_or(Ok(text), |c| Err(format!("holds {}, which cannot be written in a script: rename the file", c.escape_default())))
}

/// The same for a path.
///
/// # Errors
/// As [`one_line`], and when it is no UTF-8.
pub fn path_text(path: &Path) -> Result<&str, Refusal> {
    one_line(path.to_str().ok_or("is no UTF-8, which cannot be written in a script: rename the file")?)
}

/// Whether nothing takes `c` for more than a letter.
pub fn is_plain(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '/' | '+' | '-' | ':' | ',' | '@')
}

/// A word with a backslash before everything that could mean something: what gdb's `gdb_buildargv` takes (libiberty's `buildargv`, in
/// gdb 13: a backslash makes the next character plain, inside quotes and outside).
///
/// # Errors
/// As [`one_line`].
pub fn backslashed(word: &str) -> Result<String, Refusal> {
    Ok(one_line(word)?.chars().flat_map(|c| [Some('\\').filter(|_| c.is_ascii() && !is_plain(c)), Some(c)]).flatten().collect())
}

/// A Python string literal, which is a JSON one too.
///
/// # Errors
/// As [`one_line`].
pub fn python(word: &str) -> Result<String, Refusal> {
    let escaped: String =
        one_line(word)?.chars().flat_map(|c| [Some('\\').filter(|_| matches!(c, '"' | '\\')), Some(c)]).flatten().collect();
    Ok(format!("\"{escaped}\""))
}

/// A word for a POSIX shell.
///
/// # Errors
/// As [`one_line`].
pub fn shell(word: &str) -> Result<String, Refusal> {
    let word = one_line(word)?;
    // A first `-` would be an option, and `=` an assignment.
    if word.chars().all(is_plain) && !word.starts_with('-') {
        return Ok(word.to_string());
    }
    Ok(format!("'{}'", word.replace('\'', r"'\''")))
}

/// A word that a parser without any way to quote takes as it is.
///
/// # Errors
/// As [`one_line`], and when there is anything but letters, digits and `_ . / + - : , @` in it.
pub fn plain(word: &str) -> Result<String, Refusal> {
    match one_line(word)?.chars().find(|c| !is_plain(*c)) {
        Some(c) => Err(format!("holds `{c}`, which cannot be quoted there: rename the file")),
        None => Ok(word.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_stay_words() {
        let hostile = "a b\"c'd\\e$f;g|h`i%j#k";
        assert_eq!(backslashed(hostile).unwrap(), r#"a\ b\"c\'d\\e\$f\;g\|h\`i\%j\#k"#);
        assert_eq!(python(hostile).unwrap(), r#""a b\"c'd\\e$f;g|h`i%j#k""#);
        assert_eq!(shell(hostile).unwrap(), r#"'a b"c'\''d\e$f;g|h`i%j#k'"#);
        assert_eq!(shell("/a/b-c.ko").unwrap(), "/a/b-c.ko");
        assert!(plain(hostile).is_err() && plain("/a/b-c.ko").is_ok());
    }

    #[test]
    fn control_characters_are_refused_everywhere() {
        for bad in ["a\nb", "a\rb", "a\u{1b}b", "a\u{2028}b", ""] {
            assert!(backslashed(bad).is_err() && python(bad).is_err() && shell(bad).is_err() && plain(bad).is_err(), "{bad:?}");
        }
    }
}
