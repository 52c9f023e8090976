//! JSON (`kstack/1`): one object for all reports, or one line for each stack. Addresses are strings, absent facts `null`.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::io::{self, Write};

use serde::Serialize;
use serde::ser::SerializeSeq;

use super::code::JsonCode;
use super::locks::{JsonLock, JsonTask, JsonWait};
use super::zones::JsonZone;
use super::{Output, Report, Style};
use crate::group::zones::ranked;
use crate::model::addr::Avma;
use crate::model::crash::{Blamed, Crash};
use crate::model::frame::{Answer, Excerpt, Location};
use crate::model::stack::{Lookup, RawFrame, Role, Stack};
use crate::note::Note;
use crate::place::Image;
use crate::place::proof::Evidence;
use crate::title::Guilty;

/// The version of the form; fields may be added to it, not renamed.
pub const SCHEMA: &str = "kstack/1";

/// One object.
pub struct Json;
/// One line for each stack.
pub struct NdJson;

impl Output for Json {
    fn id(&self) -> &'static str {
        "json"
    }
    fn about(&self) -> &'static str {
        "one JSON object with every report, stack and frame"
    }
    fn write(&self, reports: &[Report<'_>], warnings: &[Note], _: Style, out: &mut dyn Write) -> io::Result<()> {
        #[derive(Serialize)]
        struct All<'a> {
            schema: &'static str,
            reports: Vec<WholeReport<'a>>,
            warnings: Vec<String>,
        }
        let reports = reports.iter().map(WholeReport::of).collect();
        let all = All { schema: SCHEMA, reports, warnings: texts(warnings) };
        serde_json::to_writer(&mut *out, &all)?;
        out.write_all(b"\n")
    }
}

impl Output for NdJson {
    fn id(&self) -> &'static str {
        "ndjson"
    }
    fn about(&self) -> &'static str {
        "one JSON line for each stack, with its report's fields and the images that it runs through"
    }
    fn write(&self, reports: &[Report<'_>], warnings: &[Note], _: Style, out: &mut dyn Write) -> io::Result<()> {
        #[derive(Serialize)]
        struct Line<'a> {
            schema: &'static str,
            #[serde(flatten)]
            head: Head<'a>,
            images: Vec<JsonImage<'a>>,
            stack: JsonStack<'a>,
            #[serde(skip_serializing_if = "Vec::is_empty")]
            tasks_with_locks: Vec<JsonTask<'a>>,
            warnings: &'a [String],
        }
        let warnings = texts(warnings);
        for report in reports {
            for (at, stack) in report.capture.stacks.iter().enumerate() {
                let used: BTreeSet<usize> = (0..stack.frames.len()).filter_map(|n| report.resolved.answer(at, n).image).collect();
                let images = used.iter().map(|image| JsonImage::of(&report.layout.images[*image])).collect();
                // On the first line only: there can be as many of them as of stacks.
                let tasks_with_locks = if at == 0 { JsonTask::all(report.capture) } else { Vec::new() };
                let stack = JsonStack::of(report, at, stack);
                let line = Line { schema: SCHEMA, head: Head::of(report), images, stack, tasks_with_locks, warnings: &warnings };
                serde_json::to_writer(&mut *out, &line)?;
                out.write_all(b"\n")?;
            }
        }
        Ok(())
    }
}

/// Notes as the JSON's `warnings`.
pub fn texts(notes: &[Note]) -> Vec<String> {
    notes.iter().map(Note::to_string).collect()
}

fn images<'a>(report: &Report<'a>) -> Vec<JsonImage<'a>> {
    report.layout.images.iter().map(JsonImage::of).collect()
}

#[derive(Serialize)]
struct WholeReport<'a> {
    #[serde(flatten)]
    head: Head<'a>,
    images: Vec<JsonImage<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tasks_with_locks: Vec<JsonTask<'a>>,
    stacks: Stacks<'a>,
}

impl<'a> WholeReport<'a> {
    fn of(report: &'a Report<'a>) -> WholeReport<'a> {
        let tasks_with_locks = JsonTask::all(report.capture);
        WholeReport { head: Head::of(report), images: images(report), tasks_with_locks, stacks: Stacks(report) }
    }
}

/// Written one by one, so that a dump of a million frames is never in memory twice.
struct Stacks<'a>(&'a Report<'a>);

impl Serialize for Stacks<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let stacks = &self.0.capture.stacks;
        let mut list = serializer.serialize_seq(Some(stacks.len()))?;
        for (at, stack) in stacks.iter().enumerate() {
            list.serialize_element(&JsonStack::of(self.0, at, stack))?;
        }
        list.end()
    }
}

