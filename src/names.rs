//! Names of functions, as far as they can be compared.

/// What compilers append to the name of a function that they split or specialised, up to the next dot: GCC's `.isra.0`, `.constprop.0`,
/// `.part.0` and `.cold`, LLVM's `.llvm.1234`, `.warm` and `.__uniq.1234`.
const SUFFIXES: &[&str] = &["isra", "constprop", "part", "cold", "llvm", "lto_priv", "clone", "warm", "__uniq"];

/// `name` without what the compiler appended: `shrink_slab.constprop.0` is `shrink_slab`. Other dots stay: `.foo` of PowerPC, and what C++
/// and Rust write (`<a::B as c::D>::f`, `core..fmt`).
///
/// ```
/// assert_eq!(kstack::names::base_name("f.isra.56.cold.74"), "f");
/// assert_eq!(kstack::names::base_name("<a::B as c::D>::f"), "<a::B as c::D>::f");
/// ```
pub fn base_name(name: &str) -> &str {
    let mut from = 0;
    while let Some(dot) = name[from..].find('.').map(|dot| from + dot) {
        let suffix = name[dot + 1..].split('.').next().unwrap_or_default();
        if dot > 0 && SUFFIXES.contains(&suffix) {
            return &name[..dot];
        }
        from = dot + 1;
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compilers_suffixes_go_and_other_dots_stay() {
        let cases = [
            ("spa_sync", "spa_sync"),
            ("f.isra.0", "f"),
            ("f.constprop.0.isra.0", "f"),
            ("f.part.3", "f"),
            ("f.cold", "f"),
            ("f.llvm.123456789", "f"),
            ("f.__uniq.123.llvm.4", "f"),
            (".sys_open", ".sys_open"),
            (".cold", ".cold"),
            ("_ZN4core3fmt5write17h0123456789abcdefE.llvm.99", "_ZN4core3fmt5write17h0123456789abcdefE"),
            ("core::fmt::write", "core::fmt::write"),
            ("a..part_of", "a..part_of"),
            ("f.", "f."),
            ("", ""),
        ];
        for (name, base) in cases {
            assert_eq!(base_name(name), base, "{name}");
        }
    }
}
