//! Debug info that no compiler writes: inlined calls nested without end, packed sections that claim to be huge.

mod common;

use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};

use common::elf::{CODE, kernel};
use common::folder::Folder;
use common::{json, kstack, stderr};
use object::{Object, ObjectSection};

fn uleb(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

/// Code, tag, whether it has children, and pairs of attribute and form.
fn abbreviation(code: u64, tag: u64, children: u8, attributes: &[(u64, u64)]) -> Vec<u8> {
    let pairs: Vec<u8> = attributes.iter().flat_map(|(name, form)| [uleb(*name), uleb(*form)].concat()).collect();
    [&uleb(code)[..], &uleb(tag), &[children], &pairs, &[0, 0]].concat()
}

/// Attributes with their forms, and what they say.
type Attributes = (Vec<(u64, u64)>, Vec<u8>);

const LOW_AND_HIGH: [(u64, u64); 2] = [(0x11, 0x01), (0x12, 0x07)];

fn range() -> Vec<u8> {
    [CODE.to_le_bytes(), 64u64.to_le_bytes()].concat()
}

/// One unit of DWARF 4 with a function of 64 bytes, in which `depth` inlined calls lie in one another.
fn unit(root: Attributes, depth: usize, inlined: &[u8], abbreviation_of_it: Vec<u8>) -> [Vec<u8>; 2] {
    // DW_TAG_compile_unit; DW_TAG_subprogram with DW_AT_name.
    let function = abbreviation(2, 0x2e, 1, &[&[(0x03, 0x08)], &LOW_AND_HIGH[..]].concat());
    let abbreviations = [abbreviation(1, 0x11, 1, &root.0), function, abbreviation_of_it, vec![0]].concat();
    let entries = [&[1][..], &root.1, &[2], b"deep\0", &range(), &inlined.repeat(depth), &vec![0; depth + 2]].concat();
    let rest = [&4u16.to_le_bytes()[..], &0u32.to_le_bytes(), &[8], &entries].concat();
    [[&(rest.len() as u32).to_le_bytes()[..], &rest].concat(), abbreviations]
}

/// The same in a whole kernel; the function is at offset 0x1d.
fn nested(depth: usize, language: u8, inlined: &[u8], abbreviation_of_it: Vec<u8>) -> Vec<(&'static str, Vec<u8>)> {
    let root = ([&[(0x13, 0x0b)], &LOW_AND_HIGH[..]].concat(), [vec![language], range()].concat());
    let [info, abbreviations] = unit(root, depth, inlined, abbreviation_of_it);
    vec![(".debug_info", info), (".debug_abbrev", abbreviations)]
}

fn write(name: &str, sections: &[(&'static str, Vec<u8>)]) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("kstack-deep-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join(name);
    std::fs::write(&path, kernel(64, sections)).unwrap();
    path
}

/// The symbol and the locations of an address in the middle of the function, and what is complained of.
fn told(path: &Path) -> (String, Vec<serde_json::Value>, String) {
    let address = format!("{:#x}", CODE + 16);
    let output = kstack(&["lookup", "--format", "json", "-k", &path.display().to_string(), &address]).output().unwrap();
    assert_eq!(output.status.signal(), None, "{}", stderr(&output));
    let value = json(&output);
    let frame = &value["results"][0]["frames"][0];
    (frame["symbol"].as_str().unwrap().to_string(), frame["locations"].as_array().unwrap().clone(), stderr(&output))
}

const C: u8 = 12;
const RUST: u8 = 28;

/// An inlined call without any attribute, and one with attributes as compilers have them.
fn calls() -> [(Vec<u8>, Vec<u8>); 2] {
    let (origin, line, column) = ((0x31, 0x13), (0x59, 0x0f), (0x57, 0x0f));
    [(vec![3], abbreviation(3, 0x1d, 1, &[])), (vec![3, 0x1d, 0, 0, 0, 7, 5], abbreviation(3, 0x1d, 1, &[origin, line, column]))]
}

#[test]
fn calls_nested_deeper_than_any_are_refused_with_words() {
    for language in [C, RUST] {
        for (call, kind) in calls() {
            for depth in [501, 20_000, 400_000] {
                let path = write("vmlinux", &nested(depth, language, &call, kind.clone()));
                let (symbol, locations, complaints) = told(&path);
                assert_eq!((symbol.as_str(), locations.len()), ("deep", 0), "{depth} {complaints}");
                assert!(complaints.contains("vmlinux") && complaints.contains("in the unit at 0x0 of .debug_info"), "{complaints}");
            }
        }
    }
}

/// Entries whose siblings are said to begin right behind them look like short ones beside one another; they are read as what they are.
#[test]
fn siblings_that_lie_hide_nothing() {
    let sibling = (0x01, 0x13);
    let function = abbreviation(2, 0x2e, 1, &[&[sibling, (0x03, 0x08)], &LOW_AND_HIGH[..]].concat());
    let others = [abbreviation(3, 0x1d, 1, &[sibling]), abbreviation(4, 0x2e, 0, &[]), vec![0]].concat();
    let abbreviations = [abbreviation(1, 0x11, 1, &[&[(0x13, 0x0b)], &LOW_AND_HIGH[..]].concat()), function, others].concat();
    let rest = |depth: u32| {
        let mut rest = [&4u16.to_le_bytes()[..], &0u32.to_le_bytes(), &[8, 1, C], &range(), &[2]].concat();
        // Offsets count from the length in front.
        let next = |rest: &[u8], more: usize| ((4 + rest.len() + 4 + more) as u32).to_le_bytes();
        rest.extend([&next(&rest, 21)[..], b"deep\0", &range()].concat());
        for level in 0..depth {
            rest.push(3);
            rest.extend(next(&rest, 0));
            rest.extend((level % 12 == 11).then_some(4));
        }
        rest.extend(vec![0; depth as usize + 2]);
        rest
    };
    for (depth, refused) in [(400, false), (501, true), (100_000, true)] {
        let rest = rest(depth);
        let info = [&(rest.len() as u32).to_le_bytes()[..], &rest].concat();
        let path = write("vmlinux-siblings", &[(".debug_info", info), (".debug_abbrev", abbreviations.clone())]);
        let (symbol, _, complaints) = told(&path);
        assert_eq!((symbol.as_str(), complaints.contains("deep in one another")), ("deep", refused), "{depth} {complaints}");
    }
}

#[test]
fn what_nests_less_is_read() {
    for language in [C, RUST] {
        for (call, kind) in calls() {
            for depth in [1, 499, 500] {
                let path = write("vmlinux-sane", &nested(depth, language, &call, kind.clone()));
                let (symbol, locations, complaints) = told(&path);
                assert_eq!((symbol.as_str(), locations.len(), complaints.as_str()), ("deep", 1, ""), "{depth}");
            }
        }
    }
}

/// With codes that leave some out, and with a name that may lie in another unit, other ways lead to the same entries.
#[test]
fn units_that_are_not_read_alone_are_measured_too() {
    let far = abbreviation(3, 0x1d, 1, &[(0x31, 0x10)]);
    let sparse = [abbreviation(700, 0x1d, 1, &[]), abbreviation(3, 0x34, 0, &[])].concat();
    for (call, kind) in [(vec![3, 0x1d, 0, 0, 0], far), (uleb(700), sparse)] {
        for language in [C, RUST] {
            let sections = nested(20_000, language, &call, kind.clone());
            let (_, locations, complaints) = told(&write("vmlinux-far", &sections));
            assert!(locations.is_empty() && complaints.contains("deep in one another"), "{complaints}");
            let (_, locations, complaints) = told(&write("vmlinux-near", &nested(300, language, &call, kind.clone())));
            assert_eq!((locations.len(), complaints.as_str()), (1, ""));
        }
    }
}

/// The unit that is asked for refers to others, and another, in which no harm is seen by itself, covers the same address.
#[test]
fn a_unit_behind_the_one_that_is_asked_for_is_measured_too() {
    let far = abbreviation(3, 0x1d, 1, &[(0x31, 0x10)]);
    let call = [3, 0x1d, 0, 0, 0];
    for (first, second) in [(3, 20_000), (20_000, 3)] {
        let mut sections = nested(first, RUST, &call, far.clone());
        sections[0].1.extend(&nested(second, RUST, &call, far.clone())[0].1);
        let (_, locations, complaints) = told(&write("vmlinux-two", &sections));
        assert!(locations.is_empty() && complaints.contains("deep in one another"), "{complaints}");
    }
}

#[test]
fn split_units_are_measured_too() {
    let id = (0x2131, 0x07);
    for (depth, inlined) in [(300, true), (20_000, false)] {
        // DW_AT_GNU_dwo_name, DW_AT_comp_dir, DW_AT_GNU_dwo_id.
        let name = format!("part-{depth}.dwo");
        let says = [name.as_bytes(), b"\0/nowhere\0", &7u64.to_le_bytes(), &range()].concat();
        let skeleton = unit(([&[(0x2130, 0x08), (0x1b, 0x08), id], &LOW_AND_HIGH[..]].concat(), says), 0, &[], Vec::new());
        // Its function is that of the split unit; what is left ends behind the root.
        let [_, abbreviations] = &skeleton;
        let path = write(&format!("vmlinux-{depth}"), &[(".debug_info", cut(&skeleton[0])), (".debug_abbrev", abbreviations.clone())]);
        let [info, abbreviations] = unit((vec![id], 7u64.to_le_bytes().to_vec()), depth, &[3], abbreviation(3, 0x1d, 1, &[]));
        write(&name, &[(".debug_info.dwo", info), (".debug_abbrev.dwo", abbreviations)]);
        let (_, locations, complaints) = told(&path);
        assert_eq!(complaints.contains("deep in one another"), !inlined, "{complaints}");
        assert_eq!(locations.len(), usize::from(inlined), "{locations:?} {complaints}");
    }
}

/// A unit without its function.
fn cut(unit: &[u8]) -> Vec<u8> {
    let function = unit.windows(6).position(|window| window == b"\x02deep\0").unwrap();
    let rest = [&unit[4..function], &[0]].concat();
    [&(rest.len() as u32).to_le_bytes()[..], &rest].concat()
}

#[test]
fn a_packed_section_that_cannot_be_read_is_named_and_takes_no_memory() {
    let folder = Folder::new("deep-packed");
    let mut bytes = std::fs::read(common::fixtures().join("symbols/linux/unit-zlib.ko")).unwrap();
    let start = {
        let file = object::File::parse(&bytes[..]).unwrap();
        file.section_by_name(".debug_info").unwrap().compressed_file_range().unwrap().offset as usize
    };
    // The bytes themselves, in a section that lines need.
    let mut damaged = bytes.clone();
    damaged[start + 40..start + 60].fill(0xff);
    let module = folder.write("damaged/unit.ko", damaged);
    let report = folder.write("stack.txt", "[<0>] first_entry+0x14/0x50 [unit]\n[<0>] tail_caller+0x5/0x20 [unit]\n");
    let said = stderr(&common::run(&["symbolicate", &report, "-m", &module]));
    assert!(said.contains("unit.ko") && said.contains(".debug_info cannot be read"), "{said}");
    // `ch_size` stands 16 bytes before what is packed.
    bytes[start - 16..start - 8].copy_from_slice(&(1u64 << 40).to_le_bytes());
    let module = folder.write("unit.ko", bytes);
    let shown = common::run(&["symbolicate", &report, "-m", &module]);
    let said = common::stderr(&shown);
    assert!(said.contains("unit.ko") && said.contains(".debug_info cannot be read") && said.contains("to 1099511627776"), "{said}");
}
