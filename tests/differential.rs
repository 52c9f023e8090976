//! kstack against tools that know nothing of it: llvm-symbolizer on lines and inlined calls, goblin on what a Mach-O file holds.

mod common;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use kstack::model::addr::Svma;
use kstack::symbols::{self, Symbols};

fn open(relative: &str) -> Vec<Box<dyn Symbols>> {
    let mut refused = Vec::new();
    let files = symbols::open(&common::fixtures().join("symbols/darwin").join(relative), &mut refused).unwrap();
    assert!(refused.is_empty(), "{refused:?}");
    files
}

const DEBUG_FILES: [&str; 7] = [
    "legacy/mach_kernel.dSYM/Contents/Resources/DWARF/mach_kernel",
    "legacy/spl.kext.dSYM/Contents/Resources/DWARF/spl",
    "legacy/zfs.kext.dSYM/Contents/Resources/DWARF/zfs",
    "arm64e/kernel.release.t6000.dSYM/Contents/Resources/DWARF/kernel.release.t6000",
    "arm64e/spl.kext.dSYM/Contents/Resources/DWARF/spl",
    "arm64e/zfs.kext.dSYM/Contents/Resources/DWARF/zfs",
    "i386/spl32.kext/Contents/MacOS/spl32",
];

/// `function file:line` of each level, as llvm-symbolizer prints them.
fn llvm(tool: &str, path: &Path, probes: &[Svma]) -> Vec<Vec<String>> {
    let mut child = Command::new(tool)
        .args(["--no-demangle", "--inlines", "--output-style=LLVM", &format!("--obj={}", path.display())])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let input: String = probes.iter().map(|probe| format!("{probe}\n")).collect();
    let mut stdin = child.stdin.take().unwrap();
    let writer = std::thread::spawn(move || stdin.write_all(input.as_bytes()));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    // Line 0 stands for code that belongs to no line; a column of it means nothing.
    let place = |place: &str| match place.rsplit_once(':').filter(|(line, _)| line.ends_with(":0")) {
        Some((line, _)) => format!("{line}:0"),
        None => place.to_string(),
    };
    let levels = |block: &str| {
        let lines: Vec<&str> = block.lines().collect();
        lines.chunks(2).map(|level| format!("{} {}", level[0], place(level.get(1).unwrap_or(&"")))).collect()
    };
    text.split("\n\n").filter(|block| !block.trim().is_empty()).map(levels).collect()
}

#[test]
fn lines_and_inlined_calls_agree_with_llvm_symbolizer() {
    let Some(tool) = common::peer(&["llvm-symbolizer-14", "llvm-symbolizer"]) else { return };
    let (mut same, mut all) = (0, 0);
    for relative in DEBUG_FILES {
        let file = &open(relative)[0];
        // Every fourth byte of code, in functions and between them.
        let segments = file.info().segments.iter().filter(|segment| segment.executable);
        let probes: Vec<Svma> = segments.flat_map(|s| (s.svma.0..s.svma.0 + s.size).step_by(4)).map(Svma).collect();
        let ours = file.locate(&probes);
        let theirs = llvm(&tool, &file.info().path, &probes);
        assert_eq!(ours.len(), theirs.len(), "{relative}");
        for ((probe, ours), theirs) in probes.iter().zip(&ours).zip(&theirs) {
            if ours.is_empty() {
                // llvm-symbolizer then prints a name from the symbol table, without a line.
                assert!(theirs.len() == 1 && theirs[0].ends_with("??:0:0"), "{relative} {probe}: nothing but {theirs:?}");
                continue;
            }
            let place = |l: &kstack::model::frame::Location| {
                let (line, column) = (l.line.unwrap_or(0), l.column.unwrap_or(0));
                format!("{}:{line}:{column}", l.file.as_deref().unwrap_or("??"))
            };
            let (last, inlined) = ours.split_last().unwrap();
            let mut seen: Vec<String> = inlined.iter().map(|l| format!("{} {}", l.function.as_deref().unwrap_or("??"), place(l))).collect();
            // The outermost name comes from the symbol table there and is compared by the truth tests here.
            let owner = theirs.last().unwrap().split(' ').next().unwrap();
            seen.push(format!("{owner} {}", place(last)));
            all += 1;
            same += usize::from(seen == *theirs);
            assert_eq!(seen, *theirs, "{relative} {probe}");
        }
    }
    println!("llvm-symbolizer: {same} of {all} addresses with the same lines and inlined calls");
    assert!(all > 10_000);
}

fn binaries(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            binaries(&path, found);
        } else if path.extension().is_none_or(|extension| extension != "plist" && extension != "md" && extension != "im4p") {
            found.push(path);
        }
    }
}

