//! Groups as JSON (`kstack/1`). kstack reads this as a report again, so that groups of many machines merge.

use std::io::{self, Write};

use std::collections::BTreeMap;

use serde::Serialize;

use super::{GroupOutput, View, heading};
use crate::group::naming::NameId;
use crate::group::similar::{Differences, clusters, differences};
use crate::group::{Group, Groups};
use crate::model::group::Tally;
use crate::model::stack::StackKind;
use crate::note::Note;
use crate::render::json::{Head, JsonBlamed, JsonFrame, SCHEMA, texts};
use crate::render::locks::{JsonLock, JsonTask, JsonWait};
use crate::render::zones;
use crate::triage::{Verdict, triage};

/// One object.
pub struct Json;
/// One line for each group.
pub struct NdJson;

impl GroupOutput for Json {
    fn id(&self) -> &'static str {
        "json"
    }
    fn about(&self) -> &'static str {
        "one JSON object with every group, its members and frames; kstack reads it as a report"
    }
    fn write(&self, groups: &Groups<'_, '_>, notes: &[Note], view: View, out: &mut dyn Write) -> io::Result<()> {
        #[derive(Serialize)]
        struct All<'a> {
            schema: &'static str,
            reports: Vec<Head<'a>>,
            #[serde(skip_serializing_if = "Option::is_none")]
            triage: Option<Vec<Verdict>>,
            groups: Vec<JsonGroup<'a>>,
            #[serde(skip_serializing_if = "Vec::is_empty")]
            tasks_with_locks: Vec<JsonTask<'a>>,
            warnings: Vec<String>,
        }
        let tallies: Vec<Tally> = groups.list.iter().map(|group| groups.tally(group)).collect();
        let similar = similar(groups, view);
        let list = groups.list.iter().zip(&tallies).zip(similar);
        let list = list.map(|((group, tally), similar)| JsonGroup { similar, ..JsonGroup::of(groups, group, tally) }).collect();
        let reports = groups.reports.iter().map(Head::of).collect();
        let all = All {
            schema: SCHEMA,
            reports,
            triage: view.triage.then(|| triage(groups)),
            groups: list,
            tasks_with_locks: tasks(groups),
            warnings: texts(notes),
        };
        serde_json::to_writer(&mut *out, &all)?;
        out.write_all(b"\n")
    }
}

impl GroupOutput for NdJson {
    fn id(&self) -> &'static str {
        "ndjson"
    }
    fn about(&self) -> &'static str {
        "one JSON line for each group; kstack reads them as a report"
    }
    fn write(&self, groups: &Groups<'_, '_>, _: &[Note], view: View, out: &mut dyn Write) -> io::Result<()> {
        #[derive(Serialize)]
        struct Line<'a> {
            schema: &'static str,
            #[serde(flatten)]
            group: JsonGroup<'a>,
            /// Those of all reports, in the first line.
            #[serde(skip_serializing_if = "Vec::is_empty")]
            tasks_with_locks: Vec<JsonTask<'a>>,
        }
        for (at, (group, similar)) in groups.list.iter().zip(similar(groups, view)).enumerate() {
            let tally = groups.tally(group);
            let tasks_with_locks = if at == 0 { tasks(groups) } else { Vec::new() };
            let group = JsonGroup { similar, ..JsonGroup::of(groups, group, &tally) };
            serde_json::to_writer(&mut *out, &Line { schema: SCHEMA, group, tasks_with_locks })?;
            out.write_all(b"\n")?;
        }
        groups.reports.iter().try_for_each(|report| zones::ndjson(report, out))
    }
}

/// Locks of tasks without a stack, of all reports.
fn tasks<'a>(groups: &Groups<'_, 'a>) -> Vec<JsonTask<'a>> {
    groups.reports.iter().flat_map(|report| JsonTask::all_of(report.source, report.capture)).collect()
}

/// For each group the less frequent ones that are nearly the same, when that is wanted.
fn similar<'a>(groups: &'a Groups<'_, '_>, view: View) -> Vec<Vec<JsonSimilar<'a>>> {
    let mut similar: Vec<Vec<JsonSimilar<'a>>> = groups.list.iter().map(|_| Vec::new()).collect();
    for cluster in if view.similar { clusters(groups) } else { Vec::new() } {
        let head = &groups.list[cluster.head];
        similar[cluster.head] = cluster.others.iter().map(|other| JsonSimilar::of(groups, head, &groups.list[*other])).collect();
    }
    similar
}

/// A group that differs in a frame or two.
#[derive(Serialize)]
struct JsonSimilar<'a> {
    fingerprint: &'a str,
    count: u64,
    /// Frames that only the more frequent group has, by their numbers there.
    gone: Vec<JsonDiffering>,
    /// Frames that only this one has, by its own numbers.
    new: Vec<JsonDiffering>,
}

