//! Call trees of spindump and stacks of kernel debuggers against the tables beside them: every row. The scores are printed
//! (`cargo test --test darwin_listings -- --nocapture`).

mod common;

use std::collections::BTreeMap;
use std::fs;

use common::shared::{by_line, chain, hex, inputs, rows, shared};
use kstack::parse;

/// Right addresses, right names with lines, and all rows.
struct Score {
    addresses: usize,
    names: usize,
    all: usize,
    /// Rows whose name or lines are not the table's.
    wrong: Vec<String>,
    /// Those of them that have another name, not none.
    misnamed: usize,
}

fn score(input: &str, symbols: &[&str]) -> Score {
    let path = inputs().join(input).display().to_string();
    let mut args = vec!["symbolicate", "-q", "--no-demangle", "--format", "json", &path];
    args.extend(symbols);
    let report = common::json(&common::run(&args));
    let stacks = report["reports"][0]["stacks"].as_array().unwrap();
    let frames = by_line(&report["reports"][0]);
    let rows = rows(&inputs().join(format!("{input}.truth.tsv")));
    assert_eq!(frames.len(), rows.len(), "{input}: as many frames as the table has");
    let leaves = rows.iter().filter(|row| row["kind"] == "leaf").count();
    assert!(leaves == 0 || leaves == stacks.len(), "{input}: a stack for each leaf");
    let mut score = Score { addresses: 0, names: 0, all: rows.len(), wrong: Vec::new(), misnamed: 0 };
    for row in &rows {
        let frame = frames[&row["line"].parse().unwrap()];
        let exact = frame["exact"].as_bool().unwrap_or(false);
        score.addresses += usize::from(frame["address"] == *row["addr"] && exact == (row["kind"] == "leaf"));
        let offset = hex(&row["symoff"]);
        let module = frame["module"].as_str().unwrap_or_default();
        let image = module == row["image"] || row["image"] == "__kernel__" && module.contains("kernel") || module == row["uuid"];
        let named = frame["symbol"] == *row["symbol"] && frame["offset"] == offset && image && chain(frame) == row["chain"];
        score.names += usize::from(named);
        score.misnamed += usize::from(!frame["symbol"].is_null() && frame["symbol"] != *row["symbol"]);
        if !named {
            score.wrong.push(format!("line {}: {}+{offset:#x} {} but got {frame}", row["line"], row["symbol"], row["chain"]));
        }
    }
    println!("{input:32} {:5} of {} addresses, {:5} of {} names with lines", score.addresses, score.all, score.names, score.all);
    score
}

/// Input, symbols, and whether all names must be right.
const INPUTS: [(&str, &[&str], bool); 6] = [
    (
        "spindump-10.9.txt",
        &[
            "-k",
            "symbols/darwin/legacy/mach_kernel",
            "-m",
            "symbols/darwin/legacy/spl.kext",
            "-m",
            "symbols/darwin/legacy/zfs.kext",
            "-l",
            "load-maps/kextstat-10.6.txt",
        ],
        true,
    ),
    (
        "spindump-10.13.txt",
        &["-k", "symbols/darwin/modern/kernel", "-m", "symbols/darwin/modern/spl.kext", "-m", "symbols/darwin/modern/zfs.kext"],
        true,
    ),
    ("spindump-26-arm64.txt", &["-k", "symbols/darwin/arm64e/kernel.release.t6000", "-S", "symbols/darwin/arm64e"], true),
    (
        "showallstacks-10.8-gdb.txt",
        &["-k", "symbols/darwin/legacy/mach_kernel", "-m", "symbols/darwin/legacy/spl.kext", "-m", "symbols/darwin/legacy/zfs.kext"],
        true,
    ),
    (
        "showallstacks-12-lldb.txt",
        &["-k", "symbols/darwin/modern/kernel", "-m", "symbols/darwin/modern/spl.kext", "-m", "symbols/darwin/modern/zfs.kext"],
        true,
    ),
    (
        "showallstacks-14-arm64-lldb.txt",
        &[
            "-k",
            "symbols/darwin/arm64e/kernel.release.t6000",
            "-m",
            "symbols/darwin/arm64e/spl.kext",
            "-m",
            "symbols/darwin/arm64e/zfs.kext",
        ],
        true,
    ),
];

