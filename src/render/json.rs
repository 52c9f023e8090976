//! JSON (`kstack/1`): one object for all reports, or one line for each stack. Addresses are strings, absent facts `null`.

use std::collections::BTreeSet;
use std::io::{self, Write};

use serde::Serialize;
use serde::ser::SerializeSeq;

use super::code::JsonCode;
pub use super::json_frame::{JsonFrame, JsonLocation};
use super::json_frame::{UserFrame, hex};
use super::locks::{JsonLock, JsonTask, JsonWait, JsonWaker};
use super::zones::{self, JsonZone};
use super::{Output, Report, Style};
use crate::group::zones::ranked;
use crate::model::crash::{Blamed, Crash};
use crate::model::stack::Stack;
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
            // Zones belong to no stack: each has a line of its own.
            zones::ndjson(report, out)?;
            for (at, stack) in report.capture.stacks.iter().enumerate() {
                let used: BTreeSet<usize> = (0..stack.frames.len()).filter_map(|n| report.resolved.answer(at, n).image).collect();
                let images = used.iter().map(|image| JsonImage::of(&report.layout.images[*image])).collect();
                // On the first line only: there can be as many of them as of stacks.
                let tasks_with_locks = if at == 0 { JsonTask::all(report.capture) } else { Vec::new() };
                let stack = JsonStack::of(report, at, stack);
                let head = Head { zones: Vec::new(), ..Head::of(report) };
                let line = Line { schema: SCHEMA, head, images, stack, tasks_with_locks, warnings: &warnings };
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
    /// Whether the addresses have the slide in them.
    #[serde(skip_serializing_if = "Option::is_none")]
    addresses: Option<&'static str>,
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
    /// The function that the file is of, where it is not the guilty one's.
    #[serde(skip_serializing_if = "Option::is_none")]
    file_of: Option<&'a str>,
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
            file_of: guilty.file_of.as_deref(),
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
            addresses: layout.basis_is_said.then(|| layout.basis.name()),
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
    /// Where its `__TEXT_EXEC` lies, where that is stated apart (arm64), and its bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    exec_address: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    exec_size: Option<u64>,
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
            uuid: image.wanted.map(|id| id.to_string()),
            load_address: image.load.map(hex),
            size: image.size,
            exec_address: image.exec.map(|(exec, _)| hex(exec)),
            exec_size: image.exec.and_then(|(_, size)| size),
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
    #[serde(skip_serializing_if = "Option::is_none")]
    woken_by: Option<JsonWaker<'a>>,
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
            woken_by: JsonWaker::of(stack),
            code: stack.code.iter().map(JsonCode::of).collect(),
            frames: stack.frames.iter().enumerate().map(|(n, frame)| JsonFrame::of(report, at, n, frame)).collect(),
            user_frames: UserFrame::all(report, stack),
        }
    }
}
