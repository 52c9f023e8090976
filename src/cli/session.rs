//! Reports read, placed, resolved and filtered: what every command with stacks begins with.

use rustc_hash::FxHashSet;

use super::filters::FilterArgs;
use super::inputs::{Inputs, UNKNOWN};
use super::options::{InputArgs, SymbolArgs, TitleArgs};
use super::sources::SourceArgs;
use super::term::{self, Progress};
use crate::disassembly;
use crate::group::naming::Naming;
use crate::group::plumbing::Plumbing;
use crate::group::{By, Groups, StackRef};
use crate::model::crash::Crash;
use crate::note::Note;
use crate::place::Layout;
use crate::render::{Report, Style};
use crate::report;
use crate::resolve::{self, ResolveOptions, Resolved};
use crate::space::AddressSpace;
use crate::title::{self, SkipList};

/// Everything about the reports of one run.
pub struct Session {
    /// What was opened.
    pub inputs: Inputs,
    layouts: Vec<Layout>,
    resolved: Vec<Resolved>,
    crashes: Vec<Option<Crash>>,
    /// What went wrong, in the order in which it was met.
    pub notes: Vec<Note>,
    /// Whether filters left out stacks.
    pub filtered: bool,
}

impl Session {
    /// Reads, places, resolves and filters.
    ///
    /// # Errors
    /// Only when the command line makes no sense.
    pub fn open(
        input: &InputArgs,
        symbols: &SymbolArgs,
        filters: &FilterArgs,
        titles: &TitleArgs,
        demangle: bool,
    ) -> anyhow::Result<Session> {
        let (filter, skip) = (filters.filter(symbols)?, titles.skip_list()?);
        let mut inputs = Inputs::open(input, symbols, true, true)?;
        let progress = Progress::new("resolving");
        let layouts = inputs.place(symbols);
        let answered = inputs.reports.iter().zip(&layouts);
        let options = ResolveOptions { demangle };
        let resolved: Vec<Resolved> =
            answered.map(|(input, layout)| resolve::resolve(&input.capture, &input.source.data, layout, options)).collect();
        drop(progress);
        let mut notes = std::mem::take(&mut inputs.notes);
        notes.extend(without_report(&inputs, input));
        notes.extend(layouts.iter().flat_map(|layout| layout.notes.iter().cloned()));
        let programs = layouts.iter().flat_map(|layout| &layout.images).filter_map(|image| image.program.as_ref());
        notes.extend(programs.flat_map(|program| program.remarks()));
        let filtered = !filter.is_empty() || filters.min_count > 1;
        let mut session = Session { inputs, layouts, resolved, notes, filtered, crashes: Vec::new() };
        // Before filters: what crashed is a fact about the report, not about what is left of it.
        session.crashes = session.reports().iter().map(|report| crash(report, &skip)).collect();
        for (input, crash) in session.inputs.reports.iter_mut().zip(&session.crashes) {
            crash.iter().for_each(|crash| title::blame(&mut input.capture.stacks, crash));
        }
        if !filter.is_empty() {
            let reports = session.reports();
            let naming = Naming::of(&reports, &Plumbing::default());
            let ready = filter.ready(&naming);
            let kept = session.each(|at| ready.wants(&reports, &naming, at));
            session.keep(&kept);
        }
        if filters.min_count > 1 {
            let reports = session.reports();
            let groups = Groups::of(&reports, Naming::of(&reports, &Plumbing::default()), By::Functions);
            let mut kept = session.each(|_| false);
            for member in groups.list.iter().filter(|group| group.count >= filters.min_count).flat_map(|group| &group.members) {
                kept[member.report as usize][member.stack as usize] = true;
            }
            session.keep(&kept);
        }
        if filtered && session.inputs.reports.iter().all(|input| input.capture.stacks.is_empty()) {
            session.notes.push(Note::warning("filters", no_stack(symbols)));
        }
        Ok(session)
    }

    /// Looks up the source files that are wished for.
    ///
    /// # Errors
    /// When the options make no sense.
    pub fn show_sources(&mut self, sources: &SourceArgs, style: Style) -> anyhow::Result<()> {
        if let Some(mut sources) = sources.open(style)? {
            self.resolved.iter_mut().for_each(|resolved| sources.attach(&mut resolved.answers));
            self.notes.extend(sources.notes());
        }
        Ok(())
    }

    /// Writes the instructions of every `Code:` line.
    pub fn disassemble(&mut self) {
        for (input, layout) in self.inputs.reports.iter_mut().zip(&self.layouts) {
            disassembly::fill(&mut input.capture, &input.source.data, layout);
        }
    }

    /// What `wants` says about each stack of each report.
    fn each(&self, wants: impl Fn(StackRef) -> bool) -> Vec<Vec<bool>> {
        let of_report = |(report, resolved): (usize, &Resolved)| {
            (0..resolved.frames.len()).map(|stack| wants(StackRef { report: report as u32, stack: stack as u32 })).collect()
        };
        self.resolved.iter().enumerate().map(of_report).collect()
    }

