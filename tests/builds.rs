//! Names are not handed from one build, image or place to another.

mod common;

use std::path::{Path, PathBuf};

use common::{fixtures, json, run_with};
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
        assert!(
            warnings.contains("unit was loaded in several builds") && warnings.contains(&format!("those of {other} are not")),
            "{warnings}"
        );
        assert!(!warnings.contains("another build:"), "{warnings}");
    }
}

/// `unit.ko` as another build of it: its id is `id`, and its source is called `fresh.c`.
fn rebuilt(folder: &Path, id: &str) -> PathBuf {
    let mut bytes = std::fs::read(fixtures().join("symbols/linux/unit.ko")).unwrap();
    let number = |id: &str| (0..20).map(|at| u8::from_str_radix(&id[2 * at..2 * at + 2], 16).unwrap()).collect::<Vec<u8>>();
    for (from, to) in [(number(OWN), number(id)), (b"first.c\0".to_vec(), b"fresh.c\0".to_vec())] {
        let places: Vec<usize> = bytes.windows(from.len()).enumerate().filter(|(_, window)| *window == from).map(|(at, _)| at).collect();
        assert!(!places.is_empty());
        places.iter().for_each(|at| bytes[*at..at + to.len()].copy_from_slice(&to));
    }
    std::fs::create_dir_all(folder).unwrap();
    std::fs::write(folder.join("unit.ko"), bytes).unwrap();
    folder.join("unit.ko")
}

const OWN: &str = "a0f88c6b36e2731e46159a5fc41890343d621bcf";

/// Both files are at hand: each frame is of the one whose build id it prints, and one without an id of neither.
#[test]
fn a_module_that_was_loaded_in_two_builds_answers_for_both_where_the_log_says_which() {
    let folder = std::env::temp_dir().join(format!("kstack-two-builds-{}", std::process::id()));
    let other = "2222222222222222222222222222222222222222";
    let fresh = rebuilt(&folder.join("fresh"), other).display().to_string();
    let frame = |build: &str| format!("[  100.000000]  first_entry+0x20/0x50 [unit{build}]\n");
    let unknown = "3333333333333333333333333333333333333333";
    let log = |last: &str| {
        let builds = [format!(" {OWN}"), format!(" {other}"), String::new(), last.to_string()];
        format!(
            "[  100.000000] Call Trace:\n[  100.000000]  <TASK>\n{}[  100.000000]  </TASK>\n",
            builds.map(|build| frame(&build)).concat()
        )
    };
    let file =
        |frame: &Value| frame["locations"].as_array().and_then(|at| Some(at.last()?["file"].as_str()?.rsplit('/').next()?.to_string()));
    let both = ["symbols/linux/unit.ko", &fresh];
    let by_folder = ["-m", both[0], "-S", &folder.display().to_string()].map(str::to_string);
    let given = |files: [&str; 2]| ["-m", files[0], "-m", files[1]].map(str::to_string);
    for args in [given(both), given([both[1], both[0]]), by_folder] {
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let (told, warnings) = frames(&log(&format!(" {OWN}")), &args);
        let files: Vec<Option<String>> = told.iter().map(file).collect();
        assert_eq!(files, [Some("first.c".to_string()), Some("fresh.c".to_string()), None, Some("first.c".to_string())], "{warnings}");
        assert!(told[0]["trust"] == "verified" && told[1]["trust"] == "verified" && told[2]["candidates"].as_array().unwrap().len() == 2);
        assert!(warnings.contains("each by its own file") && !warnings.contains("the first given is used"), "{warnings}");
        // A third build of which there is no file.
        let (told, warnings) = frames(&log(&format!(" {unknown}")), &args);
        assert_eq!(told.iter().map(file).collect::<Vec<_>>()[..3], files[..3], "{warnings}");
        assert_eq!(file(&told[3]), None);
        assert!(warnings.contains(&format!("those of {unknown} are not")), "{warnings}");
    }
    std::fs::remove_dir_all(folder).unwrap();
}

/// One file of two: a frame without a build id may be of the other.
#[test]
fn a_frame_without_a_build_id_is_not_the_one_builds_that_is_at_hand() {
    let trace = |build: &str| format!("[  100.000000]  first_entry+0x20/0x50 [unit{build}]\n");
    let log = format!("[  100.000000] Call Trace:\n[  100.000000]  <TASK>\n{}{}", trace(&format!(" {OWN}")), trace(""));
    let (alone, _) = frames(&log, &["-m", "symbols/linux/unit.ko"]);
    assert_eq!(alone[1]["trust"], "verified", "only one build: {}", alone[1]);
    let log = log + &trace(&format!(" {}", "1".repeat(40)));
    let (told, _) = frames(&log, &["-m", "symbols/linux/unit.ko"]);
    assert!(told[0]["trust"] == "verified" && told[2]["trust"] != "verified", "{told:?}");
    assert!(told[1]["trust"] == "unverified" && told[1]["locations"].as_array().unwrap().is_empty(), "{}", told[1]);
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
