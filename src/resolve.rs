//! Looks up what a report prints: each distinct address once, images in parallel, units of DWARF in parallel within them.

use std::borrow::Cow;

use rayon::prelude::*;
use rustc_hash::FxHashMap;

use crate::model::addr::{Avma, Svma};
use crate::model::capture::Capture;
use crate::model::frame::{Answer, Location, SymbolHit, Trust, Unresolved};
use crate::model::image::ImageStatus;
use crate::model::stack::{Lookup, RawFrame};
use crate::parse::lex;
use crate::place::{Image, Layout};
use crate::space::Owner;
use crate::symbols::code;
use crate::symbols::demangle::demangle;
use crate::symbols::find::Program;
use crate::symbols::symtab::{Reach, SymbolTable};

/// How to resolve.
#[derive(Clone, Copy, Debug)]
pub struct ResolveOptions {
    /// Whether C++ and Rust names are made readable.
    pub demangle: bool,
}

/// The answers to all kernel frames of a report.
#[derive(Default)]
pub struct Resolved {
    /// One answer for each distinct question.
    pub answers: Vec<Answer>,
    /// For each stack, the index of each frame's answer.
    pub frames: Vec<Vec<u32>>,
}

impl Resolved {
    /// The answer to frame `frame` of stack `stack`.
    pub fn answer(&self, stack: usize, frame: usize) -> &Answer {
        &self.answers[self.frames[stack][frame] as usize]
    }
}

/// Where a symbol of that name starts, in every image that `module` names, or in all images when it is empty.
pub fn symbols(layout: &Layout, module: &str, symbol: &str) -> Vec<(usize, Svma)> {
    let mut found = Vec::new();
    for (at, image) in layout.images.iter().enumerate().filter(|(_, image)| module.is_empty() || image.is_called(module)) {
        let Some(program) = &image.program else { continue };
        let starts = program.symbols().table().named(symbol);
        found.extend(starts.iter().map(|symbol| (at, program.from_symbols(symbol.start))));
    }
    found
}

/// Answers to link-time addresses, each with its image, in their order.
pub fn file_addresses(addresses: &[(usize, Svma, Lookup)], layout: &Layout, options: ResolveOptions) -> Vec<Answer> {
    let unknown = |(image, ..): &(usize, Svma, Lookup)| Answer::unresolved(Some(*image), Unresolved::OutsideSymbols);
    let mut answers: Vec<Answer> = addresses.iter().map(unknown).collect();
    let job = |(answer, (image, svma, lookup)): (usize, &(usize, Svma, Lookup))| {
        let probe = if *lookup == Lookup::Return { Svma(svma.0.wrapping_sub(1)) } else { *svma };
        Job { answer, image: *image, probe, svma: *svma }
    };
    run(addresses.iter().enumerate().map(job).collect(), &mut answers, layout, options);
    answers
}

/// What makes two frames the same question.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Question<'t> {
    Address(Avma, Lookup),
    Symbol { module: &'t [u8], symbol: &'t [u8], offset: u64, lookup: Lookup },
    Nothing,
}

/// Resolves every kernel frame of `capture`; `text` is the report it was read from.
pub fn resolve(capture: &Capture, text: &[u8], layout: &Layout, options: ResolveOptions) -> Resolved {
    let mut index: FxHashMap<Question<'_>, u32> = FxHashMap::default();
    let mut questions: Vec<Question<'_>> = Vec::new();
    let frames = capture.stacks.iter().map(|stack| {
        let one = |frame: &RawFrame| {
            let question = question(frame, text);
            *index.entry(question).or_insert_with(|| {
                questions.push(question);
                questions.len() as u32 - 1
            })
        };
        stack.frames.iter().map(one).collect()
    });
    let frames = frames.collect();
    Resolved { answers: answers(&questions, layout, options), frames }
}