    fn keep(&mut self, kept: &[Vec<bool>]) {
        let with_wakers = |(input, kept): (&super::inputs::Input, &Vec<bool>)| with_wakers(&input.capture.stacks, kept);
        let kept: Vec<Vec<bool>> = self.inputs.reports.iter().zip(kept).map(with_wakers).collect();
        for ((input, resolved), kept) in self.inputs.reports.iter_mut().zip(&mut self.resolved).zip(&kept) {
            report::retain(&mut input.capture, resolved, |stack| kept[stack]);
        }
        for (crash, kept) in self.crashes.iter_mut().zip(&kept) {
            let Some(crash) = crash else { continue };
            for guilty in std::iter::once(&mut crash.guilty).chain(crash.later.iter_mut().map(|crash| &mut crash.guilty)).flatten() {
                let place = guilty.stack.filter(|stack| kept.get(*stack) == Some(&true));
                guilty.stack = place.map(|stack| kept[..stack].iter().filter(|kept| **kept).count());
            }
        }
    }

    /// The reports.
    pub fn reports(&self) -> Vec<Report<'_>> {
        let inputs = self.inputs.reports.iter().zip(self.layouts.iter().zip(&self.resolved)).enumerate();
        let report = |(n, (input, (layout, resolved)))| -> Report<'_> {
            let input: &super::inputs::Input = input;
            let crash = self.crashes.get(n).and_then(Option::as_ref);
            Report { source: &input.source.name, text: &input.source.data, capture: &input.capture, layout, resolved, crash }
        };
        inputs.map(report).collect()
    }

    /// Takes the layouts, of each the kernel and the images that the report's stacks run through. Nothing can be resolved in them.
    pub fn images_of_stacks(&mut self) -> Vec<Layout> {
        let mut layouts = std::mem::take(&mut self.layouts);
        for (layout, resolved) in layouts.iter_mut().zip(&self.resolved) {
            let used: FxHashSet<usize> = resolved.answers.iter().filter_map(|answer| answer.image).collect();
            let images = std::mem::take(&mut layout.images).into_iter().enumerate();
            layout.images = images.filter(|(at, image)| image.kernel || used.contains(at)).map(|(_, image)| image).collect();
            layout.space = AddressSpace::default();
        }
        layouts
    }

    /// Whether there is something to compare with: a report in a format that kstack knows, however few stacks it has.
    pub fn is_readable(&self) -> bool {
        self.inputs.reports.iter().any(|input| input.capture.format != UNKNOWN)
    }

    /// Says what went wrong; gives back whether something could not be used.
    pub fn complain(&self, quiet: bool) -> bool {
        term::report(&self.notes, quiet)
    }
}

/// Says that a comparison is not made, and why, when one of its sides has no readable report: all of the other would be new or grown.
pub fn incomparable<'s>(sides: impl Iterator<Item = &'s Session> + Clone, quiet: bool) -> bool {
    if sides.clone().all(Session::is_readable) {
        return false;
    }
    sides.for_each(|side| _ = side.complain(quiet));
    term::complain("error: nothing is compared, since one side has no report that can be read");
    true
}

impl Drop for Session {
    /// The process ends soon: giving a million small pieces back one by one would only take time.
    fn drop(&mut self) {
        std::mem::forget((std::mem::take(&mut self.inputs), std::mem::take(&mut self.layouts), std::mem::take(&mut self.resolved)));
    }
}

/// What is said where load maps were given as reports and nothing else.
fn without_report(inputs: &Inputs, input: &InputArgs) -> Option<Note> {
    let (name, map) = inputs.maps.first().filter(|_| inputs.reports.is_empty() && !input.reports.is_empty())?;
    Some(Note::warning(name, format!("is a load map ({}), which has no stacks; give it with -l beside a report", map.format)))
}

/// `kept`, but with the stacks of those who woke another kept as the other's is.
fn with_wakers(stacks: &[crate::model::stack::Stack], kept: &[bool]) -> Vec<bool> {
    let next = |at: usize| stacks.get(at + 1).is_some_and(|next| stacks[at].woke(next));
    kept.iter().enumerate().map(|(at, own)| if next(at) { kept[at + 1] } else { *own }).collect()
}

/// What the report is about, or what an earlier run said that it is.
fn crash(report: &Report<'_>, skip: &SkipList) -> Option<Crash> {
    title::of(report, skip).or_else(|| report.capture.crash.clone())
}

fn no_stack(symbols: &SymbolArgs) -> String {
    let names: Vec<&str> = symbols.module_names().collect();
    let module = if names.is_empty() { String::new() } else { format!(" (--module {} is no file, so it was a filter)", names.join(", ")) };
    format!("no stack is left{module}")
}
