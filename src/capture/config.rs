//! The kernel's configuration, as far as it says something about stacks and symbols.

use std::io::Read;

/// Options that matter, by the beginning of their names behind `CONFIG_`.
const RELEVANT: &[&str] = &[
    "64BIT",
    "ARCH_",
    "ARM64",
    "BPF_JIT",
    "BOOTPARAM_",
    "BUG",
    "CC_VERSION",
    "CC_IS",
    "CLANG",
    "CRASH",
    "DEBUG_ATOMIC_SLEEP",
    "DEBUG_BUGVERBOSE",
    "DEBUG_INFO",
    "DEBUG_LOCK",
    "DEBUG_MUTEX",
    "DEBUG_RWSEM",
    "DEBUG_SPINLOCK",
    "DEFAULT_HUNG",
    "DETECT_HUNG",
    "DYNAMIC_FTRACE",
    "FRAME_POINTER",
    "FTRACE",
    "FUNCTION_",
    "GCC_VERSION",
    "HARDLOCKUP",
    "HAVE_RELIABLE",
    "HZ",
    "IKCONFIG",
    "KALLSYMS",
    "KASAN",
    "KCSAN",
    "KEXEC",
    "KFENCE",
    "KGDB",
    "KMEMLEAK",
    "KMSAN",
    "KPROBES",
    "LIVEPATCH",
    "LOCALVERSION",
    "LOCKDEP",
    "LOCKUP",
    "LOCK_STAT",
    "LTO",
    "MAGIC_SYSRQ",
    "MODULE",
    "MODVERSIONS",
    "NR_CPUS",
    "PANIC",
    "PAGE_SIZE",
    "PHYSICAL_START",
    "PREEMPT",
    "PRINTK",
    "PROC_KCORE",
    "PROVE_",
    "RANDOMIZE",
    "RCU_CPU_STALL",
    "RELOCATABLE",
    "SCHED_DEBUG",
    "SMP",
    "SOFTLOCKUP",
    "STACKDEPOT",
    "STACKTRACE",
    "STACK_",
    "STRICT_MODULE",
    "THREAD_INFO",
    "TRIM_UNUSED",
    "UBSAN",
    "UNWIND",
    "VMAP_STACK",
    "WQ_WATCHDOG",
    "X86_64",
];

/// Configurations are about 300 KiB of text; more than this is none.
const LIMIT: u64 = 8 << 20;

/// The lines of relevance of a configuration, packed with gzip or not.
pub fn relevant(bytes: &[u8]) -> Vec<u8> {
    let mut text = Vec::new();
    if bytes.starts_with(&[0x1f, 0x8b]) {
        // What of a damaged file can be unpacked is as good as ever.
        let _ = flate2::read::GzDecoder::new(bytes).take(LIMIT).read_to_end(&mut text);
    } else {
        text.extend_from_slice(bytes);
    }
    let lines = text.split_inclusive(|b| *b == b'\n').filter(|line| is_relevant(line));
    lines.collect::<Vec<_>>().concat()
}

fn is_relevant(line: &[u8]) -> bool {
    let name = line.strip_prefix(b"# ").unwrap_or(line).strip_prefix(b"CONFIG_");
    name.is_some_and(|name| RELEVANT.iter().any(|prefix| name.starts_with(prefix.as_bytes())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_lines_of_relevance_are_kept() {
        let text = b"#\n# Automatically generated\nCONFIG_KALLSYMS=y\n# CONFIG_LOCKDEP is not set\nCONFIG_USB=m\n";
        assert_eq!(relevant(text), b"CONFIG_KALLSYMS=y\n# CONFIG_LOCKDEP is not set\n");
    }
}
