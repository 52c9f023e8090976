//! Ground truth of placing: every row of the tables beside the generated macOS inputs, with what their reports state about the images, through
//! placing and lookup with each kind of symbol file. The scores are printed (`cargo test --test darwin_place -- --nocapture`).
//!
//! Parsers have no part in this: the claims are those that a panic, a JSON stackshot or a debugger listing makes.

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use common::shared::{inputs, symbols};
use kstack::model::addr::{Arch, Avma, parse_hex};
use kstack::model::capture::{Capture, Os};
use kstack::model::frame::Answer;
use kstack::model::image::{Basis, ImageClaim, ImageId, ImageStatus};
use kstack::model::stack::{Lookup, RawFrame, Stack};
use kstack::place::{self, Layout, PlaceOptions};
use kstack::resolve::{self, ResolveOptions};
use kstack::symbols::find::{GivenFile, Library};

/// One row of a truth table.
#[derive(Clone, Default)]
struct Row {
    address: u64,
    lookup: Lookup,
    image: String,
    file: String,
    uuid: String,
    /// Run-time address of `__TEXT` (x86_64) or `__TEXT_EXEC` (arm64).
    base: u64,
    symbol: String,
    offset: u64,
    chain: String,
}

fn hex(text: &str) -> u64 {
    parse_hex(text).unwrap_or_default()
}

/// Pointer authentication codes lie in bits 63 to 47 but for bit 55, which tells the half of the address space.
fn stripped(address: u64) -> u64 {
    if address >> 55 & 1 == 1 { address | 0xffff_8000_0000_0000 } else { address & 0x7fff_ffff_ffff }
}

fn rows(path: &Path) -> Vec<Row> {
    let text = fs::read_to_string(path).unwrap();
    let mut lines = text.lines();
    let head: Vec<&str> = lines.next().unwrap().split('\t').collect();
    let row = |line: &str| {
        let cells: Vec<&str> = line.split('\t').collect();
        let cell = |name: &str| head.iter().position(|column| *column == name).map_or("", |at| cells[at]);
        Row {
            address: stripped(hex(cell("addr"))),
            lookup: if matches!(cell("kind"), "pc" | "leaf") { Lookup::Exact } else { Lookup::Return },
            image: cell("image").into(),
            file: cell("file").into(),
            uuid: cell("uuid").into(),
            base: hex(cell("base")),
            symbol: cell("symbol").into(),
            offset: hex(cell("symoff")),
            chain: cell("chain").into(),
        }
    };
    lines.map(row).collect()
}

/// What one report states: its images, and where its frames point.
struct Case {
    name: String,
    variant: String,
    rows: Vec<Row>,
    capture: Capture,
}

/// Whether images are told by name, or by UUID alone as in JSON.
#[derive(Clone, Copy, PartialEq)]
enum Known {
    ByName,
    ByUuid,
}

fn case(name: &str, rows: Vec<Row>, basis: Basis, known: Known) -> Case {
    let variant = rows[0].file.split('/').nth(1).unwrap().to_string();
    let arm64 = variant == "arm64e";
    let mut claims: BTreeMap<&str, ImageClaim> = BTreeMap::new();
    for row in &rows {
        let kernel = row.image == "__kernel__" && known == Known::ByName;
        let at = Some(Avma(row.base));
        claims.entry(&row.uuid).or_insert_with(|| ImageClaim {
            name: if known == Known::ByName && !kernel { row.image.clone() } else { row.uuid.clone() },
            id: ImageId::parse(&row.uuid),
            load: at.filter(|_| !arm64),
            exec: at.filter(|_| arm64),
            kernel,
            basis,
            ..ImageClaim::default()
        });
    }
    let frame = |row: &Row| RawFrame { address: Some(Avma(row.address)), lookup: row.lookup, reliable: true, ..RawFrame::default() };
    let stack = Stack { count: 1, frames: rows.iter().map(frame).collect(), ..Stack::default() };
    let images = claims.into_values().collect();
    let arch = Some(if arm64 { Arch::Arm64 } else { Arch::X86_64 });
    let capture = Capture { os: Some(Os::Darwin), arch, basis: Some(basis), images, stacks: vec![stack], ..Capture::default() };
    Case { name: name.to_string(), variant, rows, capture }
}

/// Tables in the repository with addresses in them, those of binary stackshots apart.
const NUMBER_OF_CASES: usize = 31;

