//! Linux modules: ground truth from a running kernel, and every code section of unlinked modules against GNU addr2line, which is
//! asked section by section because it takes all of them to start at 0.

mod common;

use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use kstack::model::addr::Svma;
use kstack::symbols;
use serde_json::Value;

const MODULES: [&str; 4] = ["-m", "symbols/linux/kslab.ko.xz", "-m", "symbols/linux/kslab-late.ko.xz"];

/// Frame text, or run-time address, to the chain of `file:line`, innermost first; names differ by habit of the tools.
fn truth(name: &str, column: usize) -> BTreeMap<String, Vec<String>> {
    let text = std::fs::read_to_string(common::fixtures().join("truth/linux").join(name)).unwrap();
    let row = |line: &str| {
        let cells: Vec<&str> = line.split('\t').collect();
        let places = cells[11].split(" < ").map(|level| level.rsplit('/').next().unwrap().rsplit('@').next().unwrap().to_string());
        (cells[column].to_string(), places.collect())
    };
    text.lines().skip(1).map(row).collect()
}

fn places(frame: &Value) -> Vec<String> {
    let one = |location: &Value| {
        let file = location["file"].as_str().unwrap_or("??");
        format!("{}:{}", file.rsplit('/').next().unwrap(), location["line"])
    };
    frame["locations"].as_array().unwrap().iter().map(one).collect()
}

/// Frames of modules in a report, each with the key that the truth knows it by.
fn frames(input: &str, extra: &[&str], key: impl Fn(&Value) -> String) -> Vec<(String, Value)> {
    let args: Vec<&str> = [&["symbolicate", "--format", "json", input], &MODULES[..], extra].concat();
    let output = common::run(&args);
    let report = common::json(&output);
    let stacks = report["reports"].as_array().unwrap().iter().flat_map(|report| report["stacks"].as_array().unwrap().clone());
    let frames = stacks.flat_map(|stack| stack["frames"].as_array().unwrap().clone());
    frames.map(|frame| (key(&frame), frame)).collect()
}

fn by_name(frame: &Value) -> String {
    let number = |key: &str| frame[key].as_u64().unwrap_or(0);
    format!(
        "{}+{:#x}/{:#x} [{}]",
        frame["symbol"].as_str().unwrap_or("?"),
        number("offset"),
        number("size"),
        frame["module"].as_str().unwrap_or("")
    )
}

fn score(what: &str, frames: Vec<(String, Value)>, truth: &BTreeMap<String, Vec<String>>, least: usize) {
    let mut seen = BTreeMap::new();
    for (key, frame) in frames {
        if let Some(expected) = truth.get(&key) {
            assert_eq!(&places(&frame), expected, "{what}: {key}: {frame}");
            seen.insert(key, ());
        }
    }
    println!("{what}: {} distinct frames of modules, all at the right lines", seen.len());
    assert!(seen.len() >= least, "{what}: only {} frames were compared", seen.len());
}

#[test]
fn frames_that_print_symbol_and_size() {
    score("oops-many, serial log", frames("truth/linux/oops-many-serial.txt.xz", &[], by_name), &truth("oops-many.truth.tsv", 0), 15);
    score(
        "kslab-hang, /proc stacks",
        frames("truth/linux/kslab-hang-stacks-loop.txt.xz", &[], by_name),
        &truth("kslab-hang.truth.tsv", 0),
        10,
    );
}

/// `kslab_late` was still being loaded: `/proc/modules` says so, and only then its `.init.text` counts.
#[test]
fn bare_addresses_by_section_map() {
    let maps = ["-l", "load-maps/kslab-hang-sections.tar.xz", "-l", "load-maps/kslab-hang-modules"];
    let address = |frame: &Value| frame["address"].as_str().unwrap_or("").to_string();
    let found = frames("truth/linux/kslab-hang-stacks-addr.txt.xz", &maps, address);
    score("kslab-hang, addresses by sections", found, &truth("kslab-hang.truth.tsv", 6), 10);
}

