//! One boot has one slide: a log of several, or symbols and load maps of another boot, must not name addresses.

mod common;

use common::{json, run};
use serde_json::Value;

/// A kernel linked at 0xffffffff81000000, of four functions.
const SYSTEM_MAP: &str = "ffffffff81000000 T _text\nffffffff81000100 T one\nffffffff81000200 t two\nffffffff81200100 T far\nffffffff81200200 T farther\nffffffff81201000 T _etext\n";

/// The same as a running kernel lists it, with a module.
fn kallsyms(slide: u64) -> String {
    let moved = |line: &str| format!("{:x}{}\n", u64::from_str_radix(&line[..16], 16).unwrap() + slide, &line[16..]);
    SYSTEM_MAP.lines().map(moved).collect::<String>() + "ffffffffc0401000 t kslab_fn\t[kslab]\n"
}

fn boot(slide: u64) -> String {
    let at = |address: u64| format!("[   10.000000]  [<{:x}>]\n", address + slide);
    format!(
        "[    0.000000] Linux version 6.1.0-56-amd64 (x)\n[   10.000000] Oops: 0002 [#1] PREEMPT SMP NOPTI\n[   10.000000] Call Trace:\n{}{}\
         [   10.000000] Kernel panic - not syncing: Fatal exception\n\
         [   10.000000] Kernel Offset: {slide:#x} from 0xffffffff81000000 (relocation range: 0xffffffff80000000-0xffffffffbfffffff)\n",
        at(0xffff_ffff_8100_0110),
        at(0xffff_ffff_8100_0220)
    )
}

/// The names of all frames, and the warnings, of a log beside these files.
fn names(test: &str, log: &str, files: &[(&str, &str, &str)], more: &[&str]) -> (Vec<String>, String) {
    let folder = std::env::temp_dir().join(format!("kstack-boots-{test}-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let write = |name: &str, text: &str| {
        std::fs::write(folder.join(name), text).unwrap();
        folder.join(name).display().to_string()
    };
    let mut args = vec!["symbolicate".to_string(), "--format".to_string(), "json".to_string(), write("log.txt", log)];
    files.iter().for_each(|(option, name, text)| args.extend([option.to_string(), write(name, text)]));
    args.extend(more.iter().map(|arg| arg.to_string()));
    let report = json(&run(&args.iter().map(String::as_str).collect::<Vec<_>>()));
    std::fs::remove_dir_all(&folder).unwrap();
    let stacks = report["reports"][0]["stacks"].as_array().unwrap();
    let frames = stacks.iter().flat_map(|stack| stack["frames"].as_array().unwrap());
    let name = |frame: &Value| format!("{}+{}", frame["symbol"].as_str().unwrap_or("?"), frame["offset"]);
    (frames.map(name).collect(), report["warnings"].to_string())
}

const RIGHT: [&str; 2] = ["one+16", "two+32"];

#[test]
fn kallsyms_of_another_boot_are_not_believed_against_the_log() {
    let log = boot(0x1580_0000);
    let map = ("-k", "System.map", SYSTEM_MAP);
    let (own, other) = (kallsyms(0x1580_0000), kallsyms(0x1560_0000));
    let (found, warnings) = names("own", &log, &[map, ("-l", "kallsyms", &own)], &[]);
    assert_eq!((found, warnings.contains("boot")), (RIGHT.map(String::from).to_vec(), false));
    let (found, warnings) = names("map", &log, &[map, ("-l", "kallsyms", &other)], &[]);
    assert_eq!(found, RIGHT, "{warnings}");
    assert!(warnings.contains("it is of another boot, and nothing in it is used"), "{warnings}");
    let (found, warnings) = names("live", &log, &[("-k", "kallsyms", &own)], &[]);
    assert_eq!((found, warnings.contains("boot")), (RIGHT.map(String::from).to_vec(), false));
    let (found, warnings) = names("symbols", &log, &[("-k", "kallsyms", &other)], &[]);
    assert_eq!(found, RIGHT, "{warnings}");
    assert!(warnings.contains("is of another boot: _text is at 0xffffffff96600000"), "{warnings}");
}

#[test]
fn a_log_of_two_boots_has_no_one_slide() {
    let map = ("-k", "System.map", SYSTEM_MAP);
    let twice = boot(0x1580_0000) + &boot(0x1580_0000);
    assert_eq!(names("same", &twice, &[map], &[]).0, [RIGHT, RIGHT].concat());
    let both = boot(0x1580_0000) + &boot(0x15a0_0000);
    for files in [vec![map], vec![map, ("-l", "kallsyms", &kallsyms(0x1580_0000))], vec![("-k", "kallsyms", &kallsyms(0x1580_0000))]] {
        let (found, warnings) = names("several", &both, &files, &[]);
        assert!(found.iter().all(|name| name.starts_with("?+")), "{found:?}");
        assert!(warnings.contains("0x15800000 and 0x15a00000") && warnings.contains("split the log"), "{warnings}");
    }
    let (found, _) = names("said", &both, &[map], &["--slide", "0x15800000"]);
    assert_eq!(found[..2], RIGHT);
}
