//! Ground truth: every frame of the generated captures against tables that llvm-symbolizer and lldb agreed on. The scores are
//! printed (`cargo test --test truth -- --nocapture`).

mod common;

use std::collections::BTreeMap;
use std::fs;

use serde_json::Value;

/// One row of a truth table.
struct Row {
    line: u64,
    address: String,
    image: String,
    symbol: String,
    offset: u64,
    chain: String,
}

fn rows(name: &str) -> Vec<Row> {
    let text = fs::read_to_string(common::fixtures().join("truth/darwin").join(name)).unwrap();
    let mut lines = text.lines();
    let head: Vec<&str> = lines.next().unwrap().split('\t').collect();
    let column = |name: &str| head.iter().position(|column| *column == name).unwrap();
    let [line, address, image, symbol, offset, chain] = ["line", "addr", "image", "symbol", "symoff", "chain"].map(column);
    let row = |text: &str| {
        let cells: Vec<&str> = text.split('\t').collect();
        Row {
            line: cells[line].parse().unwrap(),
            address: cells[address].into(),
            image: cells[image].into(),
            symbol: cells[symbol].into(),
            offset: u64::from_str_radix(&cells[offset][2..], 16).unwrap(),
            chain: cells[chain].into(),
        }
    };
    lines.map(row).collect()
}

/// `inner@file:line < outer@file:line`, as the tables have it.
fn chain(frame: &Value) -> String {
    let one = |location: &Value| {
        let file = location["file"].as_str().unwrap_or_default();
        format!("{}@{}:{}", location["function"].as_str().unwrap_or("?"), file.rsplit('/').next().unwrap(), location["line"])
    };
    frame["locations"].as_array().unwrap().iter().map(one).collect::<Vec<_>>().join(" < ")
}

/// What a run must get right.
#[derive(Clone, Copy, PartialEq)]
enum Want {
    /// Image, symbol, offset, inlined calls, file and line of every frame.
    All,
    /// Symbols without source lines; a frame may stay unnamed, but no name may be wrong.
    NoWrongName,
}

fn score(input: &str, truth: &str, args: &[&str], want: Want) -> (usize, usize, Vec<String>) {
    let input = format!("truth/darwin/{input}.txt");
    let all: Vec<&str> = [&["symbolicate", "--no-demangle", "--format", "json", &input], args].concat();
    let report = common::json(&common::run(&all));
    let frames: BTreeMap<u64, &Value> = report["reports"][0]["stacks"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|stack| stack["frames"].as_array().unwrap())
        .map(|frame| (frame["line"].as_u64().unwrap(), frame))
        .collect();
    let rows = rows(truth);
    assert_eq!(frames.len(), rows.len(), "{input}: as many frames as the truth has");
    let mut wrong = Vec::new();
    let mut right = 0;
    for row in &rows {
        let frame = frames[&row.line];
        let module = frame["module"].as_str().unwrap_or_default();
        let image = module == row.image || (row.image == "__kernel__" && module == "mach_kernel");
        let named = frame["symbol"] == *row.symbol && frame["offset"] == row.offset && image && frame["address"] == *row.address;
        let unnamed = frame["symbol"].is_null() && frame["trust"] == "unresolved";
        right += usize::from(named);
        let fine = match want {
            Want::All => named && chain(frame) == row.chain,
            Want::NoWrongName => named || unnamed,
        };
        if !fine {
            wrong.push(format!("line {}: {}+{:#x} {} but got {frame}", row.line, row.symbol, row.offset, row.chain));
        }
    }
    (right, rows.len(), wrong)
}

const CAPTURES: [(&str, &str); 4] = [
    ("stackshot-10.7-raw", "stackshot-10.7.truth.tsv"),
    ("stackshot-10.7-kernelsyms", "stackshot-10.7.truth.tsv"),
    ("stackshot-10.7-onekext", "stackshot-10.7.truth.tsv"),
    ("stackshot-10.9-raw-unslid", "stackshot-10.9.truth.tsv"),
];