#[test]
fn names_are_told_apart_by_size_or_shown_as_ambiguous() {
    let of = |query: &str| common::stdout(&common::run(&["lookup", query, "-m", "symbols/linux/unit.ko"]));
    assert!(of("twice+0x3/0x20").starts_with("twice+0x3/0x20 [unit] src/first.c:"), "{}", of("twice+0x3/0x20"));
    assert!(of("twice+0x3/0x50").starts_with("twice+0x3/0x50 [unit] src/second.c:"));
    assert!(of("same_size+0x3/0x10").contains("2 symbols are called `same_size`"));
    assert!(of("twice+0x3/0x99").contains("another build?"));
    let log = b"[    1.000000] Call Trace:\n[    1.000000]  same_size+0x3/0x10 [unit]\n[    1.000000]  first_entry+0x10/0x50 [unit]\n";
    let output = common::run_with(&["sym", "-m", "symbols/linux/unit.ko"], log);
    let text = common::stdout(&output);
    assert!(text.contains("same_size+0x3/0x10 [unit] src/first.c:") && text.contains("(ambiguous)\n"), "{text}");
    assert!(text.contains("first_entry+0x10/0x50 [unit] src/first.c:"), "{text}");
    assert!(text.contains("[    1.000000]   innermost src/first.c:5:"), "inlined calls keep the stamp: {text}");
}

#[test]
fn a_module_of_another_build_is_refused_by_the_sizes_it_prints() {
    let log = b"[    1.000000] Call Trace:\n[    1.000000]  tail_caller+0x3/0x99 [unit]\n[    1.000000]  first_entry+0x10/0x98 [unit]\n";
    let output = common::run_with(&["sym", "-m", "symbols/linux/unit.ko"], log);
    assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(1), &log[..]));
    assert!(common::stderr(&output).contains("it is another build; not used"), "{}", common::stderr(&output));
}

#[test]
fn compressed_debug_sections_and_packed_files_give_the_same() {
    let queries = ["first_entry+0x10", "unit_init+0x8", "unlikely_path+0x4", "unit_exit+0x3", "second_entry+0x5"];
    let of = |file: &str| common::stdout(&common::run(&[&["lookup"], &queries[..], &["-m", &format!("unit={file}")]].concat()));
    let plain = of("symbols/linux/unit.ko");
    assert_eq!(plain.matches("src/").count(), 9, "{plain}");
    for file in ["symbols/linux/unit-zlib.ko", "symbols/linux/unit-zstd.ko", "symbols/linux/unit.ko.xz", "symbols/linux/unit.ko.zst"] {
        assert_eq!(of(file), plain, "{file}");
    }
    let folder = common::stdout(&common::run(&["lookup", "unit_init+0x8", "-m", "unit=symbols/linux/unit.ko.xz"]));
    assert!(folder.contains("unit_init+0x8/0x36 [unit]"), "{folder}");
}

#[test]
fn functions_of_powerpc_stand_where_their_descriptors_say() {
    let log = b"[    1.0] Call Trace:\n[c000000049a87530] [c000000049a875a0] .second_entry+0x20/0x7c [unit] (unreliable)\n\
        [c000000049a87710] [c0000000000286fc] .unlikely_path+0x8/0x2c [unit]\n";
    let text = common::stdout(&common::run_with(&["sym", "-m", "unit=symbols/linux/unit-opd.ko"], log));
    assert_eq!(text.matches("src/second.c:").count(), 2, "{text}");
    let found = common::stdout(&common::run(&["lookup", "same_size+0x4", "-m", "unit=symbols/linux/unit-opd.ko"]));
    assert!(found.starts_with("same_size+0x4/0x24 [unit] src/second.c:"), "{found}");
}

/// `file:line` of each level for offsets in one section, from GNU addr2line.
fn addr2line(tool: &str, path: &PathBuf, section: &str, offsets: &[u64]) -> Vec<Vec<String>> {
    let mut child =
        Command::new(tool).args(["-a", "-i", "-j", section, "-e"]).arg(path).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let input: String = offsets.iter().map(|offset| format!("{offset:#x}\n")).collect();
    let mut stdin = child.stdin.take().unwrap();
    let writer = std::thread::spawn(move || stdin.write_all(input.as_bytes()));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    let mut answers: Vec<Vec<String>> = Vec::new();
    for line in String::from_utf8(output.stdout).unwrap().lines() {
        if line.starts_with("0x") {
            answers.push(Vec::new());
        } else {
            let place = line.split(" (discriminator").next().unwrap().rsplit('/').next().unwrap();
            answers.last_mut().unwrap().push(place.to_string());
        }
    }
    answers
}

