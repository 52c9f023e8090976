//! Names are not handed from one build, image or place to another.

mod common;

use common::{json, run_with};
use serde_json::Value;

/// The frames of a log, and the warnings.
fn frames(log: &str, args: &[&str]) -> (Vec<Value>, String) {
    let report = json(&run_with(&[&["symbolicate", "--format", "json"], args].concat(), log.as_bytes()));
    let stacks = report["reports"][0]["stacks"].as_array().unwrap();
    (stacks.iter().flat_map(|stack| stack["frames"].as_array().unwrap()).cloned().collect(), report["warnings"].to_string())
}

/// Build, load, crash, build anew, load again: one log, and the frames of one build have no file.
#[test]
fn a_module_that_was_loaded_in_two_builds_answers_for_one() {
    let (own, other) = ("a0f88c6b36e2731e46159a5fc41890343d621bcf", "1111111111111111111111111111111111111111");
    let trace = |at: u32, offset: &str, id: &str| {
        format!(
            "[  {at}.000000] Call Trace:\n[  {at}.000000]  <TASK>\n[  {at}.000000]  first_entry+{offset}/0x50 [unit {id}]\n[  {at}.000000]  </TASK>\n"
        )
    };
    // The same text in both builds is two questions.
    for ids in [[own, other], [other, own]] {
        let log = trace(100, "0x20", ids[0]) + &trace(200, "0x20", ids[1]);
        let (frames, warnings) = frames(&log, &["-m", "symbols/linux/unit.ko"]);
        for (frame, id) in frames.iter().zip(ids) {
            let right = id == own;
            assert_eq!(frame["trust"] == "verified", right, "{frame}");
            assert_eq!(frame["locations"].as_array().is_some_and(|places| !places.is_empty()), right, "{frame}");
        }
        assert!(warnings.contains("unit was loaded in several builds") && warnings.contains("split the log"), "{warnings}");
        assert!(!warnings.contains("another build:"), "{warnings}");
    }
}

/// ddb prints no module: while the kernel's file is missing nobody knows whose function it is.
#[test]
fn a_name_without_a_module_is_not_the_modules_while_the_kernel_is_unknown() {
    let log = "panic: kslab: negative count\ncpuid = 0\ntime = 1700000001\nKDB: stack backtrace:\n\
               kslab_read() at kslab_read+0x9/frame 0xfffffe00b2c3d540\nfork_exit() at fork_exit+0x9/frame 0xfffffe00b2c3d580\nKDB: enter: panic\n";
    let (alone, _) = frames(log, &["-m", "symbols/bsd/kslab.ko"]);
    assert!(alone[0]["module"].is_null() && alone[0]["locations"].as_array().unwrap().is_empty(), "{}", alone[0]);
    assert_eq!(
        (&alone[0]["trust"], alone[0]["candidates"].as_array().map(Vec::len)),
        (&Value::from("unverified"), Some(1)),
        "{}",
        alone[0]
    );
    let (both, _) = frames(log, &["-m", "symbols/bsd/kslab.ko", "-k", "symbols/bsd/kernel"]);
    assert!(both[0]["module"] == "kslab" && !both[0]["locations"].as_array().unwrap().is_empty(), "{}", both[0]);
}

/// Linux 6.4 and later count data in a module's size: another module begins within it.
#[test]
fn a_modules_stated_size_takes_no_address_from_another() {
    let map = std::env::temp_dir().join(format!("kstack-builds-{}", std::process::id()));
    std::fs::write(
        &map,
        "wide 151552 1 unit, Live 0xffffffffc0e7b000\nunit 16384 0 - Live 0xffffffffc0e7d000\nnext 4096 0 - Live 0xffffffffc0e7f000\n",
    )
    .unwrap();
    let log = "[    1.000000] Linux version 6.12.0 (x)\n[   10.000000] Call Trace:\n[   10.000000]  [<ffffffffc0e7d033>]\n\
               [   10.000000]  [<ffffffffc0e7b010>]\n[   10.000000]  [<ffffffffc0e7f010>]\n";
    let (frames, warnings) = frames(log, &["-l", &map.display().to_string(), "-m", "symbols/linux/unit.ko"]);
    std::fs::remove_file(&map).unwrap();
    let modules: Vec<&str> = frames.iter().map(|frame| frame["module"].as_str().unwrap_or("?")).collect();
    assert_eq!(modules, ["unit", "wide", "next"], "{frames:?}");
    assert!(!warnings.contains("overlap"), "{warnings}");
}
