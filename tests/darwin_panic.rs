//! macOS panics against truth: the generated ones row by row (`cargo test --test darwin_panic -- --nocapture` prints the scores), and real
//! ones against what a few plain rules find in their text. Those lie beside the repository; without them the tests say so.

mod common;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use common::shared::{chain, frames, hex, inputs, rows, shared, symbols};
use kstack::model::capture::Capture;
use kstack::model::stack::{Lookup, Role, StackKind};
use kstack::parse;
use serde_json::Value;

/// How many rows of the truth about a report come out, how many there are, and what is wrong with the others.
fn score(input: &Path) -> (usize, usize, Vec<String>) {
    let rows = rows(&PathBuf::from(format!("{}.truth.tsv", input.display())));
    let build = rows[0]["file"].split('/').take(2).collect::<Vec<_>>().join("/");
    let symbols = symbols(&build);
    let args = ["symbolicate", "-q", "--no-demangle", "--format", "json", "-S", symbols.to_str().unwrap(), input.to_str().unwrap()];
    let answer = common::json(&common::run(&args));
    let report = &answer["reports"][0];
    assert_eq!(report["format"], "darwin-panic", "{}", input.display());
    let kernel = report["images"].as_array().unwrap().iter().find(|image| image["kernel"] == true).map(|image| &image["name"]);
    let stacks = report["stacks"].as_array().unwrap();
    let frames: Vec<&Value> = stacks.iter().flat_map(|stack| stack["frames"].as_array().unwrap()).collect();
    let mut wrong = Vec::new();
    for row in &rows {
        let exact = row["kind"] == "pc";
        // Signatures are taken off; the text keeps them.
        let address = if row["kind"] == "irlr" { hex(&row["addr"]) | 0xffff_8000_0000_0000 } else { hex(&row["addr"]) };
        let line: u64 = row["line"].parse().unwrap();
        let here = |frame: &&&Value| frame["line"] == line && frame["address"] == format!("{address:#x}");
        let Some(frame) = frames.iter().find(here) else {
            wrong.push(format!("line {}: {} is not extracted", row["line"], row["addr"]));
            continue;
        };
        let image = if row["image"] == "__kernel__" { Some(&frame["module"]) == kernel } else { frame["module"] == row["image"] };
        let named = frame["symbol"] == row["symbol"] && frame["offset"] == hex(&row["symoff"]);
        if !(image && named && chain(frame) == row["chain"] && (frame["exact"] == true) == exact && frame["trust"] != "mismatched") {
            wrong.push(format!("line {}: {}+{} {} but got {frame}", row["line"], row["symbol"], row["symoff"], row["chain"]));
        }
    }
    (rows.len() - wrong.len(), rows.len(), wrong)
}

/// Every generated panic of that architecture.
fn generated(arm: bool) {
    let mut inputs: Vec<PathBuf> = fs::read_dir(inputs()).unwrap().map(|entry| entry.unwrap().path()).collect();
    let name = |path: &Path| path.file_name().unwrap().to_string_lossy().into_owned();
    let panic = |path: &PathBuf| name(path).starts_with("panic-") && [".txt", ".ips", ".panic"].iter().any(|end| name(path).ends_with(end));
    inputs.retain(|path| panic(path) && name(path).contains("arm64") == arm);
    inputs.sort();
    assert!(inputs.len() >= 4, "the generated panics are there");
    let mut failed = Vec::new();
    for input in inputs {
        let (right, all, wrong) = score(&input);
        println!("{}: {right} of {all} rows", name(&input));
        failed.extend(wrong.into_iter().map(|line| format!("{} {line}", name(&input))));
    }
    assert!(failed.is_empty(), "{} rows are wrong:\n{}", failed.len(), failed.join("\n"));
}

#[test]
fn generated_panics_of_x86_64() {
    generated(false);
}

#[test]
fn generated_panics_of_arm64() {
    generated(true);
}

/// The excerpts of real panics: name and kind.
fn real(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let index = rows(&folder.join("INDEX.tsv"));
    let panics = index.into_iter().filter(|row| row["file"].starts_with("panic-") || row["kind"].contains("panic footer"));
    panics
        .map(|row| (row["file"].clone(), fs::read(folder.join(&row["file"])).unwrap()))
        .filter(|(name, _)| name.ends_with(".txt"))
        .collect()
}

fn read(text: &[u8]) -> Capture {
    parse::by_id("darwin-panic").unwrap().parse(text)
}

