//! The bodies of the fuzz targets over mutated fixtures: any bytes give a result, quickly.

mod common;

use std::path::Path;
use std::time::{Duration, Instant};

use kstack::fuzzing;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

/// How a fixture is spoilt.
#[derive(Clone, Debug)]
enum Spoil {
    Cut(prop::sample::Index),
    Set(prop::sample::Index, u8),
    Flip(prop::sample::Index, u8),
    Double(prop::sample::Index, prop::sample::Index),
    Remove(prop::sample::Index, prop::sample::Index),
    Number(prop::sample::Index, u32),
}

fn spoils() -> impl Strategy<Value = Vec<Spoil>> {
    let index = any::<prop::sample::Index>;
    let one = prop_oneof![
        1 => index().prop_map(Spoil::Cut),
        4 => (index(), any::<u8>()).prop_map(|(at, byte)| Spoil::Set(at, byte)),
        2 => (index(), 0u8..8).prop_map(|(at, bit)| Spoil::Flip(at, bit)),
        1 => (index(), index()).prop_map(|(from, to)| Spoil::Double(from, to)),
        1 => (index(), index()).prop_map(|(from, to)| Spoil::Remove(from, to)),
        4 => (index(), prop_oneof![Just(0), Just(u32::MAX), Just(0x8000_0000), any::<u32>()]).prop_map(|(at, value)| Spoil::Number(at, value)),
    ];
    prop::collection::vec(one, 1..8)
}

fn spoil(bytes: &mut Vec<u8>, how: &Spoil) {
    if bytes.is_empty() {
        return;
    }
    let len = bytes.len();
    let range = |a: &prop::sample::Index, b: &prop::sample::Index| {
        let (a, b) = (a.index(len), b.index(len));
        (a.min(b), a.max(b).min(a.min(b) + 4096))
    };
    match how {
        Spoil::Cut(at) => bytes.truncate(at.index(len)),
        Spoil::Set(at, byte) => bytes[at.index(len)] = *byte,
        Spoil::Flip(at, bit) => bytes[at.index(len)] ^= 1 << bit,
        Spoil::Double(from, to) => {
            let (from, to) = range(from, to);
            let part = bytes[from..to].to_vec();
            bytes.splice(to..to, part);
        }
        Spoil::Remove(from, to) => drop(bytes.drain(range(from, to).0..range(from, to).1)),
        // Headers are where numbers matter most, so half of them go there.
        Spoil::Number(at, value) => {
            let place = if value % 2 == 0 { at.index(len.min(4096)) } else { at.index(len) };
            let end = (place + 4).min(len);
            bytes[place..end].copy_from_slice(&value.to_le_bytes()[..end - place]);
        }
    }
}

