//! Looks up what a report prints: each distinct address once, images in parallel, units of DWARF in parallel within them.

mod by_name;

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

use rayon::prelude::*;
use rustc_hash::FxHashMap;

use crate::model::addr::{Avma, Svma};
use crate::model::capture::Capture;
use crate::model::frame::{Answer, Location, SymbolHit, Trust, Unresolved};
use crate::model::image::{ImageId, ImageStatus};
use crate::model::stack::{Known, Lookup, RawFrame, Stack};
use crate::parse::lex;
use crate::place::{Image, Layout};
use crate::space::Owner;
use crate::symbols::demangle::demangle;
use crate::symbols::extent;
use crate::symbols::find::Program;
use crate::symbols::symtab::{Reach, SymbolTable};
use by_name::by_symbol;
pub use by_name::{Candidate, symbols};

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
    /// For each stack, the index of each frame's answer. Frames that share one also share every name that they print.
    pub frames: Vec<Vec<u32>>,
    /// For each answer, the first stack and frame that it belongs to.
    pub firsts: Vec<(u32, u32)>,
}

impl Resolved {
    /// The answer to frame `frame` of stack `stack`.
    pub fn answer(&self, stack: usize, frame: usize) -> &Answer {
        &self.answers[self.frames[stack][frame] as usize]
    }
}

/// Answers to link-time addresses, each with its image, in their order.
pub fn file_addresses(addresses: &[(usize, Svma, Lookup)], layout: &Layout, options: ResolveOptions) -> Vec<Answer> {
    let unknown = |(image, ..): &(usize, Svma, Lookup)| Answer::unresolved(Some(*image), Unresolved::OutsideSymbols);
    let mut answers: Vec<Answer> = addresses.iter().map(unknown).collect();
    let job = |(answer, (image, svma, lookup)): (usize, &(usize, Svma, Lookup))| {
        let probe = if *lookup == Lookup::Return { Svma(svma.0.wrapping_sub(1)) } else { *svma };
        Job { answer, image: *image, probe, svma: *svma, asked: None }
    };
    run(addresses.iter().enumerate().map(job).collect(), &mut answers, layout, options);
    answers
}

/// What makes two frames the same question.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Question<'t> {
    Address(Avma, Lookup),
    /// The same where the report names the address too.
    NamedAddress {
        address: Avma,
        lookup: Lookup,
        module: &'t [u8],
        symbol: &'t [u8],
        build: &'t [u8],
    },
    Symbol {
        module: &'t [u8],
        build: &'t [u8],
        symbol: &'t [u8],
        offset: u64,
        size: Option<u64>,
        lookup: Lookup,
    },
    Nothing {
        module: &'t [u8],
        symbol: &'t [u8],
    },
}

/// Resolves every kernel frame of `capture`; `text` is the report it was read from.
pub fn resolve(capture: &Capture, text: &[u8], layout: &Layout, options: ResolveOptions) -> Resolved {
    let mut index: FxHashMap<(Question<'_>, Option<Known>), u32> = FxHashMap::default();
    let mut questions: Vec<Question<'_>> = Vec::new();
    let mut firsts = Vec::new();
    let frames = capture.stacks.iter().enumerate().map(|(stack, Stack { frames, .. })| {
        let one = |(n, frame): (usize, &RawFrame)| {
            let question = question(frame, text);
            *index.entry((question, frame.known)).or_insert_with(|| {
                questions.push(question);
                firsts.push((stack as u32, n as u32));
                questions.len() as u32 - 1
            })
        };
        frames.iter().enumerate().map(one).collect()
    });
    let frames = frames.collect();
    let mut answers = answers(&questions, layout, options);
    for (answer, (stack, n)) in answers.iter_mut().zip(&firsts) {
        let frame = &capture.stacks[*stack as usize].frames[*n as usize];
        // What an earlier run found out holds until somebody knows better.
        if let Some(known) = frame.known.and_then(|known| capture.known.get(known.0 as usize)).filter(|_| answer.named().is_none()) {
            *answer = known.clone();
        }
    }
    Resolved { answers, frames, firsts }
}

/// Answers to exact or return addresses, in their order.
pub fn addresses(addresses: &[(Avma, Lookup)], layout: &Layout, options: ResolveOptions) -> Vec<Answer> {
    let questions: Vec<Question<'_>> = addresses.iter().map(|(address, lookup)| Question::Address(*address, *lookup)).collect();
    answers(&questions, layout, options)
}

fn question<'t>(frame: &RawFrame, text: &'t [u8]) -> Question<'t> {
    let (symbol, module) = (frame.symbol.of(text, frame.line_start), frame.module.of(text, frame.line_start));
    let build = frame.build_id.of(text, frame.line_start);
    // A name with its size is exact wherever the kernel was loaded; an address depends on knowing that.
    let by_name = frame.address.is_none() || frame.size.is_some();
    match (frame.address, frame.offset) {
        (_, Some(offset)) if by_name && !symbol.is_empty() => {
            Question::Symbol { module, build, symbol, offset, size: frame.size, lookup: frame.lookup }
        }
        (Some(address), _) if symbol.is_empty() && module.is_empty() => Question::Address(address, frame.lookup),
        (Some(address), _) => Question::NamedAddress { address, lookup: frame.lookup, module, symbol, build },
        (None, _) => Question::Nothing { module, symbol },
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
    /// The symbol that was asked for by name, with the printed size.
    asked: Option<SymbolHit>,
}