/// The 16 digits behind `0x` at the start of `text`.
fn address(text: &str) -> Option<u64> {
    let digits = text.strip_prefix("0x")?.get(..16)?;
    u64::from_str_radix(digits, 16).ok()
}

/// Return addresses of backtraces, by nothing but the look of their lines.
fn backtrace(text: &str) -> Vec<u64> {
    let x86 = |line: &str| line.starts_with("0x").then(|| line.split_once(" : ")).flatten().and_then(|(_, rest)| address(rest));
    let arm = |line: &str| line.strip_prefix("lr: ").and_then(address);
    text.lines().map(|line| line.trim_start_matches(['>', ' ', '\t'])).filter_map(|line| x86(line).or_else(|| arm(line))).collect()
}

#[test]
fn real_panics_are_detected_and_every_frame_is_extracted_in_order() {
    let Some(folder) = shared("darwin/real") else { return };
    let mut frames = 0;
    for (name, text) in real(&folder) {
        assert_eq!(parse::detect(&text).map(|format| format.id()), Some("darwin-panic"), "{name}");
        let capture = read(&text);
        let stacks = capture.stacks.iter().filter(|stack| !stack.aside && stack.kind != StackKind::Irq);
        let printed = stacks.flat_map(|stack| stack.frames.iter().filter(|frame| frame.role != Role::Fault).chain(&stack.user_frames));
        let printed: Vec<u64> = printed.map(|frame| frame.address.unwrap().0).collect();
        let wanted = backtrace(&String::from_utf8_lossy(&text));
        assert_eq!(printed, wanted, "{name}");
        frames += wanted.len();
    }
    println!("{frames} frames of real panics");
    assert!(frames > 200);
}

/// `ID(VERSION)[UUID]@0xSTART->0xEND` lines whose parts are all whole: name, UUID, start, end.
fn ranges(text: &str) -> BTreeSet<(String, String, u64, Option<u64>)> {
    let range = |line: &str| {
        let line = line.trim().trim_start_matches("dependency: ");
        let (about, range) = line.split_once('@')?;
        let (name, rest) = about.split_once('(')?;
        let uuid = rest.split_once('[').map_or("", |(_, id)| id.trim_end_matches(']'));
        let (start, end) = range.split_once("->").map_or((range, None), |(start, end)| (start, Some(end)));
        let whole = !name.contains(' ') && (uuid.is_empty() || (uuid.len() == 36 && !uuid.contains(' ')));
        let end = end.map(address);
        if !whole || end == Some(None) { None } else { Some((name.to_string(), uuid.to_string(), address(start)?, end.flatten())) }
    };
    text.lines().filter_map(range).collect()
}

#[test]
fn every_kext_of_real_panics_is_extracted() {
    let Some(folder) = shared("darwin/real") else { return };
    let mut kexts = 0;
    for (name, text) in real(&folder) {
        let capture = read(&text);
        let claim = |claim: &kstack::model::image::ImageClaim| {
            let (start, size) = (claim.load.or(claim.exec)?.0, claim.size.or(claim.exec_size));
            let id = claim.id.map_or(String::new(), |id| id.to_string());
            Some((claim.name.clone(), id, start, size.map(|size| start + size - 1)))
        };
        let found: BTreeSet<_> = capture.images.iter().filter_map(claim).collect();
        let wanted = ranges(&String::from_utf8_lossy(&text));
        let missing: Vec<_> = wanted.difference(&found).collect();
        assert!(missing.is_empty(), "{name}: {missing:x?}");
        let arm = capture.arch.is_some_and(|arch| arch.name().starts_with("arm64"));
        let swapped = capture.images.iter().filter(|claim| !claim.kernel && claim.id.is_some() && claim.size.is_some() && arm);
        assert_eq!(swapped.count(), 0, "{name}: arm64 prints __TEXT_EXEC");
        kexts += wanted.len();
    }
    println!("{kexts} ranges of kexts in real panics");
    assert!(kexts > 40);
}

#[test]
fn a_damaged_excerpt_gives_no_kext_and_says_so() {
    let Some(folder) = shared("darwin/real") else { return };
    let text = fs::read(folder.join("panic-10.10-mangled-wrapped.txt")).unwrap();
    let capture = read(&text);
    assert!(capture.images.iter().all(|claim| claim.kernel), "{:?}", capture.images);
    assert!(capture.notes.iter().any(|note| note.text.contains("line 1, 2, 3, 4, 5")), "{:?}", capture.notes);
}

