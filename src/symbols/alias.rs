//! Which of several names at one address a Linux kernel prints.
//!
//! `compare_symbols` of scripts/kallsyms.c (Linux 6.1) puts strong names before weak ones, then those that the linker script
//! provides behind others, then those with fewer leading underscores first, and leaves the rest as `nm -n` has them, which is by name.

/// Added to the rank of a symbol of a linked kernel: equals are sorted by name, and not as the file has them.
pub const BY_NAME: u16 = 0x8000;

/// The rank of a name among those at its address; the lowest is printed.
pub fn rank(name: &[u8], weak: bool) -> u16 {
    let underscores = name.iter().take_while(|b| **b == b'_').count().min(255) as u16;
    underscores + if weak { 0x200 } else { 0 } + if is_provided(name) { 0x100 } else { 0 }
}

/// Whether a linker script may provide a symbol of that name: `__start_x`, `__stop_x`, `__end_x`, `__x_start`, `__x_end`.
fn is_provided(name: &[u8]) -> bool {
    let Some(rest) = name.strip_prefix(b"__").filter(|_| name.len() >= 8) else { return false };
    let begins = [&b"start_"[..], b"stop_", b"end_"].iter().any(|begin| rest.starts_with(begin));
    begins || name.ends_with(b"_start") || name.ends_with(b"_end")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::addr::Svma;
    use crate::symbols::symtab::{RawSymbol, SymbolTable};

    /// The name that answers among `names`, each with whether it is weak, at one address.
    fn first(names: &[(&'static str, bool)], tie: u16) -> String {
        let raw = |(name, weak): &(&'static str, bool)| RawSymbol {
            address: 16,
            name: name.as_bytes(),
            global: true,
            limit: 32,
            size: 0,
            rank: rank(name.as_bytes(), *weak) | tie,
        };
        SymbolTable::new(names.iter().map(raw), Vec::new()).at(Svma(16)).unwrap().name.to_string()
    }

    #[test]
    fn aliases_are_those_that_the_kernel_prints() {
        // From the kallsyms of a Debian 6.1.0-56 kernel.
        assert_eq!(first(&[("__softirqentry_text_start", false), ("__do_softirq", false)], BY_NAME), "__do_softirq");
        assert_eq!(first(&[("__static_call_text_start", false), ("__SCT__tp_func_x", false)], BY_NAME), "__SCT__tp_func_x");
        assert_eq!(first(&[("trip_up", false), ("trip_down", false)], BY_NAME), "trip_down");
        assert_eq!(first(&[("weak", true), ("__strong", false)], BY_NAME), "__strong");
        // A module's symbols are looked through in the order of the file.
        assert_eq!(first(&[("trip_up", false), ("trip_down", false)], 0), "trip_up");
    }
}
