//! Who waits for whom: edges from hung-task owner lines and from the lock checker's lists of held locks.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::model::addr::parse_hex;
use crate::model::capture::{Capture, Os};
use crate::model::group::Member;
use crate::model::lock::{Annotations, Lock, Wait};
use crate::model::stack::Stack;

/// A task.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Task {
    /// Process or thread id.
    pub pid: i64,
    /// Command name.
    pub name: String,
    /// The report that it is in, where groups of several were read: ids of several machines are not the same tasks. Empty elsewhere.
    pub source: String,
}

impl fmt::Display for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.name, self.pid)?;
        if self.source.is_empty() { Ok(()) } else { write!(f, " of {}", self.source) }
    }
}

/// `from` waits for what `to` holds.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Edge {
    /// Who waits.
    pub from: Task,
    /// Who holds.
    pub to: Task,
    /// What: a lock's class and address, or its kind.
    pub what: String,
    /// Line of the report that says so, from 1.
    pub line: u32,
}

impl fmt::Display for Edge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} waits for {}, held by {}", self.from, self.what, self.to)
    }
}

/// What one task holds and wants.
struct Side<'c> {
    task: Task,
    held: &'c [Lock],
    wants: Option<&'c Wait>,
    /// The stack stands in a function that takes a lock, so that the last lock listed is not held yet.
    asking: bool,
}

/// Readers of one lock can be thousands; these stand for all.
const MOST_HOLDERS: usize = 16;
/// Tasks from which circles are looked for.
const MOST_STARTS: usize = 256;

/// A wait graph.
#[derive(Clone, Debug, Default)]
pub struct Graph {
    /// Sorted, each once.
    pub edges: Vec<Edge>,
}

impl Graph {
    /// The graph of a report. `asks` says of a stack by its number whether it stands in a function that takes a lock.
    pub fn of(capture: &Capture, asks: impl Fn(usize) -> bool) -> Graph {
        let sides = sides(capture, asks);
        let mut holders: BTreeMap<(&str, u64), Vec<&Side<'_>>> = BTreeMap::new();
        for side in &sides {
            let count = side.held.len() - usize::from(side.asking && !side.held.is_empty());
            for lock in side.held[..count].iter().filter(|lock| !side.wants.is_some_and(|wait| same(&wait.lock, lock))) {
                if let Some(address) = lock.address {
                    holders.entry((&side.task.source, address.0)).or_default().push(side);
                }
            }
        }
        let mut edges = BTreeSet::new();
        for side in &sides {
            edges.extend(side.wants.and_then(|wait| owner_edge(&side.task, wait, capture.os)));
            let wanted = side.wants.map(|wait| &wait.lock).filter(|lock| lock.address.is_some());
            let Some(lock) = wanted.or_else(|| side.held.last().filter(|_| side.asking)) else { continue };
            let known = lock.address.and_then(|address| holders.get(&(side.task.source.as_str(), address.0)));
            let holding = known.into_iter().flatten().take(MOST_HOLDERS);
            for holder in holding.filter(|holder| holder.task != side.task) {
                edges.insert(Edge { from: side.task.clone(), to: holder.task.clone(), what: name(lock), line: lock.line });
            }
        }
        Graph { edges: edges.into_iter().collect() }
    }

    /// The shortest circle, from its first task in order; `None` when nobody waits for himself in the end.
    pub fn cycle(&self) -> Option<Vec<&Edge>> {
        let mut next: BTreeMap<&Task, Vec<&Edge>> = BTreeMap::new();
        self.in_circles().into_iter().for_each(|edge| next.entry(&edge.from).or_default().push(edge));
        let circles = next.keys().take(MOST_STARTS).filter_map(|start| circle(&next, start));
        circles.min_by_key(Vec::len)
    }

    /// The edges that are left when tasks that nobody waits for, or that wait for nobody, are taken away until there are none.
    fn in_circles(&self) -> Vec<&Edge> {
        let mut edges: Vec<&Edge> = self.edges.iter().collect();
        loop {
            let waiting: BTreeSet<&Task> = edges.iter().map(|edge| &edge.from).collect();
            let holding: BTreeSet<&Task> = edges.iter().map(|edge| &edge.to).collect();
            let count = edges.len();
            edges.retain(|edge| waiting.contains(&edge.to) && holding.contains(&edge.from));
            if edges.len() == count {
                return edges;
            }
        }
    }

    /// The graph for Graphviz, its shortest circle in red.
    pub fn dot(&self) -> String {
        let circle = self.cycle().unwrap_or_default();
        let quote = |text: &str| format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"").replace(['\n', '\r'], " "));
        let mut text = "digraph waits {\n".to_string();
        for edge in &self.edges {
            let red = if circle.contains(&edge) { " color=red" } else { "" };
            let (from, to) = (quote(&edge.from.to_string()), quote(&edge.to.to_string()));
            text.push_str(&format!("  {from} -> {to} [label={}{red}];\n", quote(&edge.what)));
        }
        text + "}\n"
    }
}

/// The shortest way from `start` back to it, breadth first.
fn circle<'e>(next: &BTreeMap<&'e Task, Vec<&'e Edge>>, start: &Task) -> Option<Vec<&'e Edge>> {
    let mut came: BTreeMap<&Task, &'e Edge> = BTreeMap::new();
    let mut queue = std::collections::VecDeque::from([start]);
    while let Some(task) = queue.pop_front() {
        for edge in next.get(task).into_iter().flatten() {
            if edge.to == *start {
                let mut way = vec![*edge];
                while way[way.len() - 1].from != *start {
                    way.push(came[&way[way.len() - 1].from]);
                }
                way.reverse();
                return Some(way);
            }
            if !came.contains_key(&edge.to) {
                came.insert(&edge.to, edge);
                queue.push_back(&edge.to);
            }
        }
    }
    None
}