/// What a report is, without its images and stacks.
#[derive(Serialize)]
pub struct Head<'a> {
    source: &'a str,
    format: &'static str,
    os: Option<&'static str>,
    arch: Option<&'static str>,
    kernel_version: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    os_build: Option<&'a str>,
    slide: Option<String>,
    slide_from: Option<&'a str>,
    title: Option<&'a str>,
    guilty: Option<JsonGuilty<'a>>,
    /// Each crash of a report that tells of several, the first too.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    crashes: Vec<JsonCrash<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    remarks: Vec<JsonRemark<'a>>,
    /// Zones of the kernel's allocator, the most suspect first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    zones: Vec<JsonZone<'a>>,
}

/// What is said below a line of the report.
#[derive(Serialize)]
struct JsonRemark<'a> {
    line: u32,
    text: &'a str,
}

#[derive(Serialize)]
struct JsonGuilty<'a> {
    function: &'a str,
    module: Option<&'a str>,
    file: Option<&'a str>,
    reason: &'a str,
    /// Stack and frame, counted from 0.
    stack: Option<usize>,
    frame: Option<usize>,
}

impl<'a> JsonGuilty<'a> {
    fn of(guilty: &'a Guilty) -> JsonGuilty<'a> {
        JsonGuilty {
            function: &guilty.function,
            module: guilty.module.as_deref(),
            file: guilty.file.as_deref(),
            reason: &guilty.reason,
            stack: guilty.stack,
            frame: guilty.frame,
        }
    }
}

/// One of several crashes of a report.
#[derive(Serialize)]
struct JsonCrash<'a> {
    title: &'a str,
    line: u32,
    guilty: Option<JsonGuilty<'a>>,
}

impl<'a> JsonCrash<'a> {
    /// All crashes, the first too; none where the report's own title says everything.
    fn all(first: &'a Crash) -> Vec<JsonCrash<'a>> {
        let one = |crash: &'a Crash| JsonCrash { title: &crash.title, line: crash.line, guilty: crash.guilty.as_ref().map(JsonGuilty::of) };
        let shown = if first.later.is_empty() { None } else { Some(first) };
        shown.into_iter().chain(&first.later).map(one).collect()
    }
}

impl<'a> Head<'a> {
    /// The head of `report`.
    pub fn of(report: &Report<'a>) -> Head<'a> {
        let (capture, layout) = (report.capture, report.layout);
        Head {
            source: report.source,
            format: capture.format,
            os: capture.os.map(|os| os.name()),
            arch: capture.arch.map(|arch| arch.name()),
            kernel_version: capture.kernel_version.as_deref(),
            os_build: capture.os_build.as_deref(),
            slide: layout.slide.map(|slide| slide.to_string()),
            slide_from: layout.slide.map(|_| layout.slide_from.as_str()),
            title: report.crash.map(|crash| crash.title.as_str()),
            guilty: report.crash.and_then(|crash| crash.guilty.as_ref()).map(JsonGuilty::of),
            crashes: report.crash.map(JsonCrash::all).unwrap_or_default(),
            remarks: capture.remarks.iter().map(|remark| JsonRemark { line: remark.line, text: &remark.text }).collect(),
            zones: ranked(&capture.zones).into_iter().map(JsonZone::of).collect(),
        }
    }
}

/// An image; also what `modules --format json` prints.
#[derive(Serialize)]
pub struct JsonImage<'a> {
    name: &'a str,
    version: Option<&'a str>,
    uuid: Option<String>,
    load_address: Option<String>,
    size: Option<u64>,
    file: Option<String>,
    file_uuid: Option<String>,
    status: &'static str,
    debug_info: bool,
    kernel: bool,
    placed_by: Option<&'a str>,
    reason: Option<&'a str>,
    pairs_agree: Option<usize>,
    pairs: Option<usize>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    dependency_of: &'a [String],
    #[serde(skip_serializing_if = "Vec::is_empty")]
    evidence: Vec<JsonEvidence<'a>>,
}

/// One piece of evidence about an image's symbol file.
#[derive(Serialize)]
struct JsonEvidence<'a> {
    kind: &'static str,
    contradicts: bool,
    text: &'a str,
}

