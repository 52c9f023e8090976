//! Groups for people: a header that says what was read and what stands out, then each group with its frames.

use std::io::{self, Write};

use super::{GroupOutput, View, example, frame, numbered, place, ranked, thread_id};
use crate::group::similar::{Cluster, MOST, Step, chain, clusters, steps};
use crate::group::weight::size;
use crate::group::{Group, Groups};
use crate::model::group::Tally;
use crate::model::stack::{Role, StackKind};
use crate::note::Note;
use crate::render::frames::Paint;
use crate::render::sanitize::{painted, visible_line};
use crate::title;
use crate::triage::rules::is_blocked;
use crate::triage::triage;

/// The output.
pub struct Text;

/// Processes and thread ids shown of a group.
const FEW: usize = 8;

impl GroupOutput for Text {
    fn id(&self) -> &'static str {
        "text"
    }
    fn about(&self) -> &'static str {
        "each group with its members and frames"
    }
    fn write(&self, groups: &Groups<'_, '_>, _: &[Note], view: View, out: &mut dyn Write) -> io::Result<()> {
        header(groups, view, out)?;
        if view.triage {
            verdicts(groups, view, out)?;
        }
        if !view.similar {
            return groups.list.iter().try_for_each(|group| {
                writeln!(out)?;
                one(groups, group, view, out)
            });
        }
        clusters(groups).iter().try_for_each(|cluster| near(groups, cluster, view, out))
    }
}

/// Near-equal groups: the most frequent in full, of the others who is in them and which frames differ.
fn near(groups: &Groups<'_, '_>, cluster: &Cluster, view: View, out: &mut dyn Write) -> io::Result<()> {
    let head = &groups.list[cluster.head];
    writeln!(out)?;
    if !cluster.others.is_empty() {
        let all: u64 = cluster.others.iter().map(|other| groups.list[*other].count).fold(head.count, u64::saturating_add);
        writeln!(out, "{all} in {} similar groups", cluster.others.len() + 1)?;
    }
    one(groups, head, view, out)?;
    for other in cluster.others.iter().map(|other| &groups.list[*other]) {
        writeln!(out, "  ~ {} × {}", other.count, other.fingerprint)?;
        members(&groups.tally(other), view, out)?;
        for step in steps(&chain(groups, head), &chain(groups, other), MOST).into_iter().flatten() {
            let (sign, name) = match step {
                Step::Same(_) => continue,
                Step::Gone(name) => ('-', name),
                Step::New(name) => ('+', name),
            };
            writeln!(out, "      {sign} {}", visible_line(&groups.naming.name(name).to_string()))?;
        }
    }
    Ok(())
}

/// What was read, and what stands out in it.
fn header(groups: &Groups<'_, '_>, view: View, out: &mut dyn Write) -> io::Result<()> {
    const SOURCES: usize = 8;
    let plural = |count: u64| if count == 1 { "" } else { "s" };
    for report in groups.reports.iter().take(SOURCES) {
        let version = report.capture.kernel_version.as_deref();
        // Some versions begin with the system's name.
        let named = |os: &str| version.and_then(|version| version.get(..os.len())).is_some_and(|begins| begins.eq_ignore_ascii_case(os));
        let os = report.capture.os.map(|os| os.name()).filter(|os| !named(os));
        let facts = [os, version, report.capture.arch.map(|arch| arch.name())];
        let facts: Vec<&str> = facts.into_iter().flatten().collect();
        let stacks: u64 = report.capture.stacks.iter().filter(|stack| !stack.aside).map(|stack| stack.count).fold(0, u64::saturating_add);
        let text = format!("{}: {} {}, {stacks} stack{}", report.source, report.capture.format, facts.join(" "), plural(stacks));
        writeln!(out, "{}", view.wrapped(&visible_line(&text)))?;
        if let Some(crash) = report.crash {
            writeln!(out, "{}", view.wrapped(&format!("    {}", visible_line(&title::sentence(crash)))))?;
        }
    }
    if groups.reports.len() > SOURCES {
        writeln!(out, "and {} more reports", groups.reports.len() - SOURCES)?;
    }
    let all: u64 = groups.list.iter().map(|group| group.count).fold(0, u64::saturating_add);
    let count = groups.list.len();
    let text = format!("{all} stack{} in {count} group{}{}", plural(all), plural(count as u64), standing_out(groups, all));
    writeln!(out, "{}", view.wrapped(&text))
}