#[test]
fn every_row_of_every_table() {
    let mut failures = Vec::new();
    for (input, symbols, all_names) in INPUTS {
        let score = score(input, symbols);
        assert_eq!(score.addresses, score.all, "{input}: addresses and which of them are exact");
        assert_eq!(score.misnamed, 0, "{input}: frames with a wrong name");
        let wrong = score.wrong.first().filter(|_| all_names);
        failures.extend(wrong.map(|first| format!("{input}: {} wrong, first {first}", score.wrong.len())));
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// Without the kexts' own offsets nothing else says where they lie: the frames do, by address without offset.
#[test]
fn frames_place_images_without_a_load_map() {
    let bases = |input: &str| {
        let text = fs::read(inputs().join(input)).unwrap();
        let capture = parse::detect(&text).unwrap().parse(&text);
        let one = |image: &kstack::model::image::ImageClaim| (image.name.clone(), image.load.or(image.exec).map(|at| at.0));
        capture.images.iter().map(one).collect::<BTreeMap<_, _>>()
    };
    let intel = bases("spindump-10.13.txt");
    assert_eq!(intel["kernel"], Some(0xffff_ff80_0020_0000));
    assert_eq!(intel["net.example.spl"], Some(0xffff_ff7f_82a1_1000));
    let arm = bases("spindump-26-arm64.txt");
    assert_eq!(arm["kernel.release.t6000"], Some(0xffff_fe00_0702_c000));
    assert_eq!(arm["net.example.spl"], Some(0xffff_fe00_0703_6500));
    assert_eq!(bases("showallstacks-14-arm64-lldb.txt")["net.example.spl"], Some(0xffff_fe00_187b_1840));
}

/// Every address that a real report prints, in the order of the report, with the names that it prints itself.
#[test]
fn real_reports_are_read_whole() {
    let Some(real) = shared("darwin/real") else { return };
    let truth = rows(&real.join("truth.tsv"));
    for (file, kernel, user) in [
        ("spindump-10.13-corestorage.txt", 10, 0),
        ("spindump-10.9-zpool-user.txt", 0, 6),
        ("sample-10.9-zfs-unmount.txt", 0, 6),
        ("spindump-26.2-arm64-images.txt", 0, 0),
    ] {
        let text = fs::read(real.join(file)).unwrap();
        let format = parse::detect(&text).unwrap();
        assert_eq!(format.id(), "darwin-spindump", "{file}");
        let capture = format.parse(&text);
        let mut seen = BTreeMap::new();
        for frame in capture.stacks.iter().flat_map(|stack| stack.frames.iter().chain(&stack.user_frames)) {
            seen.insert(frame.line, frame);
        }
        let count = |kernel: bool| {
            capture.stacks.iter().map(move |stack| if kernel { &stack.frames } else { &stack.user_frames }).map(|frames| frames.len())
        };
        assert_eq!((count(true).max().unwrap_or(0), count(false).max().unwrap_or(0)), (kernel, user), "{file}");
        for row in truth.iter().filter(|row| row["file"] == file) {
            let frame = seen[&row["line"].parse().unwrap()];
            let said = |span: kstack::model::stack::Span| String::from_utf8_lossy(span.of(&text, frame.line_start)).into_owned();
            assert_eq!(frame.address.unwrap().to_string(), row["addr"], "{file} {row:?}");
            assert_eq!(said(frame.module), row["image"], "{file} {row:?}");
            assert_eq!(said(frame.symbol), if row["symbol"] == "???" { "" } else { &row["symbol"] }, "{file} {row:?}");
            let offset = row["symoff"].strip_prefix("0x").and_then(|digits| u64::from_str_radix(digits, 16).ok());
            assert_eq!(frame.offset, offset, "{file} {row:?}");
        }
        println!("{file:32} {} stacks, {} images", capture.stacks.len(), capture.images.len());
    }
}