impl<'a> JsonImage<'a> {
    /// The JSON form of `image`.
    pub fn of(image: &'a Image) -> JsonImage<'a> {
        let file_id = image.program.as_ref().and_then(|program| program.id());
        let file_id = file_id.or(image.refused.as_ref().and_then(|refused| refused.found));
        JsonImage {
            name: &image.name,
            version: image.version.as_deref(),
            uuid: image.wanted.or(file_id).map(|id| id.to_string()),
            load_address: image.load.map(hex),
            size: image.size,
            file: image.file().map(|path| path.display().to_string()),
            file_uuid: file_id.map(|id| id.to_string()),
            status: image.status().name(),
            debug_info: image.program.as_ref().is_some_and(|program| program.has_debug_info()),
            kernel: image.kernel,
            dependency_of: &image.needed_by,
            placed_by: Some(image.placed_by.as_str()).filter(|from| !from.is_empty()),
            reason: image.refused.as_ref().map(|refused| refused.why.as_str()).or(image.other_build.as_deref()),
            pairs_agree: image.pairs.map(|(agree, _)| agree),
            pairs: image.pairs.map(|(_, all)| all),
            evidence: image.evidence.iter().map(JsonEvidence::of).collect(),
        }
    }
}

impl<'a> JsonEvidence<'a> {
    fn of(evidence: &'a Evidence) -> JsonEvidence<'a> {
        JsonEvidence { kind: evidence.kind.name(), contradicts: evidence.contradicts, text: &evidence.text }
    }
}

fn hex(address: Avma) -> String {
    address.to_string()
}

/// What a crash's title says about a stack.
#[derive(Serialize)]
pub struct JsonBlamed<'a> {
    title: &'a str,
    /// Number of the guilty frame, from 0.
    frame: usize,
}

impl<'a> JsonBlamed<'a> {
    /// The JSON form of `blamed`.
    pub fn of(blamed: &'a Blamed) -> JsonBlamed<'a> {
        JsonBlamed { title: &blamed.title, frame: blamed.frame }
    }
}

#[derive(Serialize)]
struct JsonStack<'a> {
    kind: &'static str,
    title: Option<&'a str>,
    pid: Option<i64>,
    tid: Option<&'a str>,
    process: Option<&'a str>,
    thread: Option<&'a str>,
    cpu: Option<u32>,
    state: Option<&'a str>,
    wait_channel: Option<&'a str>,
    count: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<u64>,
    line: u32,
    /// Addresses that stand beside the report's stacks, and no chain.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    aside: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    workqueue: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    command_line: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cgroup: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    held_locks: Option<Vec<JsonLock<'a>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    waits_for: Option<JsonWait<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    code: Vec<JsonCode<'a>>,
    frames: Vec<JsonFrame<'a>>,
    user_frames: Vec<UserFrame<'a>>,
}

impl<'a> JsonStack<'a> {
    fn of(report: &Report<'a>, at: usize, stack: &'a Stack) -> JsonStack<'a> {
        JsonStack {
            kind: stack.kind.name(),
            title: stack.title.as_deref(),
            pid: stack.pid,
            tid: stack.tid.as_deref(),
            process: stack.process.as_deref(),
            thread: stack.thread.as_deref(),
            cpu: stack.cpu,
            state: stack.state.as_deref(),
            wait_channel: stack.wait_channel.as_deref(),
            count: stack.count,
            bytes: stack.bytes,
            line: stack.line,
            aside: stack.aside,
            workqueue: stack.annotations.as_ref().and_then(|told| told.workqueue.as_deref()),
            command_line: stack.annotations.as_ref().and_then(|told| told.command_line.as_deref()),
            cgroup: stack.annotations.as_ref().and_then(|told| told.cgroup.as_deref()),
            held_locks: JsonLock::held(&stack.annotations),
            waits_for: JsonWait::waiting(&stack.annotations),
            code: stack.code.iter().map(JsonCode::of).collect(),
            frames: stack.frames.iter().enumerate().map(|(n, frame)| JsonFrame::of(report, at, n, frame)).collect(),
            user_frames: UserFrame::all(report, stack),
        }
    }
}

/// A frame.
#[derive(Serialize)]
pub struct JsonFrame<'a> {
    line: u32,
    /// What the report calls an address that stands in other words.
    #[serde(skip_serializing_if = "Option::is_none")]
    label: Option<Cow<'a, str>>,
    address: Option<String>,
    module: Option<Cow<'a, str>>,
    symbol: Option<Cow<'a, str>>,
    offset: Option<u64>,
    /// Bytes from the image's load address, of a frame without a symbol.
    #[serde(skip_serializing_if = "Option::is_none")]
    image_offset: Option<u64>,
    size: Option<u64>,
    reliable: bool,
    /// Whether the address is the very instruction, not a return address.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    exact: bool,
    role: &'static str,
    trust: &'static str,
    /// Why there is no symbol.
    reason: Option<&'static str>,
    /// The nearest symbol below an address that nothing names.
    after: Option<After<'a>>,
    locations: Vec<JsonLocation<'a>>,
    /// What an ambiguous symbol may mean, each as `locations`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    candidates: Vec<Vec<JsonLocation<'a>>>,
}