/// Runs `body` over `cases` spoilt copies of each file.
fn over(files: &[&str], cases: u32, body: fn(&[u8])) {
    let one = |file: &&str| {
        let original = std::fs::read(common::fixtures().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
        over_bytes(file, &original, cases, body);
    };
    // Threads of their own: one of the library's pool would take up other work while it waits, and its time would be that of both.
    std::thread::scope(|scope| {
        for half in files.chunks(files.len().div_ceil(2).max(1)) {
            scope.spawn(move || half.iter().for_each(one));
        }
    });
}

/// As [`over`], for bytes that a test made.
fn over_bytes(file: &str, original: &[u8], cases: u32, body: fn(&[u8])) {
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    let outcome = runner.run(&spoils(), |spoils| {
        let mut bytes = original.to_vec();
        spoils.iter().for_each(|how| spoil(&mut bytes, how));
        let start = Instant::now();
        body(&bytes);
        // Not a measurement: a quadratic or endless loop takes minutes.
        prop_assert!(start.elapsed() < Duration::from_secs(20), "{file} takes too long when spoilt by {spoils:?}");
        Ok(())
    });
    outcome.unwrap_or_else(|error| panic!("{file}: {error}"));
}

#[test]
fn reports() {
    let reports = [
        "truth/darwin/stackshot-10.7-onekext.txt",
        "darwin-stackshot-text/nothing-at-hand/input.txt",
        "darwin-spindump/branches/input.txt",
        "darwin-spindump/offsets/input.txt",
        "darwin-showallstacks/gdb/input.txt",
        "darwin-showallstacks/lldb/input.txt",
        "darwin-panic/fault/input.txt",
        "darwin-panic/fault/expected.txt",
        "darwin-panic/keepsyms/input.txt",
        "darwin-panic/quoted/input.txt",
        "darwin-panic/arm64-fault/input.txt",
        "linux-log/hung-task/input.txt",
        "linux-log/oops-caller-ids/input.txt",
        "linux-log/null-in-timer/input.txt",
        "linux-proc-stack/addresses/input.txt",
        "linux-proc-stack/grep/input.txt",
        "freebsd/numbered/input.txt",
        "freebsd/ddb/input.txt",
        "freebsd/procstat/input.txt",
        "freebsd/arm64/input.txt",
        "freebsd/powerpc/input.txt",
        "netbsd/lock-error/input.txt",
        "netbsd/aarch64/input.txt",
        "openbsd/mips64/input.txt",
        "openbsd/wrapped/input.txt",
        "openbsd/witness/input.txt",
        "darwin-stackshot-json/deadlock/input.ips",
        "darwin-stackshot-json/x86-pretty/input.ips",
        "darwin-kcdata/x86/input.kcdata",
        "crash-bt/addresses/input.txt",
        "crash-bt/lines/input.txt",
        "drgn-bt/long/input.txt",
        "drgn-bt/short/input.txt",
        "gdb-bt/tasks/input.txt",
        "gdb-bt/threads/input.txt",
        "sdb-stacks/groups/input.txt",
        "illumos-stacks/groups/input.txt",
        "illumos-stacks/mdb/input.txt",
        "illumos-stacks/panic/input.txt",
        "dtrace/aggregated/input.txt",
        "kstack-json/groups/input.ndjson",
        "kstack-json/report/input.json",
    ];
    over(&reports, 60, fuzzing::report);
}

#[test]
fn reports_of_gvisor_and_fuchsia() {
    let reports = [
        "go-trace/panic/input.txt",
        "go-trace/race/input.txt",
        "go-trace/stuck/input.txt",
        "go-trace/signal/input.txt",
        "fuchsia/assert/input.txt",
        "fuchsia/exception/input.txt",
        "fuchsia/markup/input.txt",
        "fuchsia/starnix/input.txt",
        "fuchsia/symbolized/input.txt",
    ];
    over(&reports, 60, fuzzing::report);
}

#[test]
fn reports_of_memory() {
    let reports = [
        "darwin-zone-log/gdb/input.txt",
        "darwin-zone-log/lldb/input.txt",
        "darwin-zprint/new.txt",
        "darwin-zprint/tool.txt",
        "kmemleak/objects/input.txt",
        "page-owner/full/input.txt",
        "page-owner/stacks/input.txt",
        "slub-traces/caches/input.txt",
    ];
    over(&reports, 60, fuzzing::report);
}

#[test]
fn profiles() {
    let profiles = [
        "perf-script/zfs/input.txt",
        "dtrace/illumos/input.txt",
        "dtrace/addresses/expected.txt",
        "bpftrace/kstack/input.txt",
        "bcc/profile/input.txt",
        "systemtap/zfs/input.txt",
        "ftrace-stack/trace/input.txt",
        "folded/perf/input.txt",
    ];
    over(&profiles, 100, fuzzing::report);
}

#[test]
fn load_maps() {
    let maps = [
        "load-maps/kextstat-10.6.txt",
        "load-maps/kextstat-10.11-unslid.txt",
        "load-maps/kmutil-14-arm64-unslid.txt",
        "load-maps/gdb-showallkmods-10.8.txt",
        "load-maps/lldb-showallkexts-10.9.txt",
        "load-maps/lldb-showallkexts-15.4-arm64.txt",
        "load-maps/kslab-hang-modules",
        "load-maps/kldstat-14.txt",
        "load-maps/modstat-10.txt",
        "load-maps/illumos-modinfo.txt",
    ];
    over(&maps, 200, fuzzing::report);
}

#[test]
fn archives() {
    over(&["captures/small.tar"], 150, fuzzing::archive);
    over(&["linux-log/zstd/input.txt.zst"], 50, fuzzing::archive);
}

#[test]
fn symbol_files() {
    let files = [
        "symbols/darwin/legacy/spl.kext/Contents/MacOS/spl",
        "symbols/darwin/legacy/spl.kext.dSYM/Contents/Resources/DWARF/spl",
        "symbols/darwin/legacy/stripped/zfs.kext/Contents/MacOS/zfs",
        "symbols/darwin/arm64e/zfs.kext/Contents/MacOS/zfs",
        "symbols/darwin/fat/spl.kext/Contents/MacOS/spl",
        "symbols/darwin/i386/spl32.kext/Contents/MacOS/spl32",
        "symbols/darwin/fileset/kernelcache.release.mac13",
        "symbols/darwin/packed/spl.im4p",
        "symbols/bsd/kslab.ko",
        "symbols/bsd/kernel",
        "symbols/linux/unit.ko",
        "symbols/linux/unit-zlib.ko",
    ];
    over(&files, 150, fuzzing::symbol_file);
}

/// Debug info in two files: both are spoilt alike.
#[test]
fn debug_parts() {
    let pairs = [
        ("gcc-4/vmlinux", "gcc-4/one.dwo"),
        ("gcc-5/vmlinux", "gcc-5/two.dwo"),
        ("clang-5/vmlinux", "clang-5/one.dwo"),
        ("gcc-4/vmlinux", "gcc-4/packed"),
        ("clang-5/vmlinux", "clang-5/packed"),
        ("dwz-4/vmlinux-one", "dwz-4/shared.debug"),
        ("dwz-5/vmlinux-one", "dwz-5/shared.debug"),
        // A part that is the file itself.
        ("gcc-5/vmlinux", "gcc-5/vmlinux"),
    ];
    for (main, part) in pairs {
        let read = |name: &str| std::fs::read(common::fixtures().join("symbols/split").join(name)).unwrap();
        let (main, rest) = (read(main), read(part));
        let both = [&(main.len() as u32).to_le_bytes()[..], &main, &rest].concat();
        fuzzing::debug_parts(&both);
        over_bytes(part, &both, 150, fuzzing::debug_parts);
        // The part alone: numbers in its short headers are met far more often.
        let mut runner = TestRunner::new_with_rng(
            Config { cases: 150, failure_persistence: None, ..Config::default() },
            TestRng::deterministic_rng(RngAlgorithm::ChaCha),
        );
        let outcome = runner.run(&spoils(), |spoils| {
            let mut rest = rest.clone();
            spoils.iter().for_each(|how| spoil(&mut rest, how));
            fuzzing::debug_parts(&[&(main.len() as u32).to_le_bytes()[..], &main, &rest].concat());
            Ok(())
        });
        outcome.unwrap_or_else(|error| panic!("{part}: {error}"));
    }
}

#[test]
fn prelinked_kernelcaches() {
    use common::prelinked::{Plist, cache};
    over_bytes("plain", &cache(Plist::Plain), 100, fuzzing::symbol_file);
    // Much of the other form is room between the kexts, where nothing can be spoilt.
    over_bytes("serialized", &cache(Plist::Serialized), 30, fuzzing::symbol_file);
}

#[test]
fn nothing_and_noise() {
    for bytes in [&b""[..], b"\0", b"\n\n\n", &[0xff; 4096], b"PID:", b"Kernel stack:\n0x", b"\x1f\x8b", b"\xca\xfe\xba\xbe"] {
        fuzzing::report(bytes);
        fuzzing::symbol_file(bytes);
    }
    assert!(Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/fuzz_targets").is_dir(), "the same bodies are fuzz targets");
}