#[test]
fn names_that_real_panics_print_come_out() {
    let Some(folder) = shared("darwin/real") else { return };
    let rows = rows(&folder.join("truth.tsv"));
    let mut seen = 0;
    for row in rows.iter().filter(|row| row["file"].starts_with("panic-")) {
        let text = fs::read(folder.join(&row["file"])).unwrap();
        let capture = read(&text);
        let mut frames = capture.stacks.iter().flat_map(|stack| &stack.frames);
        let frame = frames.find(|frame| frame.line.to_string() == row["line"]).unwrap_or_else(|| panic!("{row:?}"));
        assert_eq!(frame.address.unwrap().0, hex(&row["addr"]), "{row:?}");
        assert_eq!(frame.symbol.of(&text, frame.line_start), row["symbol"].strip_prefix('_').unwrap().as_bytes(), "{row:?}");
        assert_eq!(frame.offset, Some(hex(&row["symoff"])), "{row:?}");
        assert_eq!(frame.module.of(&text, frame.line_start), row["image"].as_bytes(), "{row:?}");
        seen += 1;
    }
    println!("{seen} names of real panics");
    assert!(seen > 15);
}

#[test]
fn the_frame_behind_a_trap_is_the_pc_itself() {
    let text = b"panic(cpu 2 caller 0xffffff800c04c32a): \"x\"@y.c:1\nBacktrace (CPU 2), Frame : Return Address\n\
        0xffffff913d4bb850 : 0xffffff800bf215cd mach_kernel : _return_from_trap + 0xe0\n\
        0xffffff913d4bb8a0 : 0xffffff800c05a3c5 mach_kernel : _panic_trap_to_debugger + 0x155\n\
        0xffffff913d4bb8e0 : 0xffffff800c04bf7e mach_kernel : _panic + 0x4ee\n";
    let capture = read(text);
    let lookups: Vec<Lookup> = capture.stacks[0].frames.iter().map(|frame| frame.lookup).collect();
    assert_eq!(lookups, [Lookup::Return, Lookup::Exact, Lookup::Return]);
}

#[test]
fn panics_of_several_boots_are_reports_of_their_own() {
    let read = |name: &str| fs::read(common::fixtures().join("darwin-panic").join(name).join("input.txt")).unwrap();
    let (one, two) = (read("keepsyms"), read("collection"));
    let both = [&one[..], &two].concat();
    let parts = parse::by_id("darwin-panic").unwrap().parts(&both);
    let slides: Vec<u64> = parts.iter().map(|part| part.capture.slide.unwrap().0).collect();
    assert_eq!(slides, [0x0d80_0000, 0x0921_0000]);
    let texts: Vec<u8> = parts.iter().flat_map(|part| part.text.clone().unwrap()).collect();
    assert_eq!(texts, both, "nothing is lost");
    let line = one.iter().filter(|b| **b == b'\n').count() as u32 + 6;
    assert_eq!(parts[1].capture.stacks[0].line, line, "lines are those of the input");
    assert!(parts[0].capture.notes.iter().any(|note| note.text.contains("panics of 2 boots")));
    // Two of one boot are two stacks of one report.
    let twice = [&one[..], &one].concat();
    let parts = parse::by_id("darwin-panic").unwrap().parts(&twice);
    let crashes = parts[0].capture.stacks.iter().filter(|stack| !stack.aside).count();
    assert_eq!((parts.len(), crashes, parts[0].text.is_none()), (1, 2, true));
    assert!(parts[0].capture.notes.iter().any(|note| note.text.starts_with("2 panics in one text, on lines 6, ")));
}

