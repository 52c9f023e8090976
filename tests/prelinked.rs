//! Prelinked kernelcaches: the kernel and its kexts in one file name every frame, and only those of a report that they belong to.

mod common;

use std::fs;

use common::folder::Folder;
use common::prelinked::{KEXTS, Plist, cache};
use common::shared::{Row, frames, inputs, rows};
use serde_json::Value;

const FORMS: [Plist; 2] = [Plist::Plain, Plist::Serialized];

fn report(args: &[&str]) -> (Value, String) {
    let output = common::run(&[&["symbolicate", "--no-demangle", "--format", "json"], args].concat());
    (common::json(&output)["reports"][0].clone(), common::stderr(&output))
}

/// Rows of the truth that come out with image, symbol and offset, and the first that does not.
fn score(report: &Value, rows: &[Row]) -> (usize, Option<String>) {
    let by_line = |row: &Row| {
        frames(report)
            .into_iter()
            .find(|frame| frame["line"].as_u64() == row["line"].parse().ok() && frame["address"] == row["addr"])
            .cloned()
    };
    let is_right = |row: &&Row| {
        let Some(frame) = by_line(row) else { return false };
        let kernel = matches!(frame["module"].as_str(), Some("kernel" | "mach_kernel"));
        let image = if row["image"] == "__kernel__" { kernel } else { frame["module"] == row["image"] };
        image && frame["symbol"] == row["symbol"] && format!("{:#x}", frame["offset"].as_u64().unwrap_or(u64::MAX)) == row["symoff"]
    };
    let wrong = rows.iter().find(|row| !is_right(row)).map(|row| format!("{row:?} but got {:?}", by_line(row)));
    (rows.iter().filter(is_right).count(), wrong)
}

#[test]
fn every_frame_of_a_stackshot_is_named_by_the_cache_alone() {
    let folder = Folder::new("prelinked-stackshots");
    for form in FORMS {
        let path = folder.write("kernelcache", cache(form));
        for (input, truth) in [("10.7-raw", "10.7"), ("10.9-raw-unslid", "10.9")] {
            let (report, said) = report(&["-k", &path, &format!("truth/darwin/stackshot-{input}.txt")]);
            let rows = rows(&common::fixtures().join(format!("truth/darwin/stackshot-{truth}.truth.tsv")));
            let (right, wrong) = score(&report, &rows);
            println!("{input} {form:?}: {right} of {} rows", rows.len());
            assert!(right == rows.len() && right > 500, "{input} {form:?}: {wrong:?}\n{said}");
            assert!(!said.contains("kexts"), "nothing is left to warn of: {said}");
        }
    }
}

/// The generated panics, slid and not, with nothing but the cache.
#[test]
fn panics_of_slid_kernels_are_named_by_the_cache_alone() {
    let folder = Folder::new("prelinked-panics");
    let path = folder.write("kernelcache", cache(Plist::Serialized));
    let mut tried = 0;
    for entry in fs::read_dir(inputs()).unwrap() {
        let truth = entry.unwrap().path();
        let name = truth.file_name().unwrap().to_string_lossy().into_owned();
        let Some(input) = name.strip_suffix(".truth.tsv").filter(|name| name.starts_with("panic-")) else { continue };
        let rows = rows(&truth);
        if !rows.iter().all(|row| row["file"].starts_with("a/legacy/")) {
            continue;
        }
        let (report, said) = report(&["-k", &path, inputs().join(input).to_str().unwrap()]);
        let (right, wrong) = score(&report, &rows);
        println!("{input}: {right} of {} rows, slide {}", rows.len(), report["slide"]);
        assert_eq!(right, rows.len(), "{input}: {wrong:?}\n{said}");
        tried += 1;
    }
    assert!(tried > 1, "there are panics of the legacy build");
}

/// By name in a symbol folder, where the panic has no UUIDs; and with lines once there are dSYMs.
#[test]
fn a_cache_serves_in_a_symbol_folder_and_beside_dsyms() {
    let folder = Folder::new("prelinked-folder");
    let path = folder.write("a/kernelcache", cache(Plist::Plain));
    let input = "darwin-panic/fault/input.txt";
    let l = "symbols/darwin/legacy";
    let apart = report(&["-k", &format!("{l}/mach_kernel"), "-m", &format!("{l}/spl.kext"), "-m", &format!("{l}/zfs.kext"), input]).0;
    let named = |report: &Value, lines: bool| -> Vec<String> {
        let one = |frame: &&Value| {
            let locations = if lines { frame["locations"].to_string() } else { String::new() };
            format!("{} {}+{} {locations}", frame["address"], frame["symbol"], frame["offset"])
        };
        frames(report).iter().map(one).collect()
    };
    let (found, said) = report(&["-S", &folder.path("a"), input]);
    assert_eq!(named(&found, false), named(&apart, false), "{said}");
    let (lines, said) = report(&["-k", &path, "-S", l, input]);
    assert_eq!(named(&lines, true), named(&apart, true), "{said}");
    assert!(named(&apart, true).iter().any(|frame| frame.contains("vdev.c")), "there are lines at all");
}