fn same(a: &Lock, b: &Lock) -> bool {
    a.address.is_some() && a.address == b.address
}

fn owner_edge(from: &Task, wait: &Wait, os: Option<Os>) -> Option<Edge> {
    let owner = wait.owner.as_ref()?;
    let thread = owner.tid.as_deref().and_then(thread_id);
    // On Darwin a process is no thread: whichever of its threads has to act is not known.
    let whole = thread.is_none() && os == Some(Os::Darwin);
    let name = match (whole, owner.process.as_str()) {
        (_, "") => "unknown".to_string(),
        (true, process) => format!("process {process}"),
        (false, process) => process.to_string(),
    };
    let at = wait.lock.address.map(|address| format!(" at {address}")).unwrap_or_default();
    let to = Task { pid: thread.or(owner.pid)?, name, source: from.source.clone() };
    Some(Edge { from: from.clone(), to, what: format!("a {}{at}", wait.what), line: wait.line })
}

/// A thread id as Linux and stackshots print it, in decimal, or as the old text does, after `0x`.
fn thread_id(printed: &str) -> Option<i64> {
    if printed.starts_with("0x") { parse_hex(printed).and_then(|id| id.try_into().ok()) } else { printed.parse().ok() }
}

fn name(lock: &Lock) -> String {
    let address = lock.address.map(|address| address.to_string());
    [lock.class.clone(), address].into_iter().flatten().collect::<Vec<_>>().join(" at ")
}

fn sides(capture: &Capture, asks: impl Fn(usize) -> bool) -> Vec<Side<'_>> {
    let several = several_sources(capture);
    let mut sides = Vec::new();
    for (at, stack) in capture.stacks.iter().enumerate() {
        let members = stack.tally.iter().flat_map(|tally| &tally.members);
        let mut asking = None;
        for told in std::iter::once(Told::by_stack(stack)).chain(members.map(Told::by_member)) {
            let Some(annotations) = told.annotations else { continue };
            let id = told.tid.and_then(thread_id).or(told.pid);
            let Some(pid) = id else { continue };
            let source = if several { told.source.to_string() } else { String::new() };
            let task = Task { pid, name: told.process.unwrap_or_default().to_string(), source };
            let asking = annotations.waits_for.is_none() && *asking.get_or_insert_with(|| asks(at));
            sides.push(Side { task, held: annotations.held.as_deref().unwrap_or_default(), wants: annotations.waits_for.as_ref(), asking });
        }
    }
    for told in &capture.tasks_with_locks {
        let source = told.source.clone().filter(|_| several).unwrap_or_default();
        let task = Task { pid: told.pid, name: told.process.clone(), source };
        sides.push(Side { task, held: told.held.as_deref().unwrap_or_default(), wants: told.waits_for.as_ref(), asking: false });
    }
    sides
}

/// Who stands in a stack, and what is said about his locks.
struct Told<'c> {
    source: &'c str,
    pid: Option<i64>,
    tid: Option<&'c str>,
    process: Option<&'c str>,
    annotations: Option<&'c Annotations>,
}

impl<'c> Told<'c> {
    fn by_stack(stack: &'c Stack) -> Told<'c> {
        let (tid, process) = (stack.tid.as_deref(), stack.process.as_deref());
        Told { source: "", pid: stack.pid, tid, process, annotations: stack.annotations.as_deref() }
    }

    fn by_member(member: &'c Member) -> Told<'c> {
        let (tid, process) = (member.tid.as_deref(), member.process.as_deref());
        Told { source: &member.source, pid: member.pid, tid, process, annotations: member.annotations.as_deref() }
    }
}

/// Whether groups of more than one report were read.
fn several_sources(capture: &Capture) -> bool {
    let members = capture.stacks.iter().filter_map(|stack| stack.tally.as_deref()).flat_map(|tally| &tally.members);
    let tasks = capture.tasks_with_locks.iter().filter_map(|task| task.source.as_deref());
    let mut sources = members.map(|member| member.source.as_str()).chain(tasks);
    let first = sources.next();
    sources.any(|source| Some(source) != first)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edge(from: i64, to: i64) -> Edge {
        let task = |pid| Task { pid, name: format!("t{pid}"), source: String::new() };
        Edge { from: task(from), to: task(to), what: "a \"mutex\"".to_string(), line: from as u32 }
    }

    #[test]
    fn the_shortest_circle_is_found_and_chains_are_none() {
        let graph = Graph { edges: [(1, 2), (2, 3), (3, 1), (4, 5), (5, 4), (6, 1)].map(|(from, to)| edge(from, to)).to_vec() };
        let cycle: Vec<i64> = graph.cycle().unwrap().iter().map(|edge| edge.from.pid).collect();
        assert_eq!(cycle, [4, 5]);
        assert_eq!(Graph { edges: vec![edge(1, 2), edge(2, 3)] }.cycle(), None);
        assert_eq!(Graph::default().cycle(), None);
        assert!(graph.dot().contains("\"t4 (4)\" -> \"t5 (5)\" [label=\"a \\\"mutex\\\"\" color=red];"), "{}", graph.dot());
    }

    #[test]
    fn a_crowd_takes_no_time() {
        let edges = (0..3000).flat_map(|from| (0..16).map(move |to| edge(from, 5000 + to))).collect();
        assert_eq!(Graph { edges }.cycle(), None);
    }
}