/// Answers to exact or return addresses, in their order.
pub fn addresses(addresses: &[(Avma, Lookup)], layout: &Layout, options: ResolveOptions) -> Vec<Answer> {
    let questions: Vec<Question<'_>> = addresses.iter().map(|(address, lookup)| Question::Address(*address, *lookup)).collect();
    answers(&questions, layout, options)
}

fn question<'t>(frame: &RawFrame, text: &'t [u8]) -> Question<'t> {
    let (symbol, module) = (frame.symbol.of(text, frame.line_start), frame.module.of(text, frame.line_start));
    match (frame.address, frame.offset) {
        (Some(address), _) => Question::Address(address, frame.lookup),
        (None, Some(offset)) => Question::Symbol { module, symbol, offset, lookup: frame.lookup },
        (None, None) => Question::Nothing,
    }
}

/// One lookup inside an image.
struct Job {
    answer: usize,
    image: usize,
    /// Looked up.
    probe: Svma,
    /// Printed.
    svma: Svma,
}

fn answers(questions: &[Question<'_>], layout: &Layout, options: ResolveOptions) -> Vec<Answer> {
    let mut answers: Vec<Answer> = Vec::with_capacity(questions.len());
    let mut jobs: Vec<Job> = Vec::new();
    for question in questions {
        let placed = match question {
            Question::Address(address, lookup) => by_address(layout, *address, *lookup),
            Question::Symbol { module, symbol, offset, lookup } => {
                by_symbol(layout, &lex::text(module), &lex::text(symbol), *offset, *lookup)
            }
            Question::Nothing => Err(Answer::unresolved(None, Unresolved::NoAddress)),
        };
        match placed {
            Ok((image, probe, svma)) => {
                jobs.push(Job { answer: answers.len(), image, probe, svma });
                answers.push(Answer::unresolved(Some(image), Unresolved::OutsideSymbols));
            }
            Err(answer) => answers.push(answer),
        }
    }
    run(jobs, &mut answers, layout, options);
    answers
}

/// Does all jobs, images in parallel, and puts the answers where the jobs say.
fn run(mut jobs: Vec<Job>, answers: &mut [Answer], layout: &Layout, options: ResolveOptions) {
    jobs.sort_unstable_by_key(|job| (job.image, job.probe));
    let batches: Vec<&[Job]> = jobs.chunk_by(|a, b| a.image == b.image).collect();
    let found: Vec<Vec<Answer>> = batches.par_iter().map(|batch| in_image(batch, &layout.images[batch[0].image], options)).collect();
    for (job, answer) in batches.into_iter().flatten().zip(found.into_iter().flatten()) {
        answers[job.answer] = answer;
    }
}

type Placed = Result<(usize, Svma, Svma), Answer>;

fn by_address(layout: &Layout, address: Avma, lookup: Lookup) -> Placed {
    let probe = if lookup == Lookup::Return { address.before() } else { address };
    match layout.space.find(probe) {
        Some(Owner::Image(image, Some(svma))) => Ok((image, svma, Svma(svma.0.wrapping_add(address.0.wrapping_sub(probe.0))))),
        Some(Owner::Image(image, None)) => {
            let refused = layout.images[image].refused.is_some();
            Err(Answer::unresolved(Some(image), if refused { Unresolved::OtherBuild } else { Unresolved::NoFile }))
        }
        Some(Owner::Overlap(..)) => Err(Answer::unresolved(None, Unresolved::Overlap)),
        None => Err(Answer::unresolved(None, Unresolved::NoImage)),
    }
}

/// A frame without an address: its symbol must be the only one of that name in the image it prints, or in all images.
fn by_symbol(layout: &Layout, module: &str, symbol: &str, offset: u64, lookup: Lookup) -> Placed {
    let found = symbols(layout, module, symbol);
    match found[..] {
        [] => Err(Answer::unresolved(None, Unresolved::NoAddress)),
        [(image, start)] => {
            let svma = Svma(start.0.wrapping_add(offset));
            let probe = if lookup == Lookup::Return && offset > 0 { Svma(svma.0 - 1) } else { svma };
            Ok((image, probe, svma))
        }
        _ => Err(Answer::unresolved(None, Unresolved::Ambiguous)),
    }
}

/// Answers to jobs of one image, sorted by probe.
fn in_image(batch: &[Job], image: &Image, options: ResolveOptions) -> Vec<Answer> {
    let at = batch[0].image;
    let Some(program) = &image.program else {
        return batch.iter().map(|_| Answer::unresolved(Some(at), Unresolved::NoFile)).collect();
    };
    let probes: Vec<Svma> = batch.iter().map(|job| job.probe).collect();
    let trust = match image.status() {
        ImageStatus::Matched => Trust::Verified,
        ImageStatus::Mismatched => Trust::Mismatched,
        ImageStatus::Unverified | ImageStatus::Missing => Trust::Unverified,
    };
    let table = program.symbols().near(&probes.iter().map(|probe| program.in_symbols(*probe)).collect::<Vec<_>>());
    let located = program.locate(&probes);
    batch.iter().zip(located).map(|(job, locations)| answer(job, program, &table, locations, trust, options)).collect()
}

fn answer(
    job: &Job,
    program: &Program,
    table: &SymbolTable,
    mut locations: Vec<Location>,
    trust: Trust,
    options: ResolveOptions,
) -> Answer {
    let readable = |name: &str| if options.demangle { demangle(name).into_owned() } else { name.to_string() };
    let hit = symbol_at(program, table, job.probe, &locations);
    for location in &mut locations {
        if let Some(name) = &location.function
            && let Cow::Owned(name) = if options.demangle { demangle(name) } else { Cow::Borrowed(&**name) }
        {
            location.function = Some(name.into());
        }
    }
    let Some(mut hit) = hit else {
        return Answer { locations, ..Answer::unresolved(Some(job.image), Unresolved::OutsideSymbols) };
    };
    hit.name = readable(&hit.name);
    let offset = Some(job.svma.0.wrapping_sub(hit.start.0));
    if !hit.contains {
        let reason = Some(Unresolved::AfterSymbol);
        return Answer { image: Some(job.image), symbol: Some(hit), offset, locations, trust: Trust::Unresolved, reason };
    }
    // The symbol table names the function as the kernel itself does; DWARF leaves out suffixes such as `.cold`.
    if let Some(owner) = locations.last_mut() {
        owner.function = Some(hit.name.as_str().into());
    }
    Answer { image: Some(job.image), symbol: Some(hit), offset, locations, trust, reason: None }
}

/// The function that holds `probe`, proven to reach it, or the nearest symbol below it.
fn symbol_at(program: &Program, table: &SymbolTable, probe: Svma, locations: &[Location]) -> Option<SymbolHit> {
    let found = table.at(program.in_symbols(probe));
    let hit = found.map(|found| SymbolHit {
        name: found.name.to_string(),
        start: program.from_symbols(found.start),
        size: Some(found.size),
        contains: found.reach == Reach::Contains,
    });
    if let (Some(hit), Some(found)) = (&hit, found)
        && (hit.contains || (found.reach == Reach::Unknown && reaches(program, hit, probe)))
    {
        let size = hit.size.filter(|_| hit.contains);
        return Some(SymbolHit { contains: true, size, ..hit.clone() });
    }
    // A function whose symbol was stripped may still have its DWARF entry.
    let debug = if locations.is_empty() { None } else { program.debug_function(probe) };
    debug.map(|(name, start)| SymbolHit { name, start, size: None, contains: true }).or(hit)
}

/// Whether the code shows that the function at `hit` goes on to `probe`: no other function begins in between.
fn reaches(program: &Program, hit: &SymbolHit, probe: Svma) -> bool {
    if hit.start == probe {
        return true;
    }
    let code = program.code(hit.start, probe);
    code.and_then(|code| code::another_function_begins(program.info().arch, code)) == Some(false)
}