/// What only the report names is given as it is printed, and is the same function all the same when that is read again.
#[test]
fn names_that_only_the_report_has_keep_their_underscore() {
    let text = "panic(cpu 1 caller 0xffffff8009da2f32): \"x\"@/x/zalloc.c:3413\nBacktrace (CPU 1), Frame : Return Address\n\
        0xffffffa84446f840 : 0xffffff8009da0216 mach_kernel : _panic + 0x54\n\
        0xffffffa84446f8b0 : 0xffffff8009da2f32 mach_kernel : __zone_refill + 0x123\n\
        0xffffffa84446fa30 : 0xffffff80084ce564 mach_kernel : trap_from_kernel + 0x26\n\
        0xffffffa84446fb30 : 0xffffff8009a004ab mach_kernel : __ZN12OSOrderedSet14ensureCapacityEj + 0xbb\n";
    let json = common::run_with(&["symbolicate", "-q", "--format", "json"], text.as_bytes());
    let names = |output: &std::process::Output| {
        let frames = common::json(output)["reports"][0]["stacks"][0]["frames"].as_array().unwrap().clone();
        frames.iter().map(|frame| frame["symbol"].as_str().unwrap().to_string()).collect::<Vec<_>>()
    };
    assert_eq!(names(&json), ["_panic", "__zone_refill", "trap_from_kernel", "__ZN12OSOrderedSet14ensureCapacityEj"]);
    assert_eq!(names(&json), names(&common::run_with(&["symbolicate", "-q", "--format", "json"], &json.stdout)));
    let folded = |text: &[u8]| common::stdout(&common::run_with(&["flame", "-q", "--format", "folded"], text)).to_string();
    let stack = "_ZN12OSOrderedSet14ensureCapacityEj_[k];trap_from_kernel_[k];_zone_refill_[k];panic_[k] 1\n";
    assert_eq!((folded(text.as_bytes()).as_str(), folded(&json.stdout).as_str()), (stack, stack));
}

/// The forms of 10.5 on 32 bits: short addresses, arguments behind them, modules instead of extensions.
#[test]
fn old_panics_of_32_bits_are_read() {
    let text = b"panic(cpu 1 caller 0x001A8C8A): Kernel trap at 0x0044a2e1, type 14=page fault, registers:\n\
        EFL: 0x00010246, EIP: 0x0044a2e1, CS:  0x00000008, DS:  0x00000010\n\n\
        Backtrace (CPU 1), Frame : Return Address (4 potential args on stack)\n\
        0x4c2b3b48 : 0x12b4f3 (0x45b13c 0x4c2b3b7c 0x133238 0x0) \n0x4c2b3c88 : 0x44a2e1 (0xe 0x48 0x4c2b0010 0x190010) \n\
        \tBacktrace continues...\n      Kernel loadable modules in backtrace (with dependencies):\n\
        \x20        com.apple.GeForce(5.4.8)@0x7fc000->0x8cdfff\n            dependency: com.apple.NVDAResman(5.4.8)@0xa5e000\n\n\
        Kernel version:\nDarwin Kernel Version 9.8.0: x; root:xnu-1228.15.4~1/RELEASE_I386\n";
    let capture = read(text);
    assert_eq!((capture.arch.map(|arch| arch.name()), capture.slide.map(|slide| slide.0)), (Some("i386"), Some(0)));
    let frames: Vec<(u64, Lookup)> = capture.stacks[0].frames.iter().map(|frame| (frame.address.unwrap().0, frame.lookup)).collect();
    assert_eq!(frames, [(0x12_b4f3, Lookup::Return), (0x44_a2e1, Lookup::Exact)], "the fault is in the backtrace already");
    let beside: Vec<u64> = capture.stacks[1].frames.iter().map(|frame| frame.address.unwrap().0).collect();
    assert_eq!((capture.stacks[1].aside, beside), (true, vec![0x1a_8c8a, 0x44_a2e1, 0x44_a2e1]), "nothing of the words is lost");
    let kexts: Vec<_> = capture.images.iter().filter(|claim| !claim.kernel).map(|claim| (claim.load.unwrap().0, claim.size)).collect();
    assert_eq!(kexts, [(0x7f_c000, Some(0xd_2000)), (0xa5_e000, None)]);
}