#[test]
fn the_address_of_the_kernel_places_its_kexts() {
    let folder = Folder::new("prelinked-lookup");
    let path = folder.write("kernelcache", cache(Plist::Serialized));
    let unslid = common::stdout(&common::run(&["lookup", "-k", &path, "--slide", "0", "0xffffff7f80efb88c", "0xffffff8000202c78"]));
    assert!(
        unslid.contains("zio_done (in net.example.zfs) + 140") && unslid.contains("machine_switch_context (in kernel) + 24"),
        "{unslid}"
    );
    #[cfg(feature = "lzfse")]
    {
        let mut packed = Vec::new();
        lzfse_rust::encode_bytes(&cache(Plist::Plain), &mut packed).unwrap();
        let packed = folder.write("kernelcache.lzfse", packed);
        let answer = common::stdout(&common::run(&["lookup", "-k", &packed, "--slide", "0", "0xffffff7f80efb88c"]));
        assert!(answer.contains("zio_done (in net.example.zfs) + 140"), "{answer}");
    }
    let slid = common::stdout(&common::run(&["lookup", "-k", &format!("{path}@0xffffff8005c00000"), "0xffffff7f868fb88c"]));
    assert!(slid.contains("zio_done (in net.example.zfs) + 140"), "{slid}");
}

/// The kexts of a cache belong to its kernel; where another one ran, only a UUID speaks for them.
#[test]
fn kexts_of_another_kernels_cache_name_nothing() {
    let folder = Folder::new("prelinked-other");
    let path = folder.write("kernelcache", cache(Plist::Serialized));
    let (report, said) =
        report(&["-k", "symbols/darwin/modern/kernel", "-m", &path, "truth/darwin/stackshot-10.7-raw.txt", "--slide", "0"]);
    assert!(frames(&report).iter().all(|frame| !KEXTS.iter().any(|(name, _)| frame["module"] == *name)), "{said}");
    let text = fs::read_to_string(common::fixtures().join("darwin-panic/fault/input.txt")).unwrap();
    // Everywhere, and in one of the two lines that state it.
    for (old, said_so) in
        [("0xffffff7f80ef6000", "the kernelcache has it at 0xffffff7f80ef6000"), ("@0xffffff7f80ef6000", "it is not placed")]
    {
        let moved = folder.write("moved.txt", text.replace(old, &old.replace("f6000", "f7000")));
        let (report, said) = self::report(&["-k", &path, &moved]);
        assert!(frames(&report).iter().all(|frame| frame["module"] != "net.example.zfs" || frame["symbol"].is_null()), "{said}");
        assert!(said.contains(said_so), "{said}");
        assert!(frames(&report).iter().any(|frame| frame["symbol"].is_string()), "the kernel's are named: {said}");
    }
}

#[test]
fn kexts_that_cannot_be_read_are_counted() {
    let folder = Folder::new("prelinked-damaged");
    let with = |old: &str, new: &str| {
        let mut bytes = cache(Plist::Serialized);
        let at = bytes.windows(old.len()).position(|part| part == old.as_bytes()).unwrap_or_else(|| panic!("{old} is in it"));
        bytes[at..at + old.len()].copy_from_slice(new.as_bytes());
        report(&["-k", &folder.write("kernelcache", bytes), "truth/darwin/stackshot-10.7-raw.txt"])
    };
    let count =
        |report: &Value, name: &str| frames(report).iter().filter(|frame| frame["module"] == name && frame["symbol"].is_string()).count();
    for (old, new) in [("0xffffff7f80ef6000", "0xffffff7f80ef6010"), ("0x9578<", "0xf578<"), ("0x9578<", "0xzz78<")] {
        let (report, said) = with(old, new);
        assert_eq!(said.matches("1 of the 2 kexts of this prelinked kernelcache cannot be read").count(), 1, "{old} to {new}: {said}");
        assert!(count(&report, KEXTS[0].0) > 0 && count(&report, KEXTS[1].0) == 0, "{old} to {new}");
    }
    let (report, said) = with("__info", "__none");
    assert!(said.contains("does not say where its kexts are") && count(&report, KEXTS[0].0) == 0, "{said}");
    assert!(frames(&report).iter().any(|frame| frame["symbol"].is_string()), "the kernel's are named");
}