/// The ways of giving the same symbols and addresses.
const WAYS: [(&str, &[&str], Want); 9] = [
    ("kexts + kextstat", &["-k", "L/mach_kernel", "-m", "L/spl.kext", "-m", "L/zfs.kext", "-l", "load-maps/kextstat-10.6.txt"], Want::All),
    (
        "kexts @ADDR",
        &[
            "-k",
            "L/mach_kernel",
            "-m",
            "L/spl.kext@0xffffff7f80e4f000",
            "-m",
            "net.example.zfs=L/zfs.kext/Contents/MacOS/zfs@ffffff7f80ef6000",
        ],
        Want::All,
    ),
    (
        "dSYMs + kextstat",
        &["-k", "L/mach_kernel.dSYM", "-m", "L/spl.kext.dSYM", "-m", "L/zfs.kext.dSYM", "-l", "load-maps/kextstat-10.6.txt"],
        Want::All,
    ),
    (
        "stripped + folder with dSYMs",
        &[
            "-k",
            "L/stripped/mach_kernel",
            "-m",
            "L/stripped/spl.kext",
            "-m",
            "L/stripped/zfs.kext",
            "-l",
            "load-maps/kextstat-10.6.txt",
            "-S",
            "L",
        ],
        Want::All,
    ),
    ("folder + kextstat", &["-S", "L", "-l", "load-maps/kextstat-10.6.txt"], Want::All),
    (
        "kextutil .sym + folder with dSYMs",
        &["-k", "L/mach_kernel", "-m", "symbols/darwin/sym/net.example.spl.sym", "-m", "symbols/darwin/sym/net.example.zfs.sym", "-S", "L"],
        Want::All,
    ),
    (
        "gdb showallkmods, slide given",
        &[
            "-k",
            "L/mach_kernel",
            "-m",
            "L/spl.kext",
            "-m",
            "L/zfs.kext",
            "-l",
            "load-maps/gdb-showallkmods-10.8.txt",
            "--slide",
            "0x5a00000",
        ],
        Want::All,
    ),
    (
        "lldb showallkexts, slide inferred",
        &["-k", "L/mach_kernel", "-m", "L/spl.kext", "-m", "L/zfs.kext", "-l", "load-maps/lldb-showallkexts-10.9.txt"],
        Want::All,
    ),
    (
        "stripped, no dSYM",
        &["-k", "L/stripped/mach_kernel", "-m", "L/stripped/spl.kext", "-m", "L/stripped/zfs.kext", "-l", "load-maps/kextstat-10.6.txt"],
        Want::NoWrongName,
    ),
];

#[test]
fn every_frame_of_every_stackshot_in_every_way() {
    let mut failures = Vec::new();
    for (input, truth) in CAPTURES {
        for (way, args, want) in WAYS {
            let args: Vec<String> = args.iter().map(|arg| arg.replacen("L/", "symbols/darwin/legacy/", 1)).collect();
            let args: Vec<&str> = args.iter().map(|arg| if *arg == "L" { "symbols/darwin/legacy" } else { arg }).collect();
            let (right, all, wrong) = score(input, truth, &args, want);
            println!("{input:28} {way:36} {right:5} of {all} named right, {} wrong", wrong.len());
            failures.extend(wrong.first().map(|first| format!("{input}, {way}: {} wrong, first {first}", wrong.len())));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// Names that a half-resolved log got from a stripped file's nearest symbol are put right, and nothing else is needed for it.
#[test]
fn frames_that_name_symbol_and_address_place_their_kext() {
    let args = ["-m", "symbols/darwin/legacy/spl.kext", "-k", "symbols/darwin/legacy/mach_kernel"];
    let (right, _, _) = score("stackshot-10.7-onekext", "stackshot-10.7.truth.tsv", &args, Want::NoWrongName);
    assert_eq!(right, 927, "the kernel's frames and spl's; zfs has no file here");
}
