//! What the page's script is told, as JSON. Every text that comes from a report or file is a [`Shown`], in which nothing reorders or
//! drives the text around it; long lists are cut, and the number of all is said.

use std::collections::BTreeMap;
use std::ops::Deref;

use rustc_hash::FxHashMap;
use serde::Serialize;

use super::embed::Embedded;
use super::triage::{self, Crash, Verdict};
use crate::group::{Group, Groups, StackRef};
use crate::model::group::Tally;
use crate::model::stack::{Role, StackKind};
use crate::note::Note;
use crate::place::Image;

use crate::render::groups::{frame, numbered, ranked};
use crate::render::sanitize::visible_line;
use crate::render::summary::{Summary, advice};
use crate::render::{Report, Style, modules};
use crate::triage::rules::is_blocked;

/// Groups in one page; the most frequent ones.
pub const MOST_GROUPS: usize = 10_000;
/// Members listed of one group.
pub const MOST_MEMBERS: usize = 500;
/// Names listed of one group.
const MOST_NAMES: usize = 50;
/// Images listed of one report.
const MOST_IMAGES: usize = 2_000;
/// Reports described one by one.
const MOST_REPORTS: usize = 1_000;
/// Warnings listed.
const MOST_WARNINGS: usize = 200;

/// Text of a report or file, with what a terminal or a bidirectional reader would obey made visible.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Shown(String);

impl From<&str> for Shown {
    fn from(text: &str) -> Shown {
        Shown(visible_line(text))
    }
}

impl Deref for Shown {
    type Target = str;
    fn deref(&self) -> &str {
        &self.0
    }
}

/// Everything that the page shows but the reports' text.
#[derive(Serialize)]
pub struct Page<'a> {
    /// Who made the page.
    pub generator: &'static str,
    /// Its title.
    pub title: Shown,
    /// What is wrong.
    pub verdicts: Vec<Verdict>,
    /// The reports, as far as they are listed.
    pub reports: Vec<PageReport>,
    /// How many reports there are.
    pub all_reports: usize,
    /// Threads in all groups.
    pub threads: u64,
    /// Those of them that cannot be interrupted.
    pub blocked: u64,
    /// By state, most frequent first.
    pub states: Names,
    /// Groups, as far as they are listed.
    pub groups: Vec<PageGroup<'a>>,
    /// How many groups there are.
    pub all_groups: usize,
    /// Frames, each once.
    pub frames: Vec<PageFrame>,
    /// What went wrong.
    pub warnings: Vec<Shown>,
    /// How many things went wrong.
    pub all_warnings: usize,
}

/// Counted names, most frequent first, and how many there are.
#[derive(Serialize, Default)]
pub struct Names {
    /// The first of them.
    pub list: Vec<(Shown, u64)>,
    /// How many there are.
    pub all: usize,
}

impl Names {
    fn of(counts: &BTreeMap<String, u64>) -> Names {
        let list = ranked(counts).into_iter().take(MOST_NAMES).map(|(name, count)| (Shown::from(name), count)).collect();
        Names { list, all: counts.len() }
    }
}

/// One report.
#[derive(Serialize)]
pub struct PageReport {
    source: Shown,
    format: &'static str,
    os: Option<&'static str>,
    arch: Option<&'static str>,
    kernel_version: Option<Shown>,
    slide: Option<String>,
    stacks: u64,
    resolved: Shown,
    crash: Option<Crash>,
    images: Vec<PageImage>,
    all_images: usize,
    bytes: usize,
    /// Whether the page has the report's own text: only there do numbers of lines of evidence lead.
    own_text: bool,
    /// Why the text is not whole, or not the file's.
    cut: Option<String>,
}

impl PageReport {
    fn of(report: &Report<'_>, text: &Embedded) -> PageReport {
        let (capture, layout) = (report.capture, report.layout);
        PageReport {
            source: report.source.into(),
            format: capture.format,
            os: capture.os.map(|os| os.name()),
            arch: capture.arch.map(|arch| arch.name()),
            kernel_version: capture.kernel_version.as_deref().map(Shown::from),
            slide: layout.slide.map(|slide| slide.to_string()),
            stacks: capture.stacks.iter().filter(|stack| !stack.aside).map(|stack| stack.count).fold(0, u64::saturating_add),
            resolved: Shown::from(&*Summary::of(report).text()),
            crash: triage::crash(report),
            images: layout.images.iter().take(MOST_IMAGES).map(PageImage::of).collect(),
            all_images: layout.images.len(),
            bytes: report.text.len(),
            own_text: text.is_own(),
            cut: text.cut.clone(),
        }
    }
}

