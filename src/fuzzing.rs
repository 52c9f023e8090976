//! Bodies of the fuzz targets, called by them and by a test over mutated fixtures. They walk everything and ignore the result.

use std::path::Path;
use std::sync::LazyLock;

use crate::disassembly;
use crate::group::naming::Naming;
use crate::group::plumbing::Plumbing;
use crate::group::{By, Groups, Weight, diff, top, zones};
use crate::input::{archive, unpack};
use crate::model::addr::Svma;
use crate::model::capture::Capture;
use crate::parse;
use crate::parse::blocks;
use crate::parse::linux_tree::Tree;
use crate::place::{self, PlaceOptions};
use crate::render::groups::View;
use crate::render::{self, Output, Report, Style};
use crate::resolve::{self, ResolveOptions};
use crate::symbols::dwarf::{self, Sections};
use crate::symbols::find::Library;
use crate::symbols::locate::locate;
use crate::symbols::parts::{PartFile, Places};
use crate::symbols::split::{Finder, Splits};
use crate::symbols::units::UnitIndex;
use crate::symbols::{OPENERS, altlink};
use crate::title::{self, SkipList};
use crate::triage;

static SKIP: LazyLock<SkipList> = LazyLock::new(SkipList::default);
static PLUMBING: LazyLock<Plumbing> = LazyLock::new(Plumbing::default);

/// Cuts `data` into its blocks and carries them through to every output. Their texts together are `data`.
pub fn blocks(data: &[u8]) {
    let Some(blocks) = blocks::of(data, parse::detect(data)) else { return };
    let mut texts = Vec::new();
    for part in blocks.into_iter().flat_map(|block| block.parts) {
        let text = part.text.expect("every block has its text");
        texts.extend_from_slice(&text);
        one_report(&text, "blocks", part.capture);
    }
    // What a reader unpacks takes another form.
    assert!(
        texts == data || data.contains(&b'{') || data.contains(&b'&') || data.contains(&b'\\'),
        "cutting lost or changed some of the input"
    );
}

/// Reads `data` with every format, and carries it through to every output.
pub fn report(data: &[u8]) {
    blocks(data);
    parse::FORMATS.iter().for_each(|format| one_format(*format, data));
}

/// What the reader of one format does with any bytes.
///
/// # Panics
/// When no format is called `id`, and where the reader is wrong.
pub fn format(id: &str, data: &[u8]) {
    one_format(parse::by_id(id).expect("an id that `kstack formats` lists"), data);
}

fn one_format(format: &dyn parse::Format, data: &[u8]) {
    for part in format.parts(data) {
        one_report(part.text.as_deref().unwrap_or(data), format.id(), part.capture);
    }
}

/// Reads `data` as a packed or plain archive with a tree of `/proc` and `/sys` in it, and carries what it holds through to every output.
pub fn archive(data: &[u8]) {
    let Ok(source) = unpack::unpack("input".to_string(), data.to_vec().into()) else { return };
    let (mut tree, mut notes) = (Tree::default(), Vec::new());
    for (path, bytes) in archive::members("input", &source.data, &mut notes) {
        if Tree::knows(&path) {
            tree.take(&path, bytes);
        } else {
            report(bytes);
        }
    }
    let _ = tree.map();
    tree.reports().into_iter().for_each(|one| one_report(&one.text, "linux-proc-stack", one.capture));
}

fn one_report(data: &[u8], format: &str, mut capture: Capture) {
    let maps = [("map".to_string(), capture.clone())];
    let layout = place::place(&capture, data, &maps, &Library::default(), PlaceOptions::default());
    let resolved = resolve::resolve(&capture, data, &layout, ResolveOptions { demangle: true });
    let report = Report { source: "input", text: data, capture: &capture, layout: &layout, resolved: &resolved, crash: None };
    let crash = title::of(&report, &SKIP);
    if let Some(crash) = &crash {
        title::blame(&mut capture.stacks, crash);
    }
    let report = Report { source: "input", text: data, capture: &capture, layout: &layout, resolved: &resolved, crash: crash.as_ref() };
    let style = Style { terminal: true, explain: true, ..Style::default() };
    for output in render::OUTPUTS {
        let mut sink = Vec::new();
        output.write(std::slice::from_ref(&report), &layout.notes, style, &mut sink).expect("a Vec takes everything");
    }
    // Without symbols the text is what it was.
    let mut text = Vec::new();
    render::text::Text.write(&[report], &[], Style::default(), &mut text).expect("a Vec takes everything");
    assert!(report.capture.listed || text == data, "{format} lost or changed some of the input");
    explained(&report);
    groups(&report, style);
    if capture.stacks.iter().all(|stack| stack.code.is_empty()) {
        return;
    }
    disassembly::fill(&mut capture, data, &layout);
    let report = Report { source: "input", text: data, capture: &capture, layout: &layout, resolved: &resolved, crash: crash.as_ref() };
    for output in render::OUTPUTS {
        output.write(std::slice::from_ref(&report), &[], style, &mut Vec::new()).expect("a Vec takes everything");
    }
}