#[test]
fn every_code_section_of_an_unlinked_module_agrees_with_addr2line() {
    let Some(tool) = common::peer(&["addr2line"]) else { return };
    let mut compared = BTreeMap::new();
    for relative in ["symbols/linux/unit.ko", "symbols/linux/unit-zlib.ko", "symbols/linux/unit-zstd.ko"] {
        let path = common::fixtures().join(relative);
        let file = symbols::open(&path, &mut Vec::new()).unwrap().remove(0);
        for segment in file.info().segments.iter().filter(|segment| segment.executable) {
            let offsets: Vec<u64> = (0..segment.size).collect();
            let probes: Vec<Svma> = offsets.iter().map(|offset| Svma(segment.svma.0 + offset)).collect();
            let ours = file.locate(&probes);
            let theirs = addr2line(&tool, &path, &segment.name, &offsets);
            assert_eq!(ours.len(), theirs.len());
            for ((offset, ours), theirs) in offsets.iter().zip(&ours).zip(&theirs) {
                let place = |l: &kstack::model::frame::Location| {
                    let line = l.line.map_or("?".to_string(), |line| line.to_string());
                    format!("{}:{line}", l.file.as_deref().unwrap_or("??").rsplit('/').next().unwrap())
                };
                let seen: Vec<String> = ours.iter().map(place).collect();
                // Padding between functions belongs to none of them; addr2line then keeps to the line before.
                if seen.is_empty() || theirs[0].starts_with("??") {
                    continue;
                }
                assert_eq!(seen, *theirs, "{relative} {}+{offset:#x}", segment.name);
                *compared.entry(segment.name.clone()).or_insert(0) += 1;
            }
        }
    }
    println!("addr2line -j: equal lines and inlined calls at {compared:?}");
    for section in [".text", ".text.unlikely", ".init.text", ".exit.text"] {
        assert!(compared.get(section).is_some_and(|count| *count > 50), "{section}: {compared:?}");
    }
}

/// Damage in the debug info of one unit costs that unit its lines, and is said; names and the other unit stay.
#[test]
fn damaged_debug_info_of_one_unit_is_said() {
    let mut bytes = std::fs::read(common::fixtures().join("symbols/linux/unit.ko")).unwrap();
    let file = object::File::parse(&bytes[..]).unwrap();
    use object::{Object, ObjectSection};
    let (start, size) = file.section_by_name(".debug_info").unwrap().file_range().unwrap();
    let unit = &bytes[start as usize..(start + size) as usize];
    let second = 4 + u32::from_le_bytes(unit[..4].try_into().unwrap()) as usize;
    // Behind the header and the root entry of the second unit: abbreviation codes that do not exist.
    let spoilt = start as usize + second + 64;
    bytes[spoilt..spoilt + 64].fill(0x7f);
    let path = std::env::temp_dir().join(format!("kstack-damaged-{}.ko", std::process::id()));
    std::fs::write(&path, bytes).unwrap();
    let module = format!("unit={}", path.display());
    let log = b"[    1.000000] Call Trace:\n[    1.000000]  first_entry+0x10/0x50 [unit]\n[    1.000000]  second_entry+0x5/0x11 [unit]\n";
    let output = common::run_with(&["sym", "-m", &module], log);
    std::fs::remove_file(&path).unwrap();
    let (text, said) = (common::stdout(&output), common::stderr(&output));
    assert!(text.contains("first_entry+0x10/0x50 [unit] src/first.c:"), "{text}");
    assert!(text.contains("second_entry+0x5/0x11 [unit]\n"), "{text}");
    assert!(said.contains("1 units of its debug info are damaged") && said.contains("resolved 2 of 2"), "{said}");
}
