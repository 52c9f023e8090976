//! Debug info that lies in other files: split DWARF and supplementary files, against what llvm-symbolizer says of the same code with its
//! debug info in one piece (`fixtures/symbols/split/build.sh`).

mod common;

use std::path::{Path, PathBuf};
use std::process::Command;

use common::{fixtures, json, kstack, peer, stderr, stdout};

/// A folder of its own for a test, empty.
fn scratch(test: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("kstack-parts-{test}-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

fn split(path: &str) -> PathBuf {
    fixtures().join("symbols/split").join(path)
}

fn copy(from: &str, to: PathBuf) {
    std::fs::create_dir_all(to.parent().unwrap()).unwrap();
    std::fs::copy(split(from), to).unwrap();
}

/// An address, and a function and a place for each level of inlining.
type Row = (String, Vec<String>);

fn truth(case: &str) -> Vec<Row> {
    let text = std::fs::read_to_string(split(case).join("truth.tsv")).unwrap();
    let row = |line: &str| {
        let mut words = line.split('\t').map(str::to_string);
        (words.next().unwrap(), words.collect())
    };
    text.lines().map(row).collect()
}

/// What kstack says of the truth's addresses, with what it complains of.
fn told(kernel: &Path, truth: &[Row], options: &[&str]) -> (Vec<Row>, String) {
    let kernel = kernel.display().to_string();
    let mut arguments = vec!["lookup", "--format", "json", "-k", &kernel];
    arguments.extend(options);
    arguments.extend(truth.iter().map(|(address, _)| address.as_str()));
    let output = kstack(&arguments).output().unwrap();
    let value = json(&output);
    let number = |value: &serde_json::Value| value.as_u64().unwrap_or(0);
    let level = |level: &serde_json::Value| {
        let place = format!("{}:{}:{}", level["file"].as_str().unwrap_or("?"), number(&level["line"]), number(&level["column"]));
        let mark = if level["incomplete"] == true { " incomplete" } else { "" };
        [level["function"].as_str().unwrap_or("?").to_string(), place + mark]
    };
    let row = |((address, _), result): (&Row, &serde_json::Value)| {
        (address.clone(), result["frames"][0]["locations"].as_array().unwrap().iter().flat_map(level).collect())
    };
    (truth.iter().zip(value["results"].as_array().unwrap()).map(row).collect(), stderr(&output))
}

#[track_caller]
fn agrees(kernel: &Path, case: &str, options: &[&str]) {
    let truth = truth(case);
    let (told, complaints) = told(kernel, &truth, options);
    let same = told.iter().zip(&truth).filter(|(one, other)| one == other).count();
    println!("{case}: {same} of {} addresses, all levels of inlining", truth.len());
    assert!(truth.len() > 20 && truth.iter().any(|(_, levels)| levels.len() > 4), "the truth says something");
    assert_eq!(told, truth, "{complaints}");
    assert!(!complaints.contains("missing"), "{complaints}");
}

const SPLIT: [&str; 4] = ["gcc-4", "gcc-5", "clang-4", "clang-5"];
const DWZ: [&str; 2] = ["dwz-4", "dwz-5"];

#[test]
fn split_dwarf_beside_the_file_tells_every_level() {
    SPLIT.iter().for_each(|case| agrees(&split(case).join("vmlinux"), case, &[]));
}

#[test]
fn a_package_beside_the_file_tells_every_level() {
    for case in ["gcc-4", "clang-4", "clang-5"] {
        let folder = scratch(&format!("package-{case}"));
        copy(&format!("{case}/vmlinux"), folder.join("vmlinux"));
        copy(&format!("{case}/packed"), folder.join("vmlinux.dwp"));
        agrees(&folder.join("vmlinux"), case, &[]);
    }
}

/// gcc's DWARF 5 in a package; the other unit is in a file of its own.
#[test]
fn a_package_of_some_units_beside_the_files_of_others_tells_every_level() {
    let folder = scratch("package-gcc-5");
    copy("gcc-5/vmlinux", folder.join("vmlinux"));
    copy("gcc-5/packed-two", folder.join("vmlinux.dwp"));
    let (_, complaints) = told(&folder.join("vmlinux"), &truth("gcc-5"), &[]);
    assert!(complaints.contains("1 of its split DWARF files are missing") && complaints.contains("/split/one.dwo"), "{complaints}");
    copy("gcc-5/one.dwo", folder.join("one.dwo"));
    agrees(&folder.join("vmlinux"), "gcc-5", &[]);
}

#[test]
fn split_dwarf_is_found_in_symbol_folders_and_where_sources_are_mapped_to() {
    let folder = scratch("folders");
    copy("gcc-5/vmlinux", folder.join("boot/vmlinux"));
    // The same names of another build come first; their ids say that they are not meant.
    for unit in ["one.dwo", "two.dwo"] {
        copy(&format!("clang-5/{unit}"), folder.join("parts/a").join(unit));
        copy(&format!("gcc-5/{unit}"), folder.join("parts/b").join(unit));
        copy(&format!("gcc-5/{unit}"), folder.join("tree").join(unit));
    }
    let kernel = folder.join("boot/vmlinux");
    agrees(&kernel, "gcc-5", &["-S", &folder.join("parts").display().to_string()]);
    agrees(&kernel, "gcc-5", &["--source-map", &format!("/split={}", folder.join("tree").display())]);
}

#[test]
fn without_its_parts_lines_are_marked_and_inlined_calls_are_not_made_up() {
    let folder = scratch("missing");
    for case in SPLIT {
        let kernel = folder.join(case);
        copy(&format!("{case}/vmlinux"), kernel.clone());
        let truth = truth(case);
        let (told, complaints) = told(&kernel, &truth, &[]);
        for ((_, told), (address, truth)) in told.iter().zip(&truth) {
            let owner = &truth[truth.len() - 2];
            let line = |place: &str| place.rsplit('/').next().unwrap().to_string();
            // The innermost line, in the function that contains it, and said to be that.
            assert_eq!((told.len(), &told[0], line(&told[1])), (2, owner, line(&truth[1]) + " incomplete"), "{case} {address}");
        }
        let named = ["/split/one.dwo", "/split/two.dwo"].iter().any(|path| complaints.contains(path));
        assert!(complaints.contains("2 of its split DWARF files are missing") && named, "{complaints}");
        let text = kstack(&["lookup", "-k", &kernel.display().to_string(), &truth[3].0]).output().unwrap();
        assert!(stdout(&text).contains("(inlined calls missing)"), "{}", stdout(&text));
    }
}

#[test]
fn a_part_of_another_build_is_refused_with_words() {
    let folder = scratch("other");
    copy("gcc-5/vmlinux", folder.join("vmlinux"));
    copy("clang-5/one.dwo", folder.join("one.dwo"));
    copy("clang-5/packed", folder.join("vmlinux.dwp"));
    std::fs::write(folder.join("two.dwo"), b"\x7fELF and no more").unwrap();
    let (told, complaints) = told(&folder.join("vmlinux"), &truth("gcc-5"), &[]);
    assert!(told.iter().all(|(_, levels)| levels[1].ends_with("incomplete")), "{told:?}");
    assert!(complaints.contains("it is of another build; not used"), "{complaints}");
    let check = stdout(
        &kstack(&["modules", "--check", "-k", &folder.join("vmlinux").display().to_string(), "-l", &map(&folder)]).output().unwrap(),
    );
    assert!(check.contains("2 of its split DWARF files are missing") && check.contains("dwp -e FILE"), "{check}");
}

/// A load map, which `modules` wants.
fn map(folder: &Path) -> String {
    let path = folder.join("kallsyms");
    let text = "ffffffff80201000 T _text\nffffffff80201000 T first_step\nffffffff80201080 t other\t[other]\n";
    std::fs::write(&path, text).unwrap();
    path.display().to_string()
}

#[test]
fn a_fifo_in_the_place_of_a_part_holds_nothing_up() {
    let folder = scratch("fifo");
    copy("gcc-4/vmlinux", folder.join("vmlinux"));
    for name in ["one.dwo", "vmlinux.dwp"] {
        assert!(Command::new("mkfifo").arg(folder.join(name)).status().unwrap().success());
    }
    let (told, _) = told(&folder.join("vmlinux"), &truth("gcc-4"), &[]);
    assert!(told.iter().all(|(_, levels)| levels[1].ends_with("incomplete")), "{told:?}");
}

#[test]
fn a_supplementary_file_gives_the_names_that_dwz_took_out() {
    DWZ.iter().for_each(|case| agrees(&split(case).join("vmlinux-one"), case, &[]));
    // By build id, as debug packages and symbol folders have it. DWARF 5 calls it a checksum.
    for case in DWZ {
        let folder = scratch(&format!("by-id-{case}"));
        copy(&format!("{case}/vmlinux-one"), folder.join("boot/vmlinux"));
        let (_, complaints) = told(&folder.join("boot/vmlinux"), &truth(case), &[]);
        let id = complaints.split("(build id ").nth(1).and_then(|rest| rest.split(')').next()).unwrap().to_string();
        let place = format!(".build-id/{}/{}.debug", &id[..2], &id[2..]);
        copy(&format!("{case}/shared.debug"), folder.join("symbols").join(&place));
        agrees(&folder.join("boot/vmlinux"), case, &["-S", &folder.join("symbols").display().to_string()]);
        copy(&format!("{case}/shared.debug"), folder.join("root/usr/lib/debug").join(&place));
        let root = folder.join("root").display().to_string();
        let kernel = folder.join("boot/vmlinux").display().to_string();
        let local = kstack(&["lookup", "-k", &kernel, "--local-root", &root, &truth(case)[1].0]).env_remove("KSTACK_NO_LOCAL").output();
        assert!(stdout(&local.unwrap()).contains("item_key_of_neighbour"));
        // What debuginfod's client has.
        let cached = folder.join("cache").join(&id).join("debuginfo");
        copy(&format!("{case}/shared.debug"), cached);
        let cache = folder.join("cache").display().to_string();
        let found = kstack(&["lookup", "-k", &kernel, &truth(case)[1].0]).env("DEBUGINFOD_CACHE_PATH", cache).output().unwrap();
        assert!(stdout(&found).contains("item_key_of_neighbour"), "{}{}", stdout(&found), stderr(&found));
    }
}

#[test]
fn without_its_supplementary_file_names_are_missing_and_said_to_be() {
    for case in DWZ {
        let folder = scratch(&format!("no-sup-{case}"));
        let kernel = folder.join("vmlinux");
        copy(&format!("{case}/vmlinux-one"), kernel.clone());
        let truth = truth(case);
        for attempt in ["nothing", "another build"] {
            let (told, complaints) = told(&kernel, &truth, &[]);
            for ((_, told), (address, truth)) in told.iter().zip(&truth) {
                assert_eq!(told.len(), truth.len(), "{address}");
                let named = told.iter().step_by(2).zip(truth.iter().step_by(2));
                named.for_each(|(told, truth)| assert!(told == truth || told == "?", "{address}: {told} for {truth}"));
            }
            assert!(told.iter().any(|(_, levels)| levels[0] == "?"), "the names are in the other file");
            assert!(complaints.contains("shared.debug") && complaints.contains("looked for"), "{attempt}: {complaints}");
            assert_eq!(complaints.contains("it is of another build; not used"), attempt != "nothing", "{complaints}");
            let check = kstack(&["modules", "--check", "-k", &kernel.display().to_string(), "-l", &map(&folder)]).output().unwrap();
            let check = stdout(&check);
            assert!(check.contains("its supplementary debug file is missing") && check.contains("debuginfod-find debuginfo"), "{check}");
            let other = if case == "dwz-4" { "dwz-5" } else { "dwz-4" };
            copy(&format!("{other}/shared.debug"), folder.join("shared.debug"));
        }
    }
}

#[test]
fn the_truth_is_still_what_llvm_symbolizer_says_of_a_package() {
    let Some(peer) = peer(&["llvm-symbolizer-14", "llvm-symbolizer"]) else { return };
    // Of clang's, version 14 leaves out inlined calls with several ranges; gdb does not, and is asked below.
    let folder = scratch("llvm");
    copy("gcc-4/vmlinux", folder.join("vmlinux"));
    copy("gcc-4/packed", folder.join("vmlinux.dwp"));
    let kernel = format!("--obj={}", folder.join("vmlinux").display());
    for (address, levels) in truth("gcc-4") {
        let output = Command::new(&peer).args([&kernel, "--inlines", &address]).output().unwrap();
        let said = stdout(&output);
        let said: Vec<&str> = said.lines().filter(|line| !line.is_empty()).collect();
        assert_eq!(said, levels, "{address}");
    }
}

/// Prints the functions of the blocks around each address.
const BLOCKS: &str = "python
for address in open('addresses'):
    block, names = gdb.block_for_pc(int(address, 16)), []
    while block:
        names += [str(block.function)] if block.function else []
        block = block.superblock
    print('told', *names)
";

#[test]
fn gdb_sees_the_same_levels_in_the_split_files() {
    let Some(peer) = peer(&["gdb"]) else { return };
    for case in SPLIT {
        let folder = scratch(&format!("gdb-{case}"));
        ["vmlinux", "one.dwo", "two.dwo"].iter().for_each(|name| copy(&format!("{case}/{name}"), folder.join(name)));
        let truth = truth(case);
        let addresses: Vec<&str> = truth.iter().map(|(address, _)| address.as_str()).collect();
        std::fs::write(folder.join("addresses"), addresses.join("\n")).unwrap();
        std::fs::write(folder.join("blocks"), BLOCKS).unwrap();
        let directory = format!("set debug-file-directory {}", folder.display());
        let output = Command::new(&peer)
            .current_dir(&folder)
            .args(["-nx", "-q", "-batch", "-ex", &directory, "-ex", "file vmlinux", "-x", "blocks"])
            .output()
            .unwrap();
        let said = stdout(&output);
        let said: Vec<&str> = said.lines().filter_map(|line| line.strip_prefix("told ")).collect();
        let names = |(_, levels): &Row| levels.iter().step_by(2).cloned().collect::<Vec<_>>().join(" ");
        assert_eq!(said, truth.iter().map(names).collect::<Vec<_>>(), "{case}: {}", stderr(&output));
    }
}

/// Replaces every occurrence of `from` in a file; there must be one.
fn patch(path: &Path, from: &[u8], to: &[u8]) {
    let mut bytes = std::fs::read(path).unwrap();
    let places: Vec<usize> = bytes.windows(from.len()).enumerate().filter(|(_, window)| *window == from).map(|(at, _)| at).collect();
    assert!(!places.is_empty() && from.len() == to.len());
    places.iter().for_each(|at| bytes[*at..at + to.len()].copy_from_slice(to));
    std::fs::write(path, bytes).unwrap();
}

#[test]
fn a_file_that_names_itself_as_its_part_ends_the_search() {
    let folder = scratch("self");
    let kernel = folder.join("vmlinux");
    copy("gcc-4/vmlinux", kernel.clone());
    patch(&kernel, b"one.dwo\0", b"vmlinux\0");
    let (said, complaints) = told(&kernel, &truth("gcc-4"), &[]);
    assert!(said[1].1[1].ends_with("incomplete"), "{said:?}");
    assert!(complaints.contains("split DWARF files are missing"), "{complaints}");
    // A supplementary file that is the very file, by the build id too: it names itself in turn.
    copy("dwz-4/vmlinux-one", kernel.clone());
    let bytes = std::fs::read(&kernel).unwrap();
    let note = bytes.windows(4).position(|window| window == b"GNU\0").unwrap() + 4;
    let link = bytes.windows(13).position(|window| window == b"shared.debug\0").unwrap() + 13;
    let (own, other) = (bytes[note..note + 20].to_vec(), bytes[link..link + 20].to_vec());
    patch(&kernel, &other, &own);
    std::fs::copy(&kernel, folder.join("shared.debug")).unwrap();
    assert_eq!(told(&kernel, &truth("dwz-4"), &[]).0.len(), truth("dwz-4").len());
}
