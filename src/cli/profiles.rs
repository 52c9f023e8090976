//! Profiles among the reports of `kstack flame`: each is folded as the collapser of its kind does it.

use rustc_hash::FxHashMap;

use super::flame::Args;
use crate::collapse::{self, Collapse, Known};
use crate::group::naming::Naming;
use crate::group::plumbing::Plumbing;
use crate::group::weight::Weight;
use crate::model::frame::Answer;
use crate::model::stack::StackKind;
use crate::names::base_name;
use crate::render::Report;
use crate::render::folded::{FRAME_STYLES, Folded, Folding, FrameStyle};
use crate::render::sanitize::visible_line;

/// Folds all reports; `by_text` says that nothing but their text counts.
pub fn fold(reports: &[Report<'_>], args: &Args, by_text: bool, weight: Weight) -> Folded {
    let style = args.frames.as_ref().and_then(|wanted| FRAME_STYLES.iter().find(|(name, _)| name == wanted)).map(|(_, style)| *style);
    let folding =
        Folding { style: style.unwrap_or_default(), by_thread: args.by_thread, inlined: !args.no_inline, only: args.only.clone(), weight };
    let plain = Folding { style: FrameStyle::Plain, by_thread: true, ..folding.clone() };
    // As its collapser names what it can fold.
    let dtrace = Folding { style: FrameStyle::Dtrace, ..folding.clone() };
    let (mut ordinary, mut samples, mut events, mut folded) = (Vec::new(), Vec::new(), Vec::new(), Folded::default());
    for report in reports {
        match Some(style).filter(Option::is_none).and_then(|_| collapse::of(report.capture.format, report.text)) {
            Some(collapse) => add(&mut folded, collapsed(report, collapse, &folding, by_text)),
            None if style.is_none() && report.capture.format == "dtrace" => events.push(*report),
            None if style.is_none() && is_profile(report) => samples.push(*report),
            None => ordinary.push(*report),
        }
    }
    for (reports, folding) in
        [(ordinary, folding), (samples, plain), (events, dtrace)].into_iter().filter(|(reports, _)| !reports.is_empty())
    {
        add(&mut folded, Folded::of(&reports, &Naming::of(&reports, &Plumbing::default()), &folding));
    }
    folded
}

fn is_profile(report: &Report<'_>) -> bool {
    let stacks = &report.capture.stacks;
    !stacks.is_empty() && stacks.iter().all(|stack| stack.kind == StackKind::Sample)
}

fn add(folded: &mut Folded, more: Folded) {
    for (stack, count) in more.stacks {
        let sum = folded.stacks.entry(stack).or_default();
        *sum = sum.saturating_add(count);
    }
    folded.modules.extend(more.modules);
    folded.without_frames = folded.without_frames.saturating_add(more.without_frames);
}

/// A profile whose collapser is known.
fn collapsed(report: &Report<'_>, collapse: Collapse, folding: &Folding, by_text: bool) -> Folded {
    let mut modules = std::collections::BTreeMap::new();
    let known = (!by_text).then(|| known(report, folding, &mut modules));
    let wanted =
        |stack: &str| folding.only.is_empty() || stack.split(';').any(|name| folding.only.iter().any(|only| is_called(name, only)));
    let harmless = |stack: String| if stack.contains(|c: char| !matches!(c, ' '..='~')) { visible_line(&stack) } else { stack };
    let stacks = collapse(report.text, known.as_ref()).into_iter().filter(|(stack, _)| wanted(stack));
    let mut folded = Folded { modules, ..Folded::default() };
    add(&mut folded, Folded { stacks: stacks.map(|(stack, count)| (harmless(stack), count)).collect(), ..Folded::default() });
    folded
}

fn is_called(frame: &str, wanted: &str) -> bool {
    let name = ["_[k]", "_[i]", "_[j]"].iter().find_map(|suffix| frame.strip_suffix(suffix)).unwrap_or(frame);
    let name = name.split_once('`').map_or(name, |(_, name)| name);
    base_name(name) == base_name(wanted)
}

/// What symbol files know about the frames of the stacks that are left.
fn known(report: &Report<'_>, folding: &Folding, modules: &mut std::collections::BTreeMap<String, String>) -> Known {
    let mut known = Known::default();
    let mut indices: FxHashMap<u32, Option<u32>> = FxHashMap::default();
    for (at, stack) in report.capture.stacks.iter().enumerate() {
        known.stacks.insert(stack.line);
        for (frame, answer) in stack.frames.iter().zip(&report.resolved.frames[at]) {
            let names = &mut known.names;
            let index = *indices.entry(*answer).or_insert_with(|| {
                let answer = &report.resolved.answers[*answer as usize];
                let calls = calls(report, answer, folding)?;
                let module = answer.image.map(|image| &report.layout.images[image]).filter(|image| !image.kernel);
                let module = module.map(|image| image.name.clone()).unwrap_or_default();
                calls.iter().for_each(|call| drop(modules.insert(call.clone(), module.clone())));
                names.push(calls);
                Some(names.len() as u32 - 1)
            });
            known.frames.extend(index.map(|index| (frame.line, index)));
        }
    }
    known
}

/// The function that a symbol file names, and what was inlined into it. Where the profile writes modules, they stay.
fn calls(report: &Report<'_>, answer: &Answer, folding: &Folding) -> Option<Vec<String>> {
    let symbol = answer.named()?;
    let image = answer.image.map(|image| report.layout.images[image].name.as_str()).filter(|_| report.capture.format == "dtrace");
    let module = image.map(|name| format!("{}`", name.rsplit('.').next().unwrap_or(name))).unwrap_or_default();
    let inlined = answer.locations.iter().rev().filter(|location| location.inlined && folding.inlined);
    let inlined = inlined.filter_map(|location| location.function.as_deref()).map(|name| format!("{module}{}_[i]", written(name)));
    Some(std::iter::once(format!("{module}{}", written(&symbol.name))).chain(inlined).collect())
}

fn written(name: &str) -> String {
    collapse::tidy::generic(name).into_owned()
}
