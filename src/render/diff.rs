//! Writing what changed between two captures.

use std::collections::BTreeMap;
use std::io::{self, Write};

use serde::Serialize;

use super::groups::{heading, ranked};
use super::json::SCHEMA;
use super::sanitize::visible_line;
use super::wrap::wrapped;
use super::zones::{JsonZoneGrowth, grown};
use crate::group::diff::{Change, Diff, Thread};
use crate::group::zones::ZoneGrowth;
use crate::group::{Groups, StackRef};
use crate::model::stack::StackKind;

/// Names of functions or processes shown of one change.
const FEW: usize = 12;

/// For people: one line that answers whether it is slow or stuck, groups that grew, then who did what. `width` is that of the terminal,
/// if there is one.
///
/// # Errors
/// When writing fails.
pub fn text(groups: &Groups<'_, '_>, diff: &Diff, all: bool, width: Option<u16>, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "{}", wrapped(&answer(groups, diff), 4, width))?;
    if !are_profiles(groups, diff) {
        let counts: Vec<String> = Change::ALL.iter().map(|change| format!("{} {}", of(diff, *change).count(), change.name())).collect();
        writeln!(out, "{}", counts.join(", "))?;
    }
    let changed: Vec<_> = diff.groups.iter().filter(|growth| growth.old != growth.new).collect();
    if !changed.is_empty() {
        writeln!(out, "\ngroups (change, before → now)")?;
    }
    for growth in changed {
        let group = &groups.list[growth.group];
        let name = heading(groups, group).unwrap_or("no kernel frames".to_string());
        let change = growth.new as i128 - growth.old as i128;
        let line = format!("{change:+6}  {} → {}  {}  {}", growth.old, growth.new, visible_line(&name), group.fingerprint);
        writeln!(out, "{}", wrapped(&line, 8, width))?;
    }
    for change in Change::ALL {
        who(groups, diff, change, all, width, out)?;
    }
    Ok(())
}

fn of(diff: &Diff, change: Change) -> impl Iterator<Item = &Thread> {
    diff.threads.iter().filter(move |thread| thread.change == change)
}

/// Whether both captures have samples and nothing else, which are of no thread that could be followed.
fn are_profiles(groups: &Groups<'_, '_>, diff: &Diff) -> bool {
    let sampled = |at: &StackRef| groups.stack(*at).kind == StackKind::Sample;
    diff.threads.is_empty() && !groups.list.is_empty() && groups.list.iter().flat_map(|group| &group.members).all(sampled)
}

/// Slow or stuck, in a sentence.
fn answer(groups: &Groups<'_, '_>, diff: &Diff) -> String {
    let stateless = |thread: &&Thread| thread.new.is_some_and(|at| groups.stack(at).state.is_none());
    let unknown = match of(diff, Change::Stuck).filter(stateless).count() {
        0 => String::new(),
        count => format!("; of {count} the state is not told, so that idle ones can be among them"),
    };
    let count = |change| of(diff, change).count();
    let (stuck, going) = (count(Change::Stuck), count(Change::Moving) + count(Change::Changed));
    match (stuck, going) {
        _ if are_profiles(groups, diff) => {
            let changed = diff.groups.iter().filter(|growth| growth.old != growth.new).count();
            format!("profiles: {changed} of {} groups of stacks were seen more or less often", diff.groups.len())
        }
        _ if diff.threads.iter().all(|thread| thread.old.is_none() || thread.new.is_none()) => {
            "no thread is in both captures: ids are missing, or they are of different machines".to_string()
        }
        (0, 0) => "nothing moves and nothing is stuck: every thread that was there is idle".to_string(),
        (0, going) => format!("slow, not stuck: {going} threads went on"),
        (stuck, 0) => format!("stuck: {stuck} threads stand where they stood, none went on{unknown}"),
        (stuck, going) => format!("partly stuck: {stuck} threads stand where they stood, {going} went on{unknown}"),
    }
}