#[test]
fn goblin_sees_the_same_segments_uuids_and_symbols() {
    use goblin::mach::{Mach, MachO, SingleArch};
    let mut paths = Vec::new();
    binaries(&common::fixtures().join("symbols/darwin"), &mut paths);
    let mut compared = 0;
    for path in paths {
        let bytes = std::fs::read(&path).unwrap();
        let theirs: Vec<MachO<'_>> = match Mach::parse(&bytes).unwrap() {
            // A kernel collection: each entry is a header of its own inside the file.
            Mach::Binary(one) if one.header.filetype == 12 => {
                let entry = |command: &goblin::mach::load_command::LoadCommand| match command.command {
                    goblin::mach::load_command::CommandVariant::FilesetEntry(entry) => Some(entry.fileoff as usize),
                    _ => None,
                };
                one.load_commands.iter().filter_map(entry).map(|at| MachO::parse(&bytes, at).unwrap()).collect()
            }
            Mach::Binary(one) => vec![one],
            Mach::Fat(fat) => {
                fat.into_iter().map(|slice| if let Ok(SingleArch::MachO(one)) = slice { one } else { panic!("{path:?}") }).collect()
            }
        };
        let mut refused = Vec::new();
        let ours = symbols::open(&path, &mut refused).unwrap();
        assert_eq!((ours.len(), refused.len()), (theirs.len(), 0), "{path:?}");
        for (ours, theirs) in ours.iter().zip(&theirs) {
            same(ours.as_ref(), theirs);
            compared += 1;
        }
    }
    assert!(compared >= 20, "{compared} slices");
}

fn same(ours: &dyn Symbols, theirs: &goblin::mach::MachO<'_>) {
    let path = &ours.info().path;
    let uuid = theirs.load_commands.iter().find_map(|command| match command.command {
        goblin::mach::load_command::CommandVariant::Uuid(uuid) => Some(uuid.uuid),
        _ => None,
    });
    assert_eq!(ours.info().id, uuid.and_then(kstack::model::image::ImageId::uuid), "{path:?}");
    let segments: Vec<(u64, u64)> = theirs
        .segments
        .iter()
        .filter(|segment| segment.vmsize > 0 && !matches!(segment.name().unwrap_or(""), "__LINKEDIT" | "__DWARF" | "__PAGEZERO"))
        .map(|segment| (segment.vmaddr, segment.vmsize))
        .collect();
    assert_eq!(ours.info().segments.iter().map(|s| (s.svma.0, s.size)).collect::<Vec<_>>(), segments, "{path:?}");
    let code = ours.info().segments.iter().filter(|segment| segment.executable).collect::<Vec<_>>();
    for (name, symbol) in theirs.symbols().flatten() {
        let in_code = code.iter().any(|segment| symbol.n_value.wrapping_sub(segment.svma.0) < segment.size);
        if symbol.is_stab() || symbol.is_undefined() || !in_code || !name.starts_with('_') {
            continue;
        }
        let found = ours.table().named(&name[1..]);
        let section_is_code = ours.table().at(Svma(symbol.n_value)).is_some_and(|at| at.start.0 == symbol.n_value);
        assert!(!section_is_code || found.iter().any(|found| found.start.0 == symbol.n_value), "{path:?}: {name}");
    }
}

const OTHER_ARCHITECTURES: [&str; 8] = [
    "aarch64-linux-gnu",
    "armv7-linux-gnueabi",
    "mips64-linux-gnuabi64",
    "powerpc64le-linux-gnu",
    "riscv64-linux-gnu",
    "s390x-linux-gnu",
    "i386-linux-gnu",
    "x86_64-apple-macosx10.9",
];

/// Unlinked objects with one code section, of both endiannesses and with every way of spelling relocations.
#[test]
fn unlinked_objects_of_other_architectures_agree_with_llvm_symbolizer() {
    let (Some(tool), Some(clang)) = (common::peer(&["llvm-symbolizer-14", "llvm-symbolizer"]), common::peer(&["clang-14", "clang"])) else {
        return;
    };
    let dir = std::env::temp_dir().join(format!("kstack-architectures-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let source = dir.join("unit.c");
    let text = "static volatile int s;\nstatic inline __attribute__((always_inline)) int inner(int x) { s += x;\n return s * 2; }\n\
        __attribute__((noinline)) int first(int x) { int r = inner(x + 1);\n return r - s; }\n\
        __attribute__((noinline)) int second(int x) { s ^= x;\n return first(x) + inner(x); }\n";
    std::fs::write(&source, text).unwrap();
    for target in OTHER_ARCHITECTURES {
        let path = dir.join(format!("{target}.o"));
        let built =
            Command::new(&clang).args(["-g", "-O1", "-c", &format!("--target={target}"), "-o"]).args([&path, &source]).status().unwrap();
        assert!(built.success(), "{target}");
        let file = symbols::open(&path, &mut Vec::new()).unwrap().remove(0);
        let segment = file.info().segments.iter().find(|segment| segment.executable).unwrap();
        let base = if file.info().is_elf { segment.svma.0 } else { 0 };
        // What follows the code in a Mach-O object belongs to no function.
        let size = if file.info().is_elf { segment.size } else { 0x60 };
        let offsets: Vec<Svma> = (0..size).step_by(2).map(Svma).collect();
        let ours = file.locate(&offsets.iter().map(|offset| Svma(base + offset.0)).collect::<Vec<_>>());
        let theirs = llvm(&tool, &path, &offsets);
        let mut compared = 0;
        for ((offset, ours), theirs) in offsets.iter().zip(&ours).zip(&theirs).filter(|((_, ours), _)| !ours.is_empty()) {
            let lines: Vec<String> = ours
                .iter()
                .map(|l| format!("{}:{}:{}", l.file.as_deref().unwrap_or("??"), l.line.unwrap_or(0), l.column.unwrap_or(0)))
                .collect();
            let expected: Vec<&str> = theirs.iter().map(|level| level.split_once(' ').unwrap().1).collect();
            assert_eq!(lines, expected, "{target} {offset}");
            compared += 1;
        }
        assert!(compared > 15, "{target}: {compared}");
    }
    std::fs::remove_dir_all(&dir).unwrap();
}