/// The verdicts, each with its reason and evidence.
fn verdicts(groups: &Groups<'_, '_>, view: View, out: &mut dyn Write) -> io::Result<()> {
    let paint = Paint::new(view.style.colour);
    let found = triage(groups);
    if found.is_empty() {
        writeln!(out, "\nverdict: none; no rule has evidence here")?;
    }
    for verdict in &found {
        let source = if groups.reports.len() > 1 { format!("{}: ", verdict.source) } else { String::new() };
        writeln!(out, "\n{}verdict: {}{}{}", visible_line(&source), paint.symbol, verdict.verdict, paint.reset)?;
        writeln!(out, "{}", view.wrapped(&format!("    {}", visible_line(&verdict.why))))?;
        for evidence in &verdict.evidence {
            writeln!(out, "{}", view.wrapped(&format!("    line {}: {}", evidence.line, visible_line(&evidence.text))))?;
        }
    }
    Ok(())
}

/// The largest group of threads, and how many cannot be interrupted.
fn standing_out(groups: &Groups<'_, '_>, all: u64) -> String {
    let threads = || groups.list.iter().filter(|group| group.kind == StackKind::Thread);
    let blocked: u64 = threads()
        .flat_map(|group| groups.tally(group).states)
        .filter(|(state, _)| is_blocked(state))
        .map(|(_, count)| count)
        .fold(0, u64::saturating_add);
    let mut text = String::new();
    if blocked > 0 {
        text.push_str(&format!("; {blocked} in uninterruptible sleep"));
    }
    let largest = threads().max_by_key(|group| group.count).filter(|group| group.count > 1);
    if let Some((group, place)) = largest.and_then(|group| Some((group, place(groups, group)?))) {
        text.push_str(&format!("; {} of {all} {}", group.count, visible_line(&place)));
    }
    text
}

fn one(groups: &Groups<'_, '_>, group: &Group, view: View, out: &mut dyn Write) -> io::Result<()> {
    let tally = groups.tally(group);
    let paint = Paint::new(view.style.colour);
    let what = match (group.kind, group.count) {
        (StackKind::Thread, 1) => "thread".to_string(),
        (StackKind::Thread, _) => again(&tally).map_or("threads".to_string(), |threads| format!("stacks of {threads} threads")),
        (kind, _) => kind.name().to_string(),
    };
    let states: Vec<String> = ranked(&tally.states).iter().map(|(state, count)| count_of(state, *count, group.count)).collect();
    let states = if states.is_empty() { String::new() } else { format!(" [{}]", visible_line(&states.join(", "))) };
    let bytes = group.bytes.map(|bytes| format!(", {}", size(bytes))).unwrap_or_default();
    let place = place(groups, group);
    let (word, name) = place.as_deref().and_then(|place| place.split_once(' ')).unwrap_or(("without", "kernel frames"));
    let (begins, name) = (format!("{} {what}{bytes}{states} {word} ", group.count), visible_line(name));
    // What tells the group from others is to be copied whole.
    let fits = begins.chars().count() + name.chars().count() + 2 + group.fingerprint.len() <= usize::from(view.width);
    let between = if fits || !view.style.terminal { "  " } else { "\n    " };
    let fingerprint = format!("{}{}{}", paint.location, group.fingerprint, paint.reset);
    writeln!(out, "{begins}{}{name}{}{between}{fingerprint}", paint.symbol, paint.reset)?;
    if let Some(blamed) = groups.blamed(group) {
        writeln!(out, "{}", view.wrapped(&format!("    {}", visible_line(&blamed.title))))?;
    }
    members(&tally, view, out)?;
    frames(groups, group, view, out)
}