/// The threads of one change by the function that they stand in now, or stood in.
fn who(groups: &Groups<'_, '_>, diff: &Diff, change: Change, all: bool, width: Option<u16>, out: &mut dyn Write) -> io::Result<()> {
    let mut places: BTreeMap<String, u64> = BTreeMap::new();
    let mut names: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for thread in of(diff, change) {
        let Some(place) = place(groups, thread) else { continue };
        *places.entry(place.clone()).or_default() += 1;
        let stack = thread.new.or(thread.old).map(|at| groups.stack(at));
        let id = stack.and_then(|stack| stack.tid.clone().or_else(|| stack.pid.map(|pid| pid.to_string())));
        let process = stack.and_then(|stack| stack.process.clone()).unwrap_or_default();
        names.entry(place).or_default().push(format!("{process} {}", id.unwrap_or_default()));
    }
    if places.is_empty() {
        return Ok(());
    }
    writeln!(out, "\n{}", change.name())?;
    let limit = if all { usize::MAX } else { FEW };
    for (place, count) in ranked(&places).into_iter().take(limit) {
        let names = &names[place];
        let shown = names[..names.len().min(if all { usize::MAX } else { 4 })].join(", ");
        let more = if all || names.len() <= 4 { String::new() } else { format!(" and {} more", names.len() - 4) };
        let line = format!("{count:6}  {}: {}{more}", visible_line(place), visible_line(&shown));
        writeln!(out, "{}", wrapped(&line, 8, width))?;
    }
    if places.len() > limit {
        writeln!(out, "        and {} more places (--all-members)", places.len() - limit)?;
    }
    Ok(())
}

fn place(groups: &Groups<'_, '_>, thread: &Thread) -> Option<String> {
    let name = |at: StackRef| {
        let marks = |n| groups.mark(at, n);
        let frame = crate::group::key::interesting(groups.stack(at), marks);
        frame.map_or("no kernel frames".to_string(), |n| groups.name(at, n).to_string())
    };
    match (thread.change, thread.old, thread.new) {
        (Change::Changed, Some(old), Some(new)) => Some(format!("{} → {}", name(old), name(new))),
        (_, old, new) => new.or(old).map(name),
    }
}

/// For programs: one object.
///
/// # Errors
/// When writing fails.
pub fn json(groups: &Groups<'_, '_>, diff: &Diff, zones: &[ZoneGrowth], out: &mut dyn Write) -> io::Result<()> {
    #[derive(Serialize)]
    struct All<'a> {
        schema: &'static str,
        answer: String,
        changes: BTreeMap<&'static str, usize>,
        groups: Vec<JsonGrowth<'a>>,
        threads: Vec<JsonThread<'a>>,
        /// Zones of the kernel's allocator, where the captures have them; those that grew most first.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        zones: Vec<JsonZoneGrowth<'a>>,
    }
    let fingerprints: rustc_hash::FxHashMap<StackRef, &str> =
        groups.list.iter().flat_map(|group| group.members.iter().map(|at| (*at, group.fingerprint.as_str()))).collect();
    let all = All {
        schema: SCHEMA,
        answer: match zones {
            [_, ..] if diff.threads.is_empty() => grown(zones),
            _ => answer(groups, diff),
        },
        changes: Change::ALL.iter().map(|change| (change.name(), of(diff, *change).count())).collect(),
        groups: diff.groups.iter().map(|growth| JsonGrowth::of(groups, *growth)).collect(),
        threads: diff.threads.iter().map(|thread| JsonThread::of(groups, thread, &fingerprints)).collect(),
        zones: zones.iter().map(JsonZoneGrowth::of).collect(),
    };
    serde_json::to_writer(&mut *out, &all)?;
    out.write_all(b"\n")
}

#[derive(Serialize)]
struct JsonGrowth<'a> {
    fingerprint: &'a str,
    name: Option<String>,
    old: u64,
    new: u64,
}

impl<'a> JsonGrowth<'a> {
    fn of(groups: &'a Groups<'_, '_>, growth: crate::group::diff::Growth) -> JsonGrowth<'a> {
        let group = &groups.list[growth.group];
        JsonGrowth { fingerprint: &group.fingerprint, name: heading(groups, group), old: growth.old, new: growth.new }
    }
}

#[derive(Serialize)]
struct JsonThread<'a> {
    change: &'static str,
    pid: Option<i64>,
    tid: Option<&'a str>,
    process: Option<&'a str>,
    state: Option<&'a str>,
    old: Option<&'a str>,
    new: Option<&'a str>,
}

impl<'a> JsonThread<'a> {
    fn of(groups: &Groups<'_, 'a>, thread: &Thread, fingerprints: &rustc_hash::FxHashMap<StackRef, &'a str>) -> JsonThread<'a> {
        let stack = thread.new.or(thread.old).map(|at| groups.stack(at));
        JsonThread {
            change: thread.change.name(),
            pid: stack.and_then(|stack| stack.pid),
            tid: stack.and_then(|stack| stack.tid.as_deref()),
            process: stack.and_then(|stack| stack.process.as_deref()),
            state: stack.and_then(|stack| stack.state.as_deref()),
            old: thread.old.and_then(|at| fingerprints.get(&at).copied()),
            new: thread.new.and_then(|at| fingerprints.get(&at).copied()),
        }
    }
}