/// A case for each table.
fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for path in fs::read_dir(inputs()).unwrap().map(|entry| entry.unwrap().path()) {
        let file = path.file_name().unwrap().to_string_lossy().into_owned();
        let Some(name) = file.strip_suffix(".truth.tsv") else { continue };
        if name.ends_with(".ips") && name.starts_with("stacks-") {
            cases.push(json_case(name, &inputs().join(name), &path));
        } else if !name.contains("kcdata") && !name.ends_with(".stackshot") {
            let mut rows = rows(&path);
            // dtrace prints names without addresses where it has them.
            rows.retain(|row| row.address != 0);
            if rows.is_empty() {
                continue;
            }
            let slid = !(name.starts_with("stackshot") || name.starts_with("spindump"));
            if !slid {
                // These print the address with the slide taken off; the base in the table has it.
                let slide = rows.iter().find(|row| row.image == "__kernel__").map_or(0, slide);
                rows.iter_mut().for_each(|row| row.base = row.base.wrapping_sub(slide));
            }
            cases.push(case(name, rows, if slid { Basis::Runtime } else { Basis::Unslid }, Known::ByName));
        }
    }
    cases.sort_by(|a, b| a.name.cmp(&b.name));
    cases
}

/// By how much the kernel of an unslid report was slid when the table was written.
fn slide(row: &Row) -> u64 {
    // On arm64 the collection's `__TEXT_EXEC` of the toy kernel is linked at 0xfffffe000702c000, the kit's at 0xfffffe00072cc000.
    let segment = if row.file.contains("arm64e") { 0xfffffe000702c000 } else { 0xffffff8000200000 };
    row.base.wrapping_sub(segment)
}

