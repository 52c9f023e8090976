//! Function names without what a compiler adds to them, so that names of different builds can be compared.

/// `name` without compiler suffixes (`.isra.0`, `.constprop.0`, `.part.0`, `.cold`, `.llvm.123`, `.lto_priv.0`) and without the
/// `__pfx_` of Linux' padding symbols (since 6.3). Most suffixes have a number, by which they are told from functions of Go.
///
/// ```
/// # use kstack::names::base_name;
/// assert_eq!(base_name("rwsem_down_write_slowpath.constprop.0.isra.1"), "rwsem_down_write_slowpath");
/// assert_eq!(base_name("zio_wait.cold"), "zio_wait");
/// assert_eq!(base_name("core::fmt::write"), "core::fmt::write");
/// assert_eq!(base_name("main.clone"), "main.clone");
/// ```
pub fn base_name(name: &str) -> &str {
    const SUFFIXES: &[&str] = &["isra", "constprop", "part", "llvm", "lto_priv", "clone"];
    const WITHOUT_NUMBER: &[&str] = &["cold", "localalias"];
    let mut base = name.strip_prefix("__pfx_").unwrap_or(name);
    // The package of a Go function is a path.
    if name.contains('/') {
        return name;
    }
    let (mut rest, mut numbered) = (base, false);
    while let Some((front, word)) = rest.rsplit_once('.') {
        if !front.is_empty() && (WITHOUT_NUMBER.contains(&word) || numbered && SUFFIXES.contains(&word)) {
            base = front;
        } else if word.is_empty() || !word.bytes().all(|b| b.is_ascii_digit()) {
            break;
        }
        numbered = word.bytes().all(|b| b.is_ascii_digit());
        rest = front;
    }
    base
}

#[cfg(test)]
mod tests {
    use super::base_name;

    #[test]
    fn only_known_suffixes_go() {
        for (name, base) in [
            ("f", "f"),
            ("f.isra.0", "f"),
            ("f.part.3.cold", "f"),
            ("f.llvm.1234567", "f"),
            ("f.constprop.0.isra.0", "f"),
            ("__pfx_kthread", "kthread"),
            (".cold", ".cold"),
            ("f.0", "f.0"),
            ("f.clone.3", "f"),
            ("prog.clone", "prog.clone"),
            ("a.org/prog.cold", "a.org/prog.cold"),
            ("f.", "f."),
            ("a.b.c", "a.b.c"),
            ("", ""),
            ("<T as core::ops::Drop>::drop", "<T as core::ops::Drop>::drop"),
        ] {
            assert_eq!(base_name(name), base, "{name}");
        }
    }
}