#[derive(Serialize)]
struct After<'a> {
    symbol: &'a str,
    offset: Option<u64>,
}

impl<'a> JsonFrame<'a> {
    /// The JSON form of frame `n` of stack `stack`.
    pub fn of(report: &Report<'a>, stack: usize, n: usize, frame: &RawFrame) -> JsonFrame<'a> {
        let answer = report.resolved.answer(stack, n);
        let named = report.name_of(frame, answer);
        let image = answer.image.map(|image| &report.layout.images[image]).filter(|_| named.symbol.is_none());
        let image_offset = image.and_then(|image| image.offset_of(frame.address?));
        JsonFrame {
            line: frame.line,
            label: report.printed(frame, frame.label),
            address: frame.address.map(hex),
            module: named.module,
            symbol: named.symbol,
            offset: named.offset,
            image_offset,
            size: named.size,
            reliable: frame.reliable,
            exact: frame.lookup == Lookup::Exact,
            role: frame.role.name(),
            trust: named.trust.name(),
            reason: answer.reason.map(super::summary::advice),
            after: answer
                .symbol
                .as_ref()
                .filter(|symbol| !symbol.contains)
                .map(|symbol| After { symbol: &symbol.name, offset: answer.offset }),
            locations: locations(report, frame, answer, named.by_report),
            candidates: answer.candidates.iter().map(|places| places.iter().map(JsonLocation::of).collect()).collect(),
        }
    }
}

/// Where the frame stands: as looked up, else as the report itself says.
fn locations<'a>(report: &Report<'a>, frame: &RawFrame, answer: &'a Answer, by_report: bool) -> Vec<JsonLocation<'a>> {
    if !by_report || frame.location.is_empty() {
        return answer.locations.iter().map(JsonLocation::of).collect();
    }
    let (file, line) = report.printed_location(frame).unzip();
    let function = std::str::from_utf8(frame.symbol.of(report.text, frame.line_start)).ok();
    vec![JsonLocation { function, file, line: line.flatten(), column: None, inlined: frame.role == Role::Inline, source: None }]
}

/// A source location; also what `lookup --format json` prints.
#[derive(Serialize)]
pub struct JsonLocation<'a> {
    function: Option<&'a str>,
    file: Option<&'a str>,
    line: Option<u32>,
    column: Option<u32>,
    inlined: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<JsonSource<'a>>,
}

/// Lines of a source file around a location.
#[derive(Serialize)]
struct JsonSource<'a> {
    /// Where the file lies on the machine that ran kstack.
    path: &'a str,
    /// Number of the first of `lines`.
    first: u32,
    lines: &'a [String],
}

impl<'a> JsonLocation<'a> {
    /// The JSON form of `location`.
    pub fn of(location: &'a Location) -> JsonLocation<'a> {
        JsonLocation {
            function: location.function.as_deref(),
            file: location.file.as_deref(),
            line: location.line,
            column: location.column,
            inlined: location.inlined,
            source: location.source.as_deref().map(JsonSource::of),
        }
    }
}

impl<'a> JsonSource<'a> {
    fn of(excerpt: &'a Excerpt) -> JsonSource<'a> {
        JsonSource { path: &excerpt.path, first: excerpt.first, lines: &excerpt.lines }
    }
}

#[derive(Serialize)]
struct UserFrame<'a> {
    line: u32,
    address: Option<String>,
    module: Option<Cow<'a, str>>,
    symbol: Option<Cow<'a, str>>,
    offset: Option<u64>,
}

impl<'a> UserFrame<'a> {
    fn all(report: &Report<'a>, stack: &Stack) -> Vec<UserFrame<'a>> {
        let bare = |address| UserFrame { line: stack.line, address: Some(hex(address)), module: None, symbol: None, offset: None };
        let frames = stack.user_frames.iter().map(|frame| UserFrame::of(report, frame));
        frames.chain(stack.user_addresses.iter().copied().map(bare)).collect()
    }

    fn of(report: &Report<'a>, frame: &RawFrame) -> UserFrame<'a> {
        UserFrame {
            line: frame.line,
            address: frame.address.map(hex),
            module: report.printed(frame, frame.module),
            symbol: report.printed(frame, frame.symbol),
            offset: frame.offset,
        }
    }
}