/// How many threads are in the group, where its report tells of some more than once, as the hung task detector and captures with several
/// samples do.
fn again(tally: &Tally) -> Option<usize> {
    let threads: rustc_hash::FxHashSet<(&str, String)> =
        tally.members.iter().filter_map(|member| Some((machine(&member.source), thread_id(member)?))).collect();
    let known = tally.members.iter().filter(|member| thread_id(member).is_some()).count();
    (known == tally.members.len() && threads.len() < known).then_some(threads.len())
}

/// The source without the number of its sample: the threads of all samples are the same.
fn machine(source: &str) -> &str {
    let sample = source.rsplit_once(":sample-").filter(|(_, number)| !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()));
    sample.map_or(source, |(machine, _)| machine)
}

/// `D`, or with its count where not all have it.
fn count_of(name: &str, count: u64, all: u64) -> String {
    if count == all { name.to_string() } else { format!("{name} {count}") }
}

fn members(tally: &Tally, view: View, out: &mut dyn Write) -> io::Result<()> {
    let limit = if view.all_members { usize::MAX } else { FEW };
    let processes = if view.all_members { tally.processes.clone() } else { numbered(&tally.processes) };
    list(out, view, "", &counted(&processes), limit)?;
    list(out, view, "waiting on ", &counted(&tally.wait_channels), limit)?;
    let mut seen = rustc_hash::FxHashSet::default();
    let ids: Vec<String> = tally.members.iter().filter_map(thread_id).filter(|id| seen.insert(id.clone())).collect();
    list(out, view, if ids.len() == 1 { "thread " } else { "threads " }, &ids, limit)
}

fn counted(counts: &std::collections::BTreeMap<String, u64>) -> Vec<String> {
    ranked(counts).iter().map(|(name, count)| if *count == 1 { (*name).to_string() } else { format!("{name} ×{count}") }).collect()
}

fn list(out: &mut dyn Write, view: View, what: &str, items: &[String], limit: usize) -> io::Result<()> {
    if items.is_empty() {
        return Ok(());
    }
    let more = if items.len() > limit { format!(" and {} more", items.len() - limit) } else { String::new() };
    let shown = items[..items.len().min(limit)].join(", ");
    writeln!(out, "{}", view.wrapped(&format!("    {what}{}{more}", visible_line(&shown))))
}

/// The frames; those below the interesting one in one line, unless all are wanted.
fn frames(groups: &Groups<'_, '_>, group: &Group, view: View, out: &mut dyn Write) -> io::Result<()> {
    let at = group.shown;
    let stack = groups.stack(at);
    if let Some(example) = example(group) {
        writeln!(out, "    {example}")?;
    }
    let from = if view.all_frames { 0 } else { group.interesting.unwrap_or(0) };
    let folded: Vec<&str> = (0..from).filter(|n| stack.frames[*n].reliable).map(|n| &*groups.name(at, n).function).collect();
    if !folded.is_empty() {
        writeln!(out, "{}", view.wrapped(&format!("        ({})", visible_line(&folded.join(", ")))))?;
    }
    for (n, raw) in stack.frames.iter().enumerate().skip(from).filter(|(_, raw)| raw.reliable || view.all_frames) {
        let written = frame(groups, at, n, view.style);
        let mark = match raw.role {
            _ if !raw.reliable => "? ",
            Role::Inline => "[inline] ",
            _ => "",
        };
        writeln!(out, "        {mark}{}", painted(&written.line, view.style))?;
        for below in &written.below {
            writeln!(out, "        {}", painted(below, view.style))?;
        }
    }
    Ok(())
}
