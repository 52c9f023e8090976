//! The bodies of the fuzz targets over mutated fixtures: any bytes give a result, quickly.

mod common;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use kstack::{fuzzing, parse};
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

/// Runs `body` over so many spoilt copies of each file.
fn over(files: &[(&str, u32)], body: fn(&[u8])) {
    let one = |(file, cases): &(&str, u32)| {
        let original = std::fs::read(common::fixtures().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
        over_bytes(file, &original, *cases, body);
    };
    // Threads of their own: one of the library's pool would take up other work while it waits, and its time would be that of both.
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| std::iter::from_fn(|| files.get(next.fetch_add(1, Ordering::Relaxed))).for_each(one));
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

/// What lies in the folders of fixtures, as far as it is read as a report, load map or archive.
struct Inputs {
    /// Plain files, and some that kstack wrote.
    plain: Vec<String>,
    /// Packed files and archives.
    packed: Vec<String>,
}

impl Inputs {
    /// All of them: no list is kept by hand, so that a new fixture is spoilt from its first day on.
    fn all() -> Inputs {
        let mut files = Vec::new();
        walk(&common::fixtures(), &mut files);
        files.sort();
        let (packed, plain) = files.into_iter().partition(|file| is_packed(file));
        Inputs { plain, packed }
    }
}

/// Cases whose expected output is spoilt too.
const WRITTEN: [&str; 2] = ["darwin-panic/fault", "dtrace/addresses"];

/// Symbol files have a test of their own; some names of files are those of cases, and tables are for tests.
fn walk(folder: &Path, files: &mut Vec<String>) {
    for path in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        let name = path.file_name().unwrap().to_str().unwrap();
        let kept = !matches!(name, "args" | "command" | "expected.json" | "symbols" | "README.md") && !name.ends_with(".tsv");
        // What kstack writes is a report again; a few of these are enough.
        let written = name == "expected.txt" && !WRITTEN.iter().any(|case| folder.ends_with(case));
        match path.is_dir() {
            true if kept => walk(&path, files),
            false if kept && !written => files.push(path.strip_prefix(common::fixtures()).unwrap().display().to_string()),
            _ => {}
        }
    }
}

fn is_packed(file: &str) -> bool {
    [".xz", ".zst", ".tar"].iter().any(|end| file.ends_with(end))
}

/// How many bytes are spoilt and read in all, so that the time does not grow with the fixtures: of plain files, and of archives unpacked.
const BYTES: usize = 4 << 20;

/// Larger archives are many small ones in one; reading one of them takes as long as all else.
const LARGEST: usize = 1 << 20;

/// Files with so many cases for each that all get about the same share of [`BYTES`], given the size of each.
fn shares(files: &[(String, usize)]) -> Vec<(&str, u32)> {
    let share = BYTES / files.len();
    files.iter().map(|(file, size)| (file.as_str(), (share / size.max(&1)).clamp(2, 100) as u32)).collect()
}

#[test]
fn reports_and_load_maps() {
    let mut seen = BTreeSet::new();
    let mut sized = |file: String| {
        let bytes = std::fs::read(common::fixtures().join(&file)).unwrap();
        seen.extend(parse::detect(&bytes).map(|format| format.id()));
        (file, bytes.len())
    };
    let files: Vec<(String, usize)> = Inputs::all().plain.into_iter().map(&mut sized).collect();
    let missing: Vec<&str> = parse::FORMATS.iter().map(|format| format.id()).filter(|id| !seen.contains(id)).collect();
    assert!(missing.is_empty(), "no fixture is in the format {missing:?}");
    over(&shares(&files), fuzzing::report);
}

#[test]
fn archives() {
    let unpacked = |file: String| {
        let size = kstack::input::open(&common::fixtures().join(&file)).unwrap().data.len();
        (file, size)
    };
    let files: Vec<(String, usize)> = Inputs::all().packed.into_iter().map(unpacked).filter(|(_, size)| *size <= LARGEST).collect();
    for kind in [".tar", ".tar.xz", ".txt.xz", ".zst"] {
        assert!(files.iter().any(|(file, _)| file.ends_with(kind)), "{kind} is among {files:?}");
    }
    over(&shares(&files), fuzzing::archive);
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
    over(&files.map(|file| (file, 150)), fuzzing::symbol_file);
}

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
fn texts_of_several_kinds() {
    let texts = [
        "blocks/bug-report/input.md",
        "blocks/core-txt/input.txt",
        "blocks/mail/input.txt",
        "blocks/crash-session/input.txt",
        "blocks/kgdb-session/input.txt",
    ];
    over(&texts.map(|text| (text, 150)), fuzzing::blocks);
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
