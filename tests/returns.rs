//! A file of another build, or one that a load map puts where it did not lie, must not name frames: return addresses tell.

mod common;

use common::shared::inputs;
use common::{json, run, stdout};
use serde_json::Value;

const RAW: &str = "truth/darwin/stackshot-10.7-raw.txt";

/// `symbolicate --format json` with these arguments.
fn answers(args: &[&str]) -> Value {
    json(&run(&[&["symbolicate", "--format", "json"], args].concat()))
}

/// Every kernel frame that got a name from a symbol file, with its trust.
fn named(report: &Value) -> Vec<(String, String)> {
    let stacks = report["reports"][0]["stacks"].as_array().unwrap();
    let frames = stacks.iter().flat_map(|stack| stack["frames"].as_array().unwrap());
    let text = |frame: &Value, name: &str| frame[name].as_str().unwrap_or_default().to_string();
    frames.filter(|frame| frame["symbol"].is_string()).map(|frame| (text(frame, "symbol"), text(frame, "trust"))).collect()
}

/// Neither the report nor the load map says a UUID: nothing but the code can tell that these are the files of another release.
#[test]
fn the_kernel_and_kexts_of_another_release_name_nothing() {
    let args = |build: &'static str| [RAW, "-l", "load-maps/kextstat-10.6.txt", "-S", build];
    let report = answers(&args("symbols/darwin/modern"));
    assert_eq!(named(&report), [], "all of them would be wrong");
    for image in report["reports"][0]["images"].as_array().unwrap().iter().filter(|image| image["file"].is_string()) {
        assert_eq!(image["status"], "mismatched", "{image}");
        assert!(image["evidence"].to_string().contains("return addresses follow a call"), "{image}");
    }
    assert_eq!(named(&answers(&args("symbols/darwin/legacy"))).len(), 1063, "and the right ones name all");
    let verbose = [&["modules", "-v"], &args("symbols/darwin/legacy")[..]].concat();
    assert!(stdout(&run(&verbose)).contains("calls: 32 of 32 return addresses follow a call"), "{}", stdout(&run(&verbose)));
}

/// A panic of macOS 13 without its list of kexts, beside a list that kmutil printed, changed by `change`: answers and warnings.
fn with_list(test: &str, change: impl Fn(&str) -> String) -> (Vec<(String, String)>, String) {
    let text = std::fs::read_to_string(inputs().join("panic-13-x86.txt")).unwrap();
    let kept: Vec<&str> = text.lines().filter(|line| !["net.example", "IOStorageFamily"].iter().any(|kext| line.contains(kext))).collect();
    let folder = std::env::temp_dir().join(format!("kstack-returns-{test}-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let (panic, list) = (folder.join("panic.txt"), folder.join("kmutil.txt"));
    std::fs::write(&panic, kept.join("\n")).unwrap();
    let map = std::fs::read_to_string(common::fixtures().join("load-maps/kmutil-13-x86-unslid.txt")).unwrap();
    std::fs::write(&list, change(&map)).unwrap();
    let paths = [&panic, &list].map(|path| path.display().to_string());
    let report = answers(&[&paths[0], "-l", &paths[1], "-S", "symbols/darwin/modern"]);
    std::fs::remove_dir_all(&folder).unwrap();
    (named(&report), report["warnings"].to_string())
}

fn count(named: &[(String, String)], symbol: &str) -> usize {
    named.iter().filter(|(name, trust)| name.contains(symbol) && trust == "verified").count()
}

/// The right kext, and a load map that has it one page lower than it lay.
#[test]
fn a_kext_that_a_stale_map_puts_elsewhere_names_nothing() {
    let (right, warnings) = with_list("right", str::to_string);
    assert!(count(&right, "vdev_open") > 0 && !warnings.contains("return addresses"), "{right:?} {warnings}");
    let (stale, warnings) = with_list("page", |map| map.replace("0xffffff7f82b40000", "0xffffff7f82b3f000"));
    assert_eq!(stale.iter().filter(|(name, _)| name.contains("zfs") || name.contains("vdev")).count(), 0, "{stale:?}");
    assert!(count(&stale, "panic") > 0, "the kernel is not to blame: {stale:?}");
    assert!(warnings.contains("net.example.zfs: ") && warnings.contains("it lies elsewhere"), "{warnings}");
}

/// kmutil prints the kernel's UUID for every `com.apple.kpi` kext: a list with another one is of another system.
#[test]
fn a_list_of_another_kernel_places_nothing() {
    let (foreign, warnings) = with_list("kernel", |map| map.replace("41965779-5F84", "22222222-5F84"));
    assert_eq!(foreign.iter().filter(|(name, _)| name.contains("zfs") || name.contains("vdev")).count(), 0, "{foreign:?}");
    assert!(count(&foreign, "panic") > 0 && warnings.contains("nothing in it is used"), "{warnings}");
}

/// Of two lists the second puts another build of a kext where this one never lay.
#[test]
fn the_address_of_another_build_places_nothing() {
    let (named, warnings) = with_list("build", |map| {
        let first = map.replace("0xffffff7f82b40000", "0                 ");
        first.clone()
            + &map.lines().last().unwrap().replace("51665BB2", "33333333").replace("0xffffff7f82b40000", "0xffffff7f82b3f000")
            + "\n"
    });
    assert_eq!(named.iter().filter(|(name, _)| name.contains("zfs") || name.contains("vdev")).count(), 0, "{named:?}");
    assert!(warnings.contains("has UUID 51665BB2") && !warnings.contains("return addresses"), "{warnings}");
}

/// Panics of arm64 state where a kext's `__TEXT_EXEC` lies, and that alone: a list that says otherwise is of another boot.
#[test]
fn an_exec_address_that_contradicts_the_report_makes_a_list_foreign() {
    let list = std::fs::read_to_string(common::fixtures().join("load-maps/lldb-showallkexts-14-arm64.txt")).unwrap();
    let path = std::env::temp_dir().join(format!("kstack-returns-exec-{}.txt", std::process::id()));
    std::fs::write(&path, list.replace("0xfffffe00187d2d80", "0xfffffe00187d6d80")).unwrap();
    let panic = inputs().join("panic-14-arm64-aux.txt").display().to_string();
    let report = answers(&[&panic, "-l", &path.display().to_string(), "-S", "symbols/darwin/arm64e"]);
    std::fs::remove_file(&path).unwrap();
    let warnings = report["warnings"].to_string();
    assert!(warnings.contains("__TEXT_EXEC of net.example.zfs") && warnings.contains("another boot"), "{warnings}");
    assert!(count(&named(&report), "zfs") > 0, "the report's own address is right: {:?}", named(&report));
}

/// A UUID that only the file has is not said by the report: a program that compares the two would take it for a proof.
#[test]
fn the_files_uuid_is_not_shown_as_the_reports() {
    let args = [RAW, "-l", "load-maps/kextstat-10.6.txt", "-S", "symbols/darwin/legacy"];
    let report = json(&run(&[&["modules", "--format", "json"], &args[..]].concat()));
    let zfs = report["reports"][0]["images"].as_array().unwrap().iter().find(|image| image["name"] == "net.example.zfs").unwrap();
    assert_eq!((&zfs["uuid"], &zfs["file_uuid"]), (&Value::Null, &Value::from("4ABD0F9A-6241-304C-BF64-0779C5CCAA54")));
    let table = stdout(&run(&[&["modules"], &args[..]].concat()));
    assert!(table.contains("- (file: 4ABD0F9A-6241-304C-BF64-0779C5CCAA54)"), "{table}");
}
