//! How profilers' names are made fit for folded lines, as inferno 0.12 does.

use std::borrow::Cow;

/// What rustc's legacy mangling wrote for characters that no linker takes.
const ESCAPES: [(&str, &str); 20] = [
    ("$SP$", "@"),
    ("$BP$", "*"),
    ("$RF$", "&"),
    ("$LT$", "<"),
    ("$GT$", ">"),
    ("$LP$", "("),
    ("$RP$", ")"),
    ("$C$", ","),
    ("$u7e$", "~"),
    ("$u20$", " "),
    ("$u27$", "'"),
    ("$u3d$", "="),
    ("$u5b$", "["),
    ("$u5d$", "]"),
    ("$u7b$", "{"),
    ("$u7d$", "}"),
    ("$u3b$", ";"),
    ("$u2b$", "+"),
    ("$u21$", "!"),
    ("$u22$", "\""),
];

/// Length of the hash that ends a Rust name: `h` and 16 hex digits.
const RUST_HASH: usize = 17;

/// A Rust name that a profiler demangled in part, made readable and without its hash; any other name as it is.
///
/// ```
/// # use kstack::collapse::tidy::rust;
/// assert_eq!(rust("_$LT$a..B$u20$as$u20$C$GT$::run::h30ecedc997ad7e32"), "<a::B as C>::run");
/// assert_eq!(rust("zio_wait"), "zio_wait");
/// ```
pub fn rust(name: &str) -> Cow<'_, str> {
    let bytes = name.as_bytes();
    let Some(at) = bytes.len().checked_sub(RUST_HASH).filter(|at| bytes[*at] == b'h') else { return Cow::Borrowed(name) };
    if !bytes[at + 1..].iter().all(u8::is_ascii_hexdigit) {
        return Cow::Borrowed(name);
    }
    let body = name[..at].strip_suffix("::").unwrap_or(&name[..at]);
    Cow::Owned(unescaped(if body.starts_with("_$") { &body[1..] } else { body }))
}

fn unescaped(mut rest: &str) -> String {
    let mut out = String::with_capacity(rest.len());
    while !rest.is_empty() {
        let plain = rest.find(['$', '.']).unwrap_or(rest.len());
        out.push_str(&rest[..plain]);
        rest = &rest[plain..];
        if let Some(behind) = rest.strip_prefix("..") {
            out.push_str("::");
            rest = behind;
        } else if let Some(behind) = rest.strip_prefix('.') {
            out.push('.');
            rest = behind;
        } else if !rest.is_empty() {
            let escape = ESCAPES.iter().find_map(|(escape, meant)| Some((rest.strip_prefix(escape)?, meant)));
            let Some((behind, meant)) = escape else { return out + rest };
            out.push_str(meant);
            rest = behind;
        }
    }
    out
}

/// A name without its arguments, and with colons for semicolons. Methods of Go types (`.(*Client)`) and C++'s anonymous namespaces keep
/// their parentheses.
///
/// ```
/// # use kstack::collapse::tidy::generic;
/// assert_eq!(generic("base(BasicType) const"), "base");
/// assert_eq!(generic("std::function<void (int)>::operator(int)"), "std::function<void (int)>::operator");
/// ```
pub fn generic(name: &str) -> Cow<'_, str> {
    if memchr::memchr2(b';', b'(', name.as_bytes()).is_none() {
        return Cow::Borrowed(name);
    }
    let kept = &name[..without_arguments(name)];
    if kept.contains(';') { Cow::Owned(kept.replace(';', ":")) } else { Cow::Borrowed(kept) }
}

fn without_arguments(name: &str) -> usize {
    let (mut depth, mut dot) = (0i64, None);
    for (at, byte) in name.bytes().enumerate() {
        match byte {
            b'<' | b'{' | b'[' => depth += 1,
            b'>' | b'}' | b']' | b')' => depth -= 1,
            b'(' if depth == 0 && dot != Some(at) && !name[at..].starts_with("(anonymous namespace)") => return at,
            b'(' => depth += 1,
            b'.' => dot = Some(at + 1),
            _ => {}
        }
    }
    name.len()
}

/// Java's type names without the `L` of their descriptors.
pub fn java(name: &str) -> &str {
    name.strip_prefix('L').filter(|_| name.contains('/')).unwrap_or(name)
}
