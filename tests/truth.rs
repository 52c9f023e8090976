//! Ground truth: every frame of the generated captures against tables that llvm-symbolizer and lldb agreed on. The scores are
//! printed (`cargo test --test truth -- --nocapture`).

mod common;

use common::shared::{by_line, chain, hex, rows};

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
    let frames = by_line(&report["reports"][0]);
    let rows = rows(&common::fixtures().join("truth/darwin").join(truth));
    assert_eq!(frames.len(), rows.len(), "{input}: as many frames as the truth has");
    let mut wrong = Vec::new();
    let mut right = 0;
    for row in &rows {
        let frame = frames[&row["line"].parse().unwrap()];
        let module = frame["module"].as_str().unwrap_or_default();
        let image = module == row["image"] || (row["image"] == "__kernel__" && module == "mach_kernel");
        let named = frame["symbol"] == row["symbol"] && frame["offset"] == hex(&row["symoff"]) && image && frame["address"] == row["addr"];
        let unnamed = frame["symbol"].is_null() && frame["trust"] == "unresolved";
        right += usize::from(named);
        let fine = match want {
            Want::All => named && chain(frame) == row["chain"],
            Want::NoWrongName => named || unnamed,
        };
        if !fine {
            wrong.push(format!("{row:?} but got {frame}"));
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