/// A JSON stackshot: `[image, offset]` in the table, the addresses of the images in the report.
fn json_case(name: &str, report: &Path, table: &Path) -> Case {
    let text = fs::read_to_string(report).unwrap();
    let body: serde_json::Value = serde_json::from_str(text.split_once('\n').unwrap().1).unwrap();
    let images: Vec<(String, u64)> = body["binaryImages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|image| (image[0].as_str().unwrap().to_uppercase(), image[1].as_u64().unwrap()))
        .collect();
    let table_text = fs::read_to_string(table).unwrap();
    let cells: Vec<Vec<&str>> = table_text.lines().skip(1).map(|line| line.split('\t').collect()).collect();
    let mut rows = rows(table);
    for (row, cells) in rows.iter_mut().zip(&cells) {
        let (uuid, base) = &images[cells[3].parse::<usize>().unwrap()];
        assert_eq!(*uuid, row.uuid);
        row.base = *base;
        row.address = base + cells[4].parse::<u64>().unwrap();
    }
    case(name, rows, Basis::Unslid, Known::ByUuid)
}

fn given(path: PathBuf, kernel: bool) -> GivenFile {
    GivenFile { name: None, path, address: None, kernel }
}

/// A library of files given as `-k` and `-m`, and of folders given as `-S`.
fn library(kernel: Option<PathBuf>, kexts: &[PathBuf], folders: &[PathBuf]) -> Library {
    let (mut library, mut notes) = (Library::default(), Vec::new());
    folders.iter().for_each(|folder| _ = library.index(folder, None, &mut notes, &|_, _| ()));
    let kexts = kexts.iter().map(|path| given(path.clone(), false));
    library.add(kernel.into_iter().map(|path| given(path, true)).chain(kexts).collect(), &mut notes);
    assert!(notes.is_empty(), "{notes:?}");
    library
}

/// How symbol files are given; `None` where there are none of that kind for a build.
fn ways(variant: &str) -> Vec<(&'static str, Library, bool)> {
    let folder = symbols(variant);
    let kernel = match variant {
        "legacy" => "mach_kernel",
        "modern" => "kernel",
        _ => "kernel.release.t6000",
    };
    let kexts = |folder: &Path, end: &str| ["spl", "zfs"].map(|name| folder.join(format!("{name}.kext{end}")));
    let own = |end: &str| library(Some(folder.join(format!("{kernel}{end}"))), &kexts(&folder, end), &[]);
    let stripped = folder.join("stripped");
    let mut ways = vec![
        ("kexts with dSYMs beside them", own(""), true),
        ("dSYMs", own(".dSYM"), true),
        ("stripped, folder of dSYMs", library(Some(stripped.join(kernel)), &kexts(&stripped, ""), std::slice::from_ref(&folder)), true),
        ("folder", library(None, &[], std::slice::from_ref(&folder)), true),
    ];
    if variant != "legacy" {
        ways.push(("fat kexts", library(Some(folder.join(kernel)), &kexts(&symbols("fat"), ""), &[]), true));
    }
    if variant == "arm64e" {
        let cache = symbols("fileset/kernelcache.release.mac13");
        let dsyms = kexts(&folder, ".dSYM");
        ways.push(("kernel collection, folder", library(Some(cache.clone()), &[], std::slice::from_ref(&folder)), true));
        ways.push(("kernel collection, dSYMs of kexts", library(Some(cache.clone()), &dsyms, &[]), false));
        ways.push(("kernel collection alone", library(Some(cache), &[], &[]), false));
    }
    ways
}

fn chain(answer: &Answer) -> String {
    let one = |location: &kstack::model::frame::Location| {
        let file = location.file.as_deref().unwrap_or_default().rsplit('/').next().unwrap_or_default();
        format!("{}@{file}:{}", location.function.as_deref().unwrap_or("?"), location.line.unwrap_or_default())
    };
    answer.locations.iter().map(one).collect::<Vec<_>>().join(" < ")
}

fn place(capture: &Capture, library: &Library) -> (Layout, Vec<Answer>) {
    let layout = place::place(capture, b"", &[], library, PlaceOptions::default());
    let frames = capture.stacks.iter().flat_map(|stack| &stack.frames).map(|frame| (frame.address.unwrap(), frame.lookup));
    let answers = resolve::addresses(&frames.collect::<Vec<_>>(), &layout, ResolveOptions { demangle: false });
    (layout, answers)
}

/// How many rows are right, and the first that is not.
fn score(case: &Case, library: &Library, lines: bool) -> (usize, Option<String>) {
    let (layout, answers) = place(&case.capture, library);
    let mut right = 0;
    let mut wrong = None;
    for (row, answer) in case.rows.iter().zip(&answers) {
        let image = answer.image.map(|image| &layout.images[image]);
        let in_image = image.is_some_and(|image| (image.kernel && row.image == "__kernel__") || image.name == row.image);
        let name = answer.named().map_or("", |symbol| &symbol.name);
        let proven = image.is_some_and(|image| image.status() == ImageStatus::Matched);
        let fine = in_image && proven && name == row.symbol && answer.offset == Some(row.offset) && (!lines || chain(answer) == row.chain);
        right += usize::from(fine);
        if !fine && wrong.is_none() {
            let got = format!("{} {name}+{:x?} {}", image.map_or("?", |image| &image.name), answer.offset, chain(answer));
            let notes: Vec<&str> = layout.notes.iter().map(|note| note.text.as_str()).collect();
            wrong =
                Some(format!("{:#x}: {} {}+{:#x} {}, but got {got}; {notes:?}", row.address, row.image, row.symbol, row.offset, row.chain));
        }
    }
    (right, wrong)
}

#[test]
fn every_row_with_every_kind_of_symbol_file() {
    let mut failures = Vec::new();
    let mut libraries: BTreeMap<String, Vec<(&str, Library, bool)>> = BTreeMap::new();
    let mut sums: BTreeMap<(String, &str), (usize, usize)> = BTreeMap::new();
    let cases = cases();
    assert_eq!(cases.len(), NUMBER_OF_CASES);
    for case in cases {
        for (way, library, lines) in libraries.entry(case.variant.clone()).or_insert_with(|| ways(&case.variant)) {
            let (right, wrong) = score(&case, library, *lines);
            let sum = sums.entry((case.variant.clone(), way)).or_default();
            *sum = (sum.0 + right, sum.1 + case.rows.len());
            failures.extend(wrong.map(|wrong| format!("{}, {way}: {right} of {}, {wrong}", case.name, case.rows.len())));
        }
    }
    for ((variant, way), (right, all)) in &sums {
        println!("{variant:8} {way:36} {right:6} of {all}");
    }
    assert!(failures.is_empty(), "{} wrong:\n{}", failures.len(), failures.join("\n"));
}

/// The case of the table that is called so.
fn case_of(name: &str) -> Case {
    cases().into_iter().find(|case| case.name == name).unwrap_or_else(|| panic!("no table of {name}"))
}

fn folder_of(case: &Case) -> Library {
    library(None, &[], &[symbols(&case.variant)])
}

fn warnings(layout: &Layout) -> String {
    layout.notes.iter().map(|note| note.text.as_str()).collect::<Vec<_>>().join("\n")
}

/// Without any line about the slide, the one slide with which every return address follows a call in the kernel's file.
#[test]
fn a_kernel_that_says_nothing_is_placed_by_its_calls() {
    for (name, slide) in [("panic-10.7.txt", 0), ("panic-10.9.txt", 0x5a0_0000), ("panic-10.15.txt", 0x1140_0000)] {
        let mut case = case_of(name);
        case.capture.images.retain(|claim| !claim.kernel);
        let library = folder_of(&case);
        let (layout, answers) = place(&case.capture, &library);
        assert_eq!(layout.slide.map(|slide| slide.0), Some(slide), "{name}: {}", warnings(&layout));
        assert!(layout.slide_from.contains("follow a call"), "{}", layout.slide_from);
        assert!(case.rows.iter().zip(&answers).all(|(row, answer)| answer.named().is_some_and(|symbol| *symbol.name == *row.symbol)));
    }
}

/// What the report says twice and differently is a warning with both numbers; the address itself is above the difference.
#[test]
fn slides_that_disagree_are_said() {
    let mut case = case_of("panic-10.15.txt");
    case.capture.slide = Some(kstack::model::addr::Slide(0x1160_0000));
    let library = folder_of(&case);
    let (layout, _) = place(&case.capture, &library);
    assert_eq!(layout.slide.map(|slide| slide.0), Some(0x1140_0000));
    assert!(warnings(&layout).contains("0x11600000") && warnings(&layout).contains("0x11400000"), "{}", warnings(&layout));
}

/// A load map of another boot is found out by a kext that the report places too, and places nothing.
#[test]
fn a_load_map_of_another_boot_is_not_used() {
    let case = case_of("showallstacks-10.8-gdb.txt");
    let mut map = Capture { os: Some(Os::Darwin), ..Capture::default() };
    for claim in case.capture.images.iter().filter(|claim| !claim.kernel) {
        let load = claim.load.map(|load| Avma(load.0 - 0x5a0_0000 + if claim.name.ends_with("zfs") { 0x5000 } else { 0 }));
        map.images.push(ImageClaim { load, basis: Basis::Unslid, line: 3, ..claim.clone() });
    }
    let mut capture = case.capture.clone();
    // The report states zfs alone; of spl only the map knows a place.
    capture.slide = Some(kstack::model::addr::Slide(0x5a0_0000));
    capture.images.retain(|claim| claim.kernel || claim.name.ends_with("zfs"));
    let library = folder_of(&case);
    let maps = [("kextstat.txt".to_string(), map)];
    let layout = place::place(&capture, b"", &maps, &library, PlaceOptions::default());
    assert!(warnings(&layout).contains("another boot"), "{}", warnings(&layout));
    let image = |name: &str| layout.images.iter().find(|image| image.name.ends_with(name)).unwrap();
    assert!(!image("zfs").segments.is_empty() && image("spl").segments.is_empty());
}

/// The slide between a panic and a kextstat of the same boot is what lies between their addresses of the same kexts.
#[test]
fn kexts_in_both_lists_give_the_slide_of_the_others() {
    let case = case_of("showallstacks-12-lldb.txt");
    let mut map = Capture { os: Some(Os::Darwin), ..Capture::default() };
    for claim in case.capture.images.iter().filter(|claim| !claim.kernel) {
        map.images.push(ImageClaim { load: claim.load.map(|load| Avma(load.0 - 0x920_0000)), basis: Basis::Unslid, ..claim.clone() });
    }
    let mut capture = case.capture.clone();
    capture.kernel_version = Some("Darwin Kernel Version 22.3.0: x; root:xnu/RELEASE_X86_64".into());
    // As the report prints it: the kernel's slide is not that of the collection.
    capture.slide = Some(kstack::model::addr::Slide(0x921_0000));
    capture.images.retain(|claim| claim.kernel || claim.name.ends_with("zfs"));
    let library = folder_of(&case);
    let maps = [("kmutil.txt".to_string(), map)];
    let layout = place::place(&capture, b"", &maps, &library, PlaceOptions::default());
    let spl = layout.images.iter().find(|image| image.name.ends_with("spl")).unwrap();
    let row = case.rows.iter().find(|row| row.image.ends_with("spl")).unwrap();
    assert_eq!(spl.load, Some(Avma(row.base)), "{}", warnings(&layout));
}

/// On arm64 a kernel whose `Kernel text exec base` is missing is not placed by the slide alone: names would be wrong.
#[test]
fn a_slide_alone_places_no_code_of_an_arm64_kernel_collection() {
    let mut case = case_of("panic-14-arm64-aux.txt");
    case.capture.slide = Some(kstack::model::addr::Slide(0xb7a_8000));
    case.capture.images.retain(|claim| !claim.kernel);
    let library = folder_of(&case);
    let (layout, answers) = place(&case.capture, &library);
    let kernel = case.rows.iter().zip(&answers).filter(|(row, _)| row.image == "__kernel__");
    assert!(kernel.clone().count() > 0 && kernel.into_iter().all(|(_, answer)| answer.named().is_none()));
    assert!(warnings(&layout).contains("@__TEXT_EXEC=ADDR"), "{}", warnings(&layout));
}

/// The start of the kernel collection places its entries when nothing else is said, but only those of that very collection.
#[test]
fn the_start_of_a_collection_places_its_entries() {
    let mut case = case_of("panic-26-arm64-sptm.txt");
    let id = ImageId::parse("FE075C26-BAA6-3457-8CBA-D1B5A1847B3D");
    let kernel: Vec<&Row> = case.rows.iter().filter(|row| row.image == "__kernel__").collect();
    let base = Avma(kernel[0].base - 0xfffffe000702c000 + 0xfffffe0007004000);
    for claim in &mut case.capture.images {
        (claim.load, claim.exec) = (None, None);
    }
    case.capture.images.push(ImageClaim {
        name: "kernelcache".into(),
        id,
        load: Some(base),
        collection: true,
        basis: Basis::Runtime,
        ..ImageClaim::default()
    });
    let cache = symbols("fileset/kernelcache.release.mac13");
    let (right, wrong) = score(&case, &library(Some(cache.clone()), &[], &[]), false);
    assert_eq!(right, case.rows.len(), "{wrong:?}");
    case.capture.images.last_mut().unwrap().id = ImageId::parse("00000000-0000-0000-0000-000000000001");
    let (right, _) = score(&case, &library(Some(cache), &[], &[]), false);
    assert_eq!(right, 0, "another collection lies elsewhere inside");
}

/// A JSON stackshot that lists UUIDs proves that a kernel of another UUID did not run.
#[test]
fn a_kernel_that_is_not_among_the_uuids_is_refused() {
    let mut case = case_of("panic-14-arm64-aux.txt");
    case.capture.basis = Some(Basis::Unslid);
    for claim in &mut case.capture.images {
        claim.basis = Basis::Unslid;
        claim.name = claim.id.unwrap().to_string();
        claim.kernel = false;
    }
    case.capture.images.retain(|claim| claim.name != "DA335ED2-3002-30EF-9272-4E9928FFE6D8");
    let (layout, _) = place(&case.capture, &folder_of(&case));
    let kernel = layout.images.iter().find(|image| image.kernel).unwrap();
    assert_eq!(kernel.status(), ImageStatus::Mismatched);
    assert!(kernel.refused.as_ref().unwrap().why.contains("none of them"), "{}", warnings(&layout));
    assert!(layout.images.iter().any(|image| image.name == "net.example.zfs"), "named by its file");
}

/// A folder of kits: the kernel is chosen by build and chip, with kexts, their plug-ins and dSYMs beside them.
#[test]
fn kernels_of_debug_kits_are_chosen_by_build_and_chip() {
    let kits = std::env::temp_dir().join(format!("kstack-kdk-{}", std::process::id()));
    let source = symbols("arm64e");
    for build in ["14.2_23C71", "14.3_23D56"] {
        let kernels = kits.join(format!("KDK_{build}.kdk/System/Library/Kernels"));
        copy(&source.join("kernel.release.t6000"), &kernels.join("kernel.release.t6000"));
        copy(&source.join("kernel.release.t6000.dSYM"), &kernels.join("kernel.release.t6000.dSYM"));
        copy(&source.join("stripped/kernel.release.t6000"), &kernels.join("kernel.release.t8103"));
        let extensions = kits.join(format!("KDK_{build}.kdk/System/Library/Extensions"));
        copy(&source.join("spl.kext"), &extensions.join("spl.kext"));
        copy(&source.join("spl.kext.dSYM"), &extensions.join("spl.kext.dSYM"));
        copy(&source.join("zfs.kext"), &extensions.join("spl.kext/Contents/PlugIns/zfs.kext"));
        copy(&source.join("zfs.kext.dSYM"), &extensions.join("spl.kext/Contents/PlugIns/zfs.kext.dSYM"));
    }
    // The later kit is of another build.
    let uuid = [0xda, 0x33, 0x5e, 0xd2, 0x30, 0x02, 0x30, 0xef];
    for file in ["kernel.release.t6000", "kernel.release.t6000.dSYM/Contents/Resources/DWARF/kernel.release.t6000"] {
        let path = kits.join("KDK_14.3_23D56.kdk/System/Library/Kernels").join(file);
        let mut bytes = fs::read(&path).unwrap();
        let at = bytes.windows(8).position(|window| window == uuid).unwrap();
        bytes[at] ^= 0xff;
        fs::write(&path, bytes).unwrap();
    }
    let library = library(None, &[], std::slice::from_ref(&kits));
    let mut case = case_of("panic-14-arm64-aux.txt");
    let (right, wrong) = score(&case, &library, true);
    assert_eq!(right, case.rows.len(), "by UUID: {wrong:?}");
    // Without UUIDs: by build and chip, which proves nothing, so that the status is unverified.
    case.capture.images.iter_mut().filter(|claim| claim.kernel).for_each(|claim| claim.id = None);
    case.capture.kernel_version = Some("Darwin Kernel Version 23.2.0: x; root:xnu-10002.61.3~2/RELEASE_ARM64_T6000".into());
    case.capture.os_build = Some("23C71".into());
    let kernel = |case: &Case, options| {
        let layout = place::place(&case.capture, b"", &[], &library, options);
        let image = layout.images.iter().position(|image| image.kernel).unwrap();
        let path = layout.images[image].program.as_ref().map(|program| program.info().path.display().to_string());
        (path, layout.images[image].status(), warnings(&layout))
    };
    let (path, status, notes) = kernel(&case, PlaceOptions::default());
    assert!(path.as_ref().is_some_and(|path| path.contains("23C71") && path.ends_with("kernel.release.t6000")), "{path:?} {notes}");
    assert_eq!(status, ImageStatus::Unverified);
    // A build that no kit is of: said, and the nearest only when it is allowed.
    case.capture.os_build = Some("23D60".into());
    let (path, status, notes) = kernel(&case, PlaceOptions::default());
    assert!(path.is_none() && status == ImageStatus::Mismatched && notes.contains("KDK_*_23D60.kdk"), "{notes}");
    let (path, status, _) = kernel(&case, PlaceOptions { allow_mismatch: true, ..PlaceOptions::default() });
    assert!(path.is_some_and(|path| path.contains("23D56")) && status == ImageStatus::Mismatched);
    // A chip that no kit has a kernel for.
    case.capture.kernel_version = Some("Darwin Kernel Version 23.2.0: x; root:xnu-10002.61.3~2/RELEASE_ARM64_T6031".into());
    let (path, _, notes) = kernel(&case, PlaceOptions::default());
    assert!(path.is_none() && notes.contains("kernel.release.t6031"), "{notes}");
    fs::remove_dir_all(&kits).unwrap();
}

fn copy(from: &Path, to: &Path) {
    if from.is_dir() {
        fs::read_dir(from).unwrap().for_each(|entry| {
            let entry = entry.unwrap();
            copy(&entry.path(), &to.join(entry.file_name()));
        });
        return;
    }
    fs::create_dir_all(to.parent().unwrap()).unwrap();
    fs::write(to, fs::read(from).unwrap()).unwrap();
}

/// The rows of a panic as a user looks them up by hand: addresses with a debugger's load map, and offsets into images, in each kind of file.
#[test]
fn addresses_and_offsets_on_the_command_line() {
    let rows = rows(&inputs().join("panic-14-arm64-aux.txt.truth.tsv"));
    let files: [(&str, &[&str]); 4] = [
        ("kexts", &["-k", "A/kernel.release.t6000@__TEXT_EXEC=0xfffffe00127d0000", "-m", "A/spl.kext", "-m", "A/zfs.kext"]),
        (
            "stripped, folder of dSYMs",
            &[
                "-k",
                "A/stripped/kernel.release.t6000@__TEXT_EXEC=0xfffffe00127d0000",
                "-m",
                "A/stripped/spl.kext",
                "-m",
                "A/stripped/zfs.kext",
                "-S",
                "A/",
            ],
        ),
        ("fat kexts", &["-k", "A/kernel.release.t6000@__TEXT_EXEC=0xfffffe00127d0000", "-m", "F/spl.kext", "-m", "F/zfs.kext"]),
        ("kernel collection, folder", &["-k", "C@__TEXT_EXEC=0xfffffe00127d0000", "-S", "A/"]),
    ];
    for (way, files) in files {
        let full = |arg: &&str| {
            let arg = arg.replacen("A/", "symbols/darwin/arm64e/", 1).replacen("F/", "symbols/darwin/fat/", 1);
            if arg.starts_with("C@") { arg.replacen('C', "symbols/darwin/fileset/kernelcache.release.mac13", 1) } else { arg }
        };
        let files: Vec<String> = files.iter().map(full).collect();
        let mut right = 0;
        for row in &rows {
            let image = if row.image == "__kernel__" { "kernel:__TEXT_EXEC".to_string() } else { format!("{}:__TEXT_EXEC", row.image) };
            let (address, offset) = (format!("{:#x}", row.address), format!("+{:#x}", row.address - row.base));
            let by_address = vec!["-l", "load-maps/lldb-showallkexts-14-arm64.txt", &address];
            let by_offset = vec!["--image", &image, "--arch", "arm64e", &offset];
            for query in [by_address, by_offset] {
                let mut args = vec!["lookup", "--format", "json"];
                args.extend(query.iter());
                args.extend(files.iter().map(String::as_str));
                if row.lookup == Lookup::Return {
                    args.push("-r");
                }
                let answer = common::json(&common::run(&args));
                let frame = &answer["results"][0]["frames"][0];
                let place = |location: &serde_json::Value| {
                    let file = location["file"].as_str().unwrap_or_default().rsplit('/').next().unwrap_or_default();
                    format!("{}@{file}:{}", location["function"].as_str().unwrap_or("?"), location["line"])
                };
                let chain: Vec<String> = frame["locations"].as_array().into_iter().flatten().map(place).collect();
                assert_eq!(frame["symbol"], *row.symbol, "{way} {query:?}: {answer}");
                assert_eq!((frame["offset"].as_u64(), chain.join(" < ")), (Some(row.offset), row.chain.clone()), "{way} {query:?}");
                right += 1;
            }
        }
        println!("lookup, {way:28} {right} of {}", 2 * rows.len());
    }
    // Where the collection lies places all that is in it.
    let start =
        ["lookup", "-k", "symbols/darwin/fileset/kernelcache.release.mac13@0xfffffe00127a8000", "0xfffffe00127d31b8", "0xfffffe00127dda24"];
    let text = common::stdout(&common::run(&start));
    assert!(text.starts_with("machine_switch_context (in kernel) + 36 ") && text.contains("(in net.example.zfs)"), "{text}");
    // Offsets from `__TEXT` are no code on arm64, and that is said.
    let bare = common::run(&["lookup", "--image", "net.example.zfs", "+0x1400", "-m", "symbols/darwin/arm64e/zfs.kext"]);
    assert!(common::stdout(&bare).contains("--image net.example.zfs:__TEXT_EXEC"), "{}", common::stdout(&bare));
    let spindump = common::run(&["lookup", "net.example.zfs + 0x1400", "-m", "symbols/darwin/legacy/zfs.kext"]);
    assert!(common::stdout(&spindump).contains("zfs0_drain_seal (in net.example.zfs) + 288"), "{}", common::stdout(&spindump));
    // A packed kext is what is in it.
    let packed = [
        "lookup",
        "--image",
        "net.example.spl:__TEXT_EXEC",
        "+0x8c",
        "-S",
        "symbols/darwin/arm64e",
        "-m",
        "net.example.spl=symbols/darwin/packed/spl.im4p",
    ];
    let plain = common::stdout(&common::run(&[&packed[..6], &["-m", "symbols/darwin/arm64e/stripped/spl.kext"]].concat()));
    assert_eq!(common::stdout(&common::run(&packed)), plain);
}