/// Explaining a report adds lines and takes none away.
fn explained(report: &Report<'_>) {
    let style = Style { explain: true, ..Style::default() };
    let mut text = Vec::new();
    render::text::Text.write(std::slice::from_ref(report), &[], style, &mut text).expect("a Vec takes everything");
    let mut lines = text.split(|b| *b == b'\n');
    let kept = report.text.split(|b| *b == b'\n').all(|line| line.is_empty() || lines.any(|written| written == line));
    assert!(report.capture.listed || kept, "an explanation took the place of the report's own words");
}

/// Groups the report in every way, twice over.
fn groups(report: &Report<'_>, style: Style) {
    if report.capture.stacks.is_empty() {
        return;
    }
    let reports = [*report, *report];
    for by in [By::Functions, By::Stack, By::Modules, By::Top(2), By::Process] {
        let groups = Groups::of(&reports, Naming::of(&reports, &PLUMBING), by);
        let count = |groups: &Groups<'_, '_>| groups.list.iter().map(|group| group.members.len()).sum::<usize>();
        let stacks = report.capture.stacks.iter().filter(|stack| !stack.aside).count();
        assert_eq!(count(&groups), 2 * stacks, "every stack is in one group");
        if by == By::Functions {
            let view = View { style, width: 80, triage: true, similar: true, ..View::default() };
            for output in render::groups::GROUP_OUTPUTS {
                output.write(&groups, &[], view, &mut Vec::new()).expect("a Vec takes everything");
            }
            let diff = diff::diff(&groups, 1);
            assert!(diff.threads.iter().all(|thread| thread.old.is_some() && thread.new.is_some()), "nothing came or went");
            render::diff::text(&groups, &diff, true, Some(80), &mut Vec::new()).expect("a Vec takes everything");
            let _ = top::functions(&groups, Weight::Bytes);
            render::zones::text(&zones::ranked(&report.capture.zones), Some(80), &mut Vec::new()).expect("a Vec takes everything");
            triage::graphs(&groups).for_each(|graph| drop(graph.dot()));
        }
    }
}

/// Opens `data` as a symbol file, packed or not, and asks it about addresses in and around its segments.
pub fn symbol_file(data: &[u8]) {
    let Ok(source) = unpack::unpack("input".to_string(), data.to_vec().into()) else { return };
    let bytes = source.data;
    for opener in OPENERS.iter().filter(|opener| opener.sniff(&bytes)) {
        for file in opener.open(Path::new("input"), &bytes, &mut Vec::new()) {
            let segments = file.info().segments.iter().take(8);
            let probes: Vec<Svma> = segments
                .flat_map(|segment| {
                    let step = (segment.size / 16).max(1);
                    (0..18).map(move |n| Svma(segment.svma.0.wrapping_sub(1).wrapping_add(n * step)))
                })
                .collect();
            for (probe, locations) in probes.iter().zip(file.locate(&probes)) {
                let _ = (file.table().at(*probe), locations, file.debug_function(*probe));
                let _ = file.code(Svma(probe.0.wrapping_sub(8)), *probe);
            }
            let _ = (file.table().named("main"), file.release(), file.banners(), file.kernel_sizes(), file.bug_lines(&[Svma(0)]));
            for segment in file.info().segments.iter().take(8) {
                let end = Svma(segment.svma.0.saturating_add(segment.size));
                let _ = (file.patched(segment.svma, end), file.callee(Svma(segment.svma.0.wrapping_add(5))));
            }
        }
    }
}

/// Looks up addresses in a file of which parts of the debug info are in another, as split DWARF, as a package of it and as a supplementary
/// file: four bytes say how long the file is, the part is the rest.
pub fn debug_parts(data: &[u8]) {
    let Some((length, rest)) = data.split_first_chunk::<4>() else { return };
    let (main, part) = rest.split_at((u32::from_le_bytes(*length) as usize).min(rest.len()));
    let read = || PartFile::read(part.to_vec().into());
    let (Ok(file), Ok(sup), Ok(split)) = (object::File::parse(main), read(), read()) else { return };
    let _ = (altlink::link(&file), altlink::ids(&sup).count());
    let (splits, places, units) = (Splits::holding(split), Places::default(), UnitIndex::default());
    let finder = Some(Finder { splits: &splits, file: Path::new("input"), places: &places });
    let sections = Sections::load(&file).with_sup(Some(&sup));
    let text = object::Object::section_by_name(&file, ".text").map_or(0, |section| object::ObjectSection::address(&section));
    let probes: Vec<Svma> = (0..40).map(|n| Svma(text.wrapping_add(n * 2))).collect();
    let located = locate(&sections, &main.to_vec().into(), &units, finder, &probes);
    assert_eq!(located.len(), probes.len(), "every question has an answer");
    probes.iter().for_each(|probe| drop(dwarf::function_at(&sections, &units, finder, *probe)));
    let _ = (dwarf::skeletons(&sections), splits.missing());
}