/// One image.
#[derive(Serialize)]
struct PageImage {
    name: Shown,
    version: Option<Shown>,
    load: Option<String>,
    size: Option<String>,
    id: Option<String>,
    status: &'static str,
    file: Option<Shown>,
    why: Option<Shown>,
}

impl PageImage {
    fn of(image: &Image) -> PageImage {
        let file_id = image.program.as_ref().and_then(|program| program.id());
        PageImage {
            name: Shown::from(&*image.name),
            version: image.version.as_deref().map(Shown::from),
            load: modules::address(image),
            size: image.size.or(image.exec.and_then(|(_, size)| size)).map(|size| format!("{size:#x}")),
            id: image.wanted.or(file_id).map(|id| id.to_string()),
            status: image.status().name(),
            file: image.file().map(|path| Shown::from(&*path.display().to_string())),
            why: image.refused.as_ref().map(|refused| refused.why.as_str()).or(image.other_build.as_deref()).map(Shown::from),
        }
    }
}

/// One group.
#[derive(Serialize)]
pub struct PageGroup<'a> {
    /// Its fingerprint.
    pub fingerprint: &'a str,
    /// How many threads stand there.
    pub count: u64,
    /// What they are.
    pub kind: &'static str,
    /// The function that names it, with its module.
    pub name: Option<Shown>,
    /// By state.
    pub states: Names,
    /// By wait channel.
    waits: Names,
    /// By process, numbers in names left out.
    pub processes: Names,
    /// Where the first members stand: report, line of the page's text, thread id, process.
    members: Vec<(u32, u32, Option<Shown>, Option<Shown>)>,
    all_members: usize,
    /// Report of the frames, from 0.
    report: u32,
    /// Number of each frame and its line in the page's text, innermost first.
    frames: Vec<(u32, u32)>,
    /// Index of the frame that names the group.
    interesting: Option<usize>,
}

