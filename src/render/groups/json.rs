//! Groups as JSON (`kstack/1`). kstack reads this as a report again, so that groups of many machines merge.

use std::io::{self, Write};

use std::collections::BTreeMap;

use serde::Serialize;

use super::{GroupOutput, View, heading};
use crate::group::{Group, Groups};
use crate::model::group::Tally;
use crate::model::stack::StackKind;
use crate::note::Note;
use crate::render::json::{Head, JsonBlamed, JsonFrame, SCHEMA, texts};
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
            warnings: Vec<String>,
        }
        let tallies: Vec<Tally> = groups.list.iter().map(|group| groups.tally(group)).collect();
        let list = groups.list.iter().zip(&tallies).map(|(group, tally)| JsonGroup::of(groups, group, tally)).collect();
        let reports = groups.reports.iter().map(Head::of).collect();
        let all = All { schema: SCHEMA, reports, triage: view.triage.then(|| triage(groups)), groups: list, warnings: texts(notes) };
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
    fn write(&self, groups: &Groups<'_, '_>, _: &[Note], _: View, out: &mut dyn Write) -> io::Result<()> {
        #[derive(Serialize)]
        struct Line<'a> {
            schema: &'static str,
            #[serde(flatten)]
            group: JsonGroup<'a>,
        }
        for group in &groups.list {
            let tally = groups.tally(group);
            serde_json::to_writer(&mut *out, &Line { schema: SCHEMA, group: JsonGroup::of(groups, group, &tally) })?;
            out.write_all(b"\n")?;
        }
        Ok(())
    }
}

#[derive(Serialize)]
struct JsonGroup<'a> {
    fingerprint: &'a str,
    count: u64,
    kind: &'static str,
    os: Option<&'static str>,
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
}

impl<'a> JsonGroup<'a> {
    fn of(groups: &Groups<'_, 'a>, group: &'a Group, tally: &'a Tally) -> JsonGroup<'a> {
        let report = &groups.reports[group.shown.report as usize];
        let at = group.shown.stack as usize;
        JsonGroup {
            fingerprint: &group.fingerprint,
            count: group.count,
            kind: group.kind.name(),
            os: report.capture.os.map(|os| os.name()),
            name: heading(groups, group),
            title: groups.stack(group.shown).title.as_deref().filter(|_| group.kind != StackKind::Thread),
            blamed: groups.blamed(group).map(JsonBlamed::of),
            states: &tally.states,
            wait_channels: &tally.wait_channels,
            processes: &tally.processes,
            members: tally.members.iter().map(|member| JsonMember::of(groups, member)).collect(),
            frames: groups.stack(group.shown).frames.iter().enumerate().map(|(n, frame)| JsonFrame::of(report, at, n, frame)).collect(),
        }
    }
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
            count: member.count,
        }
    }
}