/// Every way in which a report gets spoilt on its way gives the same frames and kexts.
#[test]
fn wrapped_quoted_and_packed_reports_say_the_same() {
    let plain = fs::read_to_string(common::fixtures().join("darwin-panic/keepsyms/input.txt")).unwrap();
    let facts = |text: &str| {
        let parts = parse::by_id("darwin-panic").unwrap().parts(text.as_bytes());
        let capture = &parts[0].capture;
        let text = parts[0].text.as_deref().unwrap_or(text.as_bytes()).to_vec();
        let name = |frame: &kstack::model::stack::RawFrame| match frame.known {
            Some(known) => capture.known[known.0 as usize].symbol.as_ref().unwrap().name.to_string(),
            None => String::from_utf8_lossy(frame.symbol.of(&text, frame.line_start)).into_owned(),
        };
        let frames: Vec<_> = capture.stacks.iter().flat_map(|stack| &stack.frames).map(|frame| (frame.address, name(frame))).collect();
        let images: Vec<_> = capture.images.iter().map(|claim| (claim.name.clone(), claim.id, claim.load, claim.size)).collect();
        (frames, images, capture.slide, capture.os_build.clone(), capture.kernel_version.clone())
    };
    let wanted = facts(&plain);
    assert!(wanted.0.len() > 15 && wanted.1.len() > 5);
    let each = |before: &str, end: &str| plain.lines().map(|line| format!("{before}{line}{end}")).collect::<String>();
    let escaped = plain.replace('_', "\\_").replace('*', "\\*").replace('[', "\\[").replace(">!", "\\>!");
    let packed = format!(
        "{{\"panicString\" : \"{}\"}}\n",
        plain.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n").replace('\t', "\\t")
    );
    for (how, text) in [
        ("quoted", each("> ", "\n")),
        ("quoted twice", each(">> ", "\n")),
        ("quoted tight", each(">", "\n")),
        ("indented", each("        ", "\r\n")),
        ("fenced", format!("It died:\n```\n{plain}```\n")),
        ("blanks for tabs", plain.replace('\t', "      ")),
        ("logged", each("Aug 14 09:11:02 host kernel[0]: ", "\n")),
        ("escaped", escaped),
        ("packed", packed),
    ] {
        assert_eq!(facts(&text), wanted, "{how}");
    }
    for width in [60, 72, 76, 80, 100] {
        let wrap = |line: &str| {
            let bytes: Vec<char> = line.chars().collect();
            bytes.chunks(width).map(|piece| piece.iter().collect::<String>() + "\n").collect::<String>()
        };
        let text: String = plain
            .lines()
            .map(|line| if line.len() > width && !line.starts_with("Darwin") { wrap(line) } else { format!("{line}\n") })
            .collect();
        let (frames, images, slide, build, _) = facts(&text);
        assert_eq!((&frames, slide, &build), (&wanted.0, wanted.2, &wanted.3), "wrapped at {width}");
        let strange: Vec<_> = images.iter().filter(|image| !wanted.1.contains(image)).collect();
        assert!(strange.is_empty(), "wrapped at {width}: {strange:?}");
    }
}

/// The names that symbols give a report: each frame's address, symbol and offset.
fn names(output: &std::process::Output) -> (Value, Vec<(Value, Value, Value)>) {
    let report = common::json(output)["reports"][0].clone();
    let told = frames(&report).iter().map(|frame| (frame["address"].clone(), frame["symbol"].clone(), frame["offset"].clone())).collect();
    (report, told)
}

/// Symbols can be given later: kstack's own JSON keeps what slides and bases stand on.
#[test]
fn json_that_is_read_again_is_resolved_as_the_report_itself() {
    for (input, build) in [("panic-10.9", "a/legacy"), ("panic-13-x86", "a/modern"), ("panic-14-arm64-fault", "a/arm64e")] {
        let (path, symbols) = (inputs().join(input).with_extension(if input == "panic-10.9" { "9.txt" } else { "txt" }), symbols(build));
        let args = ["symbolicate", "-q", "--format", "json", "-S", symbols.to_str().unwrap()];
        let (report, direct) = names(&common::run(&[&args[..], &[path.to_str().unwrap()]].concat()));
        let bare = common::run(&["symbolicate", "-q", "--format", "json", path.to_str().unwrap()]);
        let (again, later) = names(&common::run_with(&args, &bare.stdout));
        assert_ne!(report["slide"], "0x0", "{input}");
        assert_eq!((&again["slide"], &again["addresses"]), (&report["slide"], &serde_json::json!("runtime")), "{input}");
        assert!(direct.len() > 5 && direct.iter().all(|frame| later.contains(frame)), "{input}: {direct:?}\nbut {later:?}");
    }
}

/// Where nothing says whether there is a slide, none is made up.
#[test]
fn without_a_word_about_slides_there_is_none() {
    for input in ["", "0xffffff80002077c5\n", "a;b;c 3\n", "hello\n"] {
        let report = common::json(&common::run_with(&["symbolicate", "-q", "--format", "json"], input.as_bytes()))["reports"][0].clone();
        assert_eq!((&report["slide"], &report["addresses"]), (&Value::Null, &Value::Null), "{input:?}");
    }
}