#[derive(Serialize)]
struct JsonDiffering {
    /// Number of the frame, from 0.
    frame: usize,
    name: String,
}

impl<'a> JsonSimilar<'a> {
    fn of(groups: &Groups<'_, '_>, head: &Group, other: &'a Group) -> JsonSimilar<'a> {
        let Differences { gone, new } = differences(groups, head, other);
        let all = |frames: Vec<(usize, NameId)>| {
            frames.into_iter().map(|(frame, name)| JsonDiffering { frame, name: groups.naming.name(name).to_string() }).collect()
        };
        JsonSimilar { fingerprint: &other.fingerprint, count: other.count, gone: all(gone), new: all(new) }
    }
}

#[derive(Serialize)]
struct JsonGroup<'a> {
    fingerprint: &'a str,
    count: u64,
    /// Of all members, where reports count memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<u64>,
    kind: &'static str,
    os: Option<&'static str>,
    /// Whether the addresses of the frames have the slide in them.
    #[serde(skip_serializing_if = "Option::is_none")]
    addresses: Option<&'static str>,
    /// The interesting frame.
    name: Option<String>,
    /// The heading of a stack that is no thread's.
    title: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    blamed: Option<JsonBlamed<'a>>,
    states: &'a BTreeMap<String, u64>,
    wait_channels: &'a BTreeMap<String, u64>,
    processes: &'a BTreeMap<String, u64>,
    members: Vec<JsonMember<'a>>,
    frames: Vec<JsonFrame<'a>>,
    /// The most frequent stack of a group whose stacks differ, which then has no frames of its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    example: Option<JsonExample<'a>>,
    /// Less frequent groups that differ in a frame or two.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    similar: Vec<JsonSimilar<'a>>,
}

impl<'a> JsonGroup<'a> {
    fn of(groups: &Groups<'_, 'a>, group: &'a Group, tally: &'a Tally) -> JsonGroup<'a> {
        let report = &groups.reports[group.shown.report as usize];
        let at = group.shown.stack as usize;
        let stack = groups.stack(group.shown);
        let mut frames: Vec<JsonFrame<'a>> =
            stack.frames.iter().enumerate().map(|(n, frame)| JsonFrame::of(report, at, n, frame)).collect();
        let example = group.shared.as_ref().map(|shared| JsonExample {
            count: shared.alike,
            name: group.interesting.map(|n| groups.name(group.shown, n).to_string()),
            frames: std::mem::take(&mut frames),
        });
        let title = stack.title.as_deref().filter(|_| group.kind != StackKind::Thread);
        JsonGroup {
            fingerprint: &group.fingerprint,
            count: group.count,
            bytes: group.bytes,
            kind: group.kind.name(),
            os: report.capture.os.map(|os| os.name()),
            addresses: report.layout.basis_is_said.then(|| report.layout.basis.name()),
            name: heading(groups, group),
            // Without frames it is what tells groups apart when they are read again.
            title: group.shared.as_ref().map_or(title, |shared| Some(&shared.name)),
            blamed: groups.blamed(group).map(JsonBlamed::of),
            states: &tally.states,
            wait_channels: &tally.wait_channels,
            processes: &tally.processes,
            members: tally.members.iter().map(|member| JsonMember::of(groups, member)).collect(),
            frames,
            example,
            similar: Vec::new(),
        }
    }
}

/// What some members of a group have, and not all.
#[derive(Serialize)]
struct JsonExample<'a> {
    /// How many have it.
    count: u64,
    /// The interesting frame.
    name: Option<String>,
    frames: Vec<JsonFrame<'a>>,
}

#[derive(Serialize)]
struct JsonMember<'a> {
    /// Number of the report in `reports`; `null` for a member of groups that were read.
    report: Option<usize>,
    stack: u64,
    source: &'a str,
    pid: Option<i64>,
    tid: Option<&'a str>,
    process: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    workqueue: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    held_locks: Option<Vec<JsonLock<'a>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    waits_for: Option<JsonWait<'a>>,
    count: u64,
}

impl<'a> JsonMember<'a> {
    fn of(groups: &Groups<'_, '_>, member: &'a crate::model::group::Member) -> JsonMember<'a> {
        JsonMember {
            report: groups.reports.iter().position(|report| report.source == member.source),
            stack: member.stack,
            source: &member.source,
            pid: member.pid,
            tid: member.tid.as_deref(),
            process: member.process.as_deref(),
            state: member.state.as_deref(),
            workqueue: member.annotations.as_ref().and_then(|told| told.workqueue.as_deref()),
            held_locks: JsonLock::held(&member.annotations),
            waits_for: JsonWait::waiting(&member.annotations),
            count: member.count,
        }
    }
}