fn answers(questions: &[Question<'_>], layout: &Layout, options: ResolveOptions) -> Vec<Answer> {
    let mut answers: Vec<Answer> = questions.iter().map(|_| Answer::unresolved(None, Unresolved::NoAddress)).collect();
    let mut jobs: Vec<Job> = Vec::new();
    // Answers behind those asked for belong to the places that an ambiguous symbol may mean.
    let mut ambiguous: Vec<(usize, Range<usize>, bool)> = Vec::new();
    for (at, question) in questions.iter().enumerate() {
        let placed = match question {
            Question::Address(address, lookup) | Question::NamedAddress { address, lookup, .. } => by_address(layout, *address, *lookup),
            Question::Symbol { module, build, symbol, offset, size, lookup } => {
                let build = ImageId::parse_build(build);
                by_symbol(layout, &lex::text(module), build, &lex::text(symbol), (*offset, *size), *lookup)
            }
            Question::Nothing { .. } => Placed::Not(Answer::unresolved(None, Unresolved::NoAddress)),
        };
        let placed = match question {
            Question::NamedAddress { build, .. } => of_build(layout, placed, build),
            _ => placed,
        };
        let complete = !matches!(placed, Placed::Perhaps(_));
        match placed {
            Placed::Not(answer) => answers[at] = answer,
            Placed::At(job) => jobs.push(Job { answer: at, ..job }),
            Placed::Several(several) | Placed::Perhaps(several) => {
                let first = answers.len();
                for job in several {
                    jobs.push(Job { answer: answers.len(), ..job });
                    answers.push(Answer::unresolved(None, Unresolved::Ambiguous));
                }
                ambiguous.push((at, first..answers.len(), complete));
            }
        }
    }
    run(jobs, &mut answers, layout, options);
    for (at, places, complete) in ambiguous {
        answers[at] = agreed(&answers[places], complete);
    }
    answers.truncate(questions.len());
    answers
}

/// The one answer to several places of one name, if they all come from the same lines and are `complete`; else all of them, and no choice.
fn agreed(answers: &[Answer], complete: bool) -> Answer {
    let mut places: Vec<&Vec<Location>> =
        answers.iter().map(|answer| &answer.locations).filter(|locations| !locations.is_empty()).collect();
    places.dedup();
    match (&answers[0], &places[..]) {
        (first, [_]) if complete && answers.iter().all(|answer| !answer.locations.is_empty()) => first.clone(),
        (first, _) => {
            let mut candidates: Vec<Vec<Location>> = Vec::new();
            places.into_iter().for_each(|place| {
                if !candidates.contains(place) {
                    candidates.push(place.clone());
                }
            });
            Answer { candidates, ..Answer::unresolved(first.image.filter(|_| complete), Unresolved::Ambiguous) }
        }
    }
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

/// Where a question leads.
enum Placed {
    /// To one place.
    At(Job),
    /// To several, of which nobody knows which is meant.
    Several(Vec<Job>),
    /// To one or several, or to a place in an image whose file is missing.
    Perhaps(Vec<Job>),
    /// Nowhere.
    Not(Answer),
}

fn by_address(layout: &Layout, address: Avma, lookup: Lookup) -> Placed {
    let probe = if lookup == Lookup::Return { address.before() } else { address };
    Placed::Not(match layout.space.find(probe) {
        Some(Owner::Image(image, Some(svma))) => {
            let printed = Svma(svma.0.wrapping_add(address.0.wrapping_sub(probe.0)));
            return Placed::At(Job { answer: 0, image, probe: svma, svma: printed, asked: None });
        }
        Some(Owner::Image(image, None)) => {
            let refused = layout.images[image].refused.is_some();
            Answer::unresolved(Some(image), if refused { Unresolved::OtherBuild } else { Unresolved::NoFile })
        }
        Some(Owner::Overlap(..)) => Answer::unresolved(None, Unresolved::Overlap),
        None => Answer::unresolved(None, Unresolved::NoImage),
    })
}

/// Nowhere, when the frame prints the build id of another build than the image's: a module can be built anew and loaded again in one log.
fn of_build(layout: &Layout, placed: Placed, build: &[u8]) -> Placed {
    let Some(build) = ImageId::parse_build(build) else { return placed };
    match &placed {
        Placed::At(job) if layout.images[job.image].wanted.is_some_and(|wanted| wanted != build) => {
            Placed::Not(Answer::unresolved(Some(job.image), Unresolved::OtherBuild))
        }
        _ => placed,
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
        ImageStatus::Matched if !image.doubted => Trust::Verified,
        ImageStatus::Mismatched => Trust::Mismatched,
        ImageStatus::Matched | ImageStatus::Unverified | ImageStatus::Missing => Trust::Unverified,
    };
    let in_symbols: Vec<Svma> = probes.iter().map(|probe| program.in_symbols(*probe)).collect();
    // Sorting the symbols of a kernel and reading its DWARF take as long as each other.
    let (table, located) = rayon::join(|| program.symbols().near(&in_symbols), || program.locate(&probes));
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
    let readable = |name: &Arc<str>| match demangle(name) {
        Cow::Owned(name) if options.demangle => name.into(),
        _ => name.clone(),
    };
    let hit = job.asked.clone().or_else(|| symbol_at(program, table, job, &locations));
    for location in &mut locations {
        location.function = location.function.as_ref().map(readable);
    }
    let Some(mut hit) = hit else {
        return Answer { locations, ..Answer::unresolved(Some(job.image), Unresolved::OutsideSymbols) };
    };
    hit.name = readable(&hit.name);
    let offset = Some(job.svma.0.wrapping_sub(hit.start.0));
    if !hit.contains {
        let reason = Some(Unresolved::AfterSymbol);
        return Answer { symbol: Some(hit), offset, locations, reason, ..Answer::unresolved(Some(job.image), Unresolved::AfterSymbol) };
    }
    // The symbol table names the function as the kernel itself does; DWARF leaves out suffixes such as `.cold`.
    // Of a call that never returns, the address behind it belongs to the next function: then the lines are the caller's own.
    if let Some(owner) = locations.last_mut().filter(|_| job.probe >= hit.start) {
        owner.function = Some(hit.name.clone());
    }
    Answer { image: Some(job.image), symbol: Some(hit), offset, locations, trust, reason: None, candidates: Vec::new() }
}

/// The function that holds `probe`, proven to reach it, or the nearest symbol below it.
fn symbol_at(program: &Program, table: &SymbolTable, job: &Job, locations: &[Location]) -> Option<SymbolHit> {
    let probe = job.probe;
    let found = table.at(program.in_symbols(probe));
    let hit = found.map(|found| SymbolHit {
        name: found.name.into(),
        start: program.from_symbols(found.start),
        size: Some(found.size),
        contains: found.reach == Reach::Contains,
    });
    if let (Some(hit), Some(found)) = (&hit, found)
        && (hit.contains || (found.reach == Reach::Unknown && reaches(program, hit, job)))
    {
        let size = hit.size.filter(|_| hit.contains);
        return Some(SymbolHit { contains: true, size, ..hit.clone() });
    }
    // A function whose symbol was stripped may still have its DWARF entry.
    let debug = if locations.is_empty() { None } else { program.debug_function(probe) };
    debug.map(|(name, start)| SymbolHit { name: name.into(), start, size: None, contains: true }).or(hit)
}

/// Whether the code shows that the function at `hit` goes on to the address of `job`: no other function begins in between. How functions
/// begin is known of Darwin alone; those of ELF kernels need no frame pointer.
fn reaches(program: &Program, hit: &SymbolHit, job: &Job) -> bool {
    if hit.start == job.probe || program.info().is_elf {
        return hit.start == job.probe;
    }
    let holds = if job.probe == job.svma { extent::holds_exact } else { extent::holds_return };
    program.code(hit.start, job.probe).is_some_and(|code| holds(program.info().arch, code))
}