impl<'a> PageGroup<'a> {
    fn of(groups: &Groups<'_, '_>, group: &'a Group, tally: &Tally, table: &mut FrameTable, texts: &[Embedded]) -> PageGroup<'a> {
        let at = group.shown;
        let (stack, text) = (groups.stack(at), &texts[at.report as usize]);
        PageGroup {
            fingerprint: &group.fingerprint,
            count: group.count,
            kind: group.kind.name(),
            name: group.interesting.map(|n| Shown::from(&*groups.name(at, n).to_string())),
            states: Names::of(&tally.states),
            waits: Names::of(&tally.wait_channels),
            processes: Names::of(&numbered(&tally.processes)),
            members: group.members.iter().take(MOST_MEMBERS).map(|member| member_of(groups, *member, texts)).collect(),
            all_members: group.members.len(),
            report: at.report,
            frames: (0..stack.frames.len()).map(|n| (table.number(groups, at, n), text.frame_line(at.stack as usize, n, stack))).collect(),
            interesting: group.interesting,
        }
    }
}

fn member_of(groups: &Groups<'_, '_>, at: StackRef, texts: &[Embedded]) -> (u32, u32, Option<Shown>, Option<Shown>) {
    let stack = groups.stack(at);
    let id = stack.tid.clone().or_else(|| stack.pid.map(|pid| pid.to_string()));
    (
        at.report,
        texts[at.report as usize].line(at.stack as usize, stack),
        id.as_deref().map(Shown::from),
        stack.process.as_deref().map(Shown::from),
    )
}

/// One frame.
#[derive(Serialize)]
pub struct PageFrame {
    /// As it is written in text, and the lines below.
    text: Shown,
    below: Vec<Shown>,
    /// What it is called in the flame graph, and its module.
    function: Shown,
    module: Shown,
    /// Functions inlined here, innermost first.
    inlined: Vec<Shown>,
    /// The name in `text` that is to stand out.
    symbol: Option<Shown>,
    reliable: bool,
    role: &'static str,
    trust: &'static str,
    /// Why there is no symbol.
    why: Option<&'static str>,
}

impl PageFrame {
    fn of(groups: &Groups<'_, '_>, at: StackRef, n: usize) -> PageFrame {
        let report = &groups.reports[at.report as usize];
        let raw = &groups.stack(at).frames[n];
        let answer = report.resolved.answer(at.stack as usize, n);
        let named = report.named(at.stack as usize, n);
        let written = frame(groups, at, n, Style::default());
        let inlined = answer.locations.iter().filter(|location| location.inlined).filter_map(|location| location.function.as_deref());
        let name = groups.name(at, n);
        PageFrame {
            text: Shown::from(&*written.line),
            below: written.below.iter().map(|line| Shown::from(line.trim())).collect(),
            function: Shown::from(&*name.function),
            module: Shown::from(&*name.module),
            inlined: inlined.map(|function| Shown::from(crate::names::base_name(function))).collect(),
            symbol: named.symbol.as_deref().map(Shown::from),
            reliable: raw.reliable,
            role: raw.role.name(),
            trust: named.trust.name(),
            why: answer.reason.filter(|_| !named.by_report).map(advice),
        }
    }
}

/// Frames that look the same have one number.
#[derive(Default)]
struct FrameTable {
    frames: Vec<PageFrame>,
    known: FxHashMap<(u32, u32, bool, Role), u32>,
}

impl FrameTable {
    fn number(&mut self, groups: &Groups<'_, '_>, at: StackRef, n: usize) -> u32 {
        let answer = groups.reports[at.report as usize].resolved.frames[at.stack as usize][n];
        let raw = &groups.stack(at).frames[n];
        let frames = &mut self.frames;
        *self.known.entry((at.report, answer, raw.reliable, raw.role)).or_insert_with(|| {
            frames.push(PageFrame::of(groups, at, n));
            frames.len() as u32 - 1
        })
    }
}

impl<'a> Page<'a> {
    /// What is shown of `groups`.
    pub fn of(groups: &'a Groups<'_, '_>, notes: &[Note], texts: &[Embedded]) -> Page<'a> {
        let mut table = FrameTable::default();
        let mut states = BTreeMap::new();
        let mut blocked = 0u64;
        let mut list = Vec::new();
        for (n, group) in groups.list.iter().enumerate() {
            let tally = groups.tally(group);
            for (state, count) in &tally.states {
                crate::model::group::count_in(&mut states, state, *count);
                if group.kind == StackKind::Thread && is_blocked(state) {
                    blocked = blocked.saturating_add(*count);
                }
            }
            if n < MOST_GROUPS {
                list.push(PageGroup::of(groups, group, &tally, &mut table, texts));
            }
        }
        let reports: Vec<PageReport> =
            groups.reports.iter().zip(texts).take(MOST_REPORTS).map(|(report, text)| PageReport::of(report, text)).collect();
        Page {
            generator: concat!("kstack ", env!("CARGO_PKG_VERSION")),
            title: title(groups, &reports),
            verdicts: triage::verdicts(groups),
            reports,
            all_reports: groups.reports.len(),
            threads: groups.list.iter().fold(0, |sum, group| sum.saturating_add(group.count)),
            blocked,
            states: Names::of(&states),
            groups: list,
            all_groups: groups.list.len(),
            frames: table.frames,
            warnings: notes.iter().take(MOST_WARNINGS).map(|note| Shown::from(&*note.to_string())).collect(),
            all_warnings: notes.len(),
        }
    }
}

/// What the page is called: the crash, else the reports.
fn title(groups: &Groups<'_, '_>, reports: &[PageReport]) -> Shown {
    let crash = reports.iter().find_map(|report| report.crash.as_ref());
    let more = groups.reports.len().saturating_sub(1);
    let file = |report: &Report<'_>| report.source.rsplit('/').find(|part| !part.is_empty()).unwrap_or(report.source).to_string();
    let names = groups.reports.first().map_or("no report".to_string(), file);
    let names = if more > 0 { format!("{names} and {more} more") } else { names };
    crash.map_or_else(|| Shown::from(&*names), |crash| crash.title.clone())
}
