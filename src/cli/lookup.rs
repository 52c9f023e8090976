//! `kstack lookup`.

use std::io::{self, BufRead, IsTerminal, Write};

use rayon::prelude::*;
use serde::Serialize;

use super::exit::Exit;
use super::inputs::Inputs;
use super::offsets::{self, Within};
use super::options::{OutputArgs, SymbolArgs, Usage};
use super::sources::SourceArgs;
use super::{output, term};
use crate::model::addr::{Arch, Avma, Svma, parse_hex};
use crate::model::capture::Capture;
use crate::model::frame::{Answer, Trust};
use crate::model::stack::Lookup;
use crate::note::Note;
use crate::place::{self, Layout};
use crate::render::Style;
use crate::render::frames::{self, IDIOMS, Idiom, Paint};
use crate::render::json::{JsonLocation, SCHEMA};
use crate::render::sanitize;
use crate::render::summary::advice;
use crate::resolve::{self, ResolveOptions};
use crate::source::Sources;

#[derive(clap::Args, Debug)]
pub struct Args {
    /// 0xADDRESS, or SYMBOL, SYMBOL+OFFSET or SYMBOL+OFFSET/SIZE with ` [MODULE]` behind it if wanted; without any, one on each line of standard input
    #[arg(value_name = "ADDR|SYMBOL+OFF")]
    queries: Vec<String>,
    #[command(flatten)]
    symbols: SymbolArgs,
    #[command(flatten)]
    sources: SourceArgs,
    #[command(flatten)]
    output: OutputArgs,
    /// Form of the output
    #[arg(long, value_name = "NAME", default_value = "text", value_parser = ["text", "json", "ndjson"])]
    format: String,
    /// Queries are offsets into this image (`+0x12cc`), by bundle identifier or its last part
    ///
    /// They count from the image's `__TEXT` (its load address), or from the segment named behind a colon: panics, spindumps and stackshots of arm64 count from `__TEXT_EXEC`.
    #[arg(long, value_name = "NAME[:SEGMENT]")]
    image: Option<String>,
    /// Architecture of the queries, where a symbol file is for several and no address tells
    #[arg(long, value_name = "ARCH", value_parser = clap::builder::PossibleValuesParser::new(Arch::ALL.map(Arch::name)))]
    arch: Option<String>,
    /// Idiom of the frames in text; by default that of the system that the symbol files are of
    #[arg(long, value_name = "IDIOM", value_parser = clap::builder::PossibleValuesParser::new(IDIOMS.iter().map(|(name, _)| *name)))]
    frames: Option<String>,
    /// The addresses come from stacks: look up the call before each, as symbolicate does
    #[arg(short, long)]
    return_address: bool,
    /// Leave C++ and Rust names as they are in the symbol file
    #[arg(long)]
    no_demangle: bool,
    /// Exit with status 3 when a query stayed unresolved or unverified
    #[arg(long)]
    strict: bool,
}

pub fn run(args: &Args) -> anyhow::Result<Exit> {
    if args.queries.is_empty() && io::stdin().is_terminal() {
        return Err(Usage("nothing to look up; give an address or SYMBOL+OFFSET".to_string()).into());
    }
    let mut inputs = Inputs::default();
    inputs.symbols(&args.symbols.mapped(&args.sources), false);
    if args.symbols.is_empty() {
        let asked = args.queries.iter().filter_map(|query| Named::parse(query)).map(|named| named.module.to_string());
        let addresses = args.queries.is_empty() || args.queries.iter().any(|query| address(query).is_some());
        inputs.this_machine(&args.symbols, &asked.filter(|name| !name.is_empty()).collect(), addresses);
    } else if !args.symbols.load_maps.is_empty() {
        inputs.local(&args.symbols, true);
    }
    let mut layout = vec![place_all(args, &inputs)];
    if inputs.complete(&layout, &args.symbols) {
        layout = vec![place_all(args, &inputs)];
    }
    let layout = layout.remove(0);
    let mut notes = std::mem::take(&mut inputs.notes);
    let style = args.sources.style(output::style(&args.output, None));
    let sources = args.sources.open(style)?;
    let mut session = Session { args, layout: &layout, style, sources, unplaced: false, proven: true };
    let written = output::write(&args.output, |out| session.all(out));
    let (unplaced, proven) = (session.unplaced, session.proven);
    notes.extend(session.sources.iter().flat_map(Sources::notes));
    notes.extend(layout.images.iter().filter_map(|image| image.program.as_ref()).flat_map(|program| program.remarks()));
    // Where images lie matters only to a query that needed to know.
    let matters = |note: &&Note| note.failure || unplaced || note.text.contains(place::WHICH_SLICE);
    notes.extend(layout.notes.iter().filter(matters).cloned());
    let failed = term::report(&notes, args.output.quiet);
    // The process ends here; giving everything back piece by piece would only take time.
    std::mem::forget((inputs, layout));
    written?;
    Ok(Exit::of(failed, args.strict && !proven))
}

/// Addresses are in the world of the load addresses given; with `--slide`, they are run-time addresses.
fn place_all(args: &Args, inputs: &Inputs) -> Layout {
    let options = args.symbols.place_options();
    // A small number may be an offset into a file of any architecture.
    let high = args.queries.iter().filter_map(|query| address(query)).find(|value| value >> 63 == 1);
    let arch = args.arch.as_deref().and_then(Arch::by_name).or_else(|| high.and_then(|value| Arch::of_darwin_address(Avma(value))));
    let capture = Capture { arch, ..Capture::default() };
    place::place(&capture, b"", &inputs.maps, &inputs.library, options)
}

/// A query that is a number: `0x…`, or eight hex digits and more.
fn address(query: &str) -> Option<u64> {
    let bare = query.len() >= 8 && !query.starts_with("0x");
    (bare || query.starts_with("0x") || query.starts_with("0X")).then(|| parse_hex(query)).flatten()
}

/// `SYMBOL[+OFFSET[/SIZE]][ [MODULE]]`, offset and size in hex with `0x` or in decimal.
struct Named<'q> {
    symbol: &'q str,
    offset: u64,
    size: Option<u64>,
    module: &'q str,
}

impl<'q> Named<'q> {
    fn parse(query: &'q str) -> Option<Named<'q>> {
        let module = query.strip_suffix(']').and_then(|rest| rest.rsplit_once(" ["));
        let (place, module) = module.unwrap_or((query, ""));
        let number = |text: &str| if text.starts_with("0x") { parse_hex(text) } else { text.parse().ok() };
        let (place, size) = match place.rsplit_once('/') {
            Some((place, size)) => (place, Some(number(size.trim())?)),
            None => (place, None),
        };
        let (symbol, offset) = match place.rsplit_once('+') {
            Some((symbol, offset)) => (symbol, number(offset.trim())?),
            None => (place, 0),
        };
        let symbol = symbol.trim();
        (!symbol.is_empty()).then_some(Named { symbol, offset, size, module })
    }
}

/// One answer with the address that it is for.
struct Hit {
    address: Option<Avma>,
    answer: Answer,
}

/// The answers to a query, and what is wrong with it.
type Found = (Vec<Hit>, Option<String>);

struct Session<'a> {
    args: &'a Args,
    layout: &'a Layout,
    style: Style,
    sources: Option<Sources>,
    /// Whether an address was asked for that nothing covers.
    unplaced: bool,
    proven: bool,
}

impl Session<'_> {
    fn all(&mut self, out: &mut dyn Write) -> io::Result<()> {
        let mut results = Vec::new();
        if self.args.queries.is_empty() {
            self.stream(out, &mut results)?;
        } else {
            let queries: Vec<&str> = self.args.queries.iter().map(String::as_str).collect();
            self.batch(&queries, out, &mut results)?;
        }
        if self.args.format == "json" {
            serde_json::to_writer(&mut *out, &serde_json::json!({ "schema": SCHEMA, "results": results }))?;
            out.write_all(b"\n")?;
        }
        Ok(())
    }

    /// Answers what standard input holds at the moment, all of it at once, and flushes: a long list is one batch, and a program
    /// that waits for an answer before it asks again gets it.
    fn stream(&mut self, out: &mut dyn Write, results: &mut Vec<serde_json::Value>) -> io::Result<()> {
        const AT_ONCE: usize = 1 << 20;
        let mut input = io::BufReader::with_capacity(AT_ONCE, io::stdin().lock());
        let mut pending = Vec::new();
        loop {
            let read = input.fill_buf()?;
            let (count, ended) = (read.len(), read.is_empty());
            pending.extend_from_slice(read);
            input.consume(count);
            let whole = if ended { pending.len() } else { memchr::memrchr(b'\n', &pending).map_or(0, |at| at + 1) };
            let text = String::from_utf8_lossy(&pending[..whole]).into_owned();
            let queries: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
            self.batch(&queries, out, results)?;
            out.flush()?;
            pending.drain(..whole);
            if ended {
                return Ok(());
            }
        }
    }

    fn batch(&mut self, queries: &[&str], out: &mut dyn Write, results: &mut Vec<serde_json::Value>) -> io::Result<()> {
        let mut found = self.find(queries);
        for hit in found.iter_mut().flat_map(|(hits, _)| hits) {
            self.sources.iter_mut().for_each(|sources| sources.attach(std::slice::from_mut(&mut hit.answer)));
        }
        for (hits, problem) in &found {
            let trusted = |hit: &Hit| hit.answer.trust == Trust::Verified;
            self.proven &= !hits.is_empty() && hits.iter().all(trusted) && problem.is_none();
        }
        if self.args.format == "text" {
            let texts: Vec<String> = queries.par_iter().zip(&found).map(|(query, found)| self.text(query, found)).collect();
            return texts.iter().try_for_each(|text| out.write_all(text.as_bytes()));
        }
        for (query, (hits, problem)) in queries.iter().zip(&found) {
            let frames: Vec<JsonHit<'_>> = hits.iter().map(|hit| JsonHit::of(hit, self.layout)).collect();
            let value = serde_json::json!({ "query": query, "problem": problem, "frames": frames });
            if self.args.format == "json" {
                results.push(value);
            } else {
                serde_json::to_writer(&mut *out, &value)?;
                out.write_all(b"\n")?;
            }
        }
        Ok(())
    }

    /// Every answer to each query, and what is wrong with it.
    fn find(&mut self, queries: &[&str]) -> Vec<Found> {
        let options = ResolveOptions { demangle: !self.args.no_demangle };
        let lookup = if self.args.return_address { Lookup::Return } else { Lookup::Exact };
        if let Some(within) = self.args.image.as_deref().map(Within::parse) {
            let one = |query: &&str| match offsets::offset(query) {
                Some(offset) => self.in_image(within, offset, lookup, options),
                None => (Vec::new(), Some("no offset: expected +0xOFF or a decimal number".to_string())),
            };
            return queries.iter().map(one).collect();
        }
        let addresses: Vec<(Avma, Lookup)> = queries.iter().filter_map(|query| address(query)).map(|value| (Avma(value), lookup)).collect();
        let mut answers = resolve::addresses(&addresses, self.layout, options).into_iter().zip(addresses);
        let mut one = |query: &&str| {
            if address(query).is_none() {
                return self.by_name(query, lookup, options);
            }
            let Some((answer, (address, _))) = answers.next() else { return Found::default() };
            self.unplaced |= answer.image.is_none();
            let problem = answer.reason.map(|reason| advice(reason).to_string());
            (vec![Hit { address: Some(address), answer }], problem)
        };
        queries.iter().map(&mut one).collect()
    }

    /// What lies at an offset of the images of a name.
    fn in_image(&self, within: Within<'_>, offset: u64, lookup: Lookup, options: ResolveOptions) -> Found {
        let found = match within.find(self.layout, offset) {
            Ok(found) => found,
            Err(problem) => return (Vec::new(), Some(problem)),
        };
        let asked: Vec<(usize, Svma, Lookup)> = found.into_iter().map(|(image, svma)| (image, svma, lookup)).collect();
        let hits = self.hits(&asked, options);
        let problem = (hits.len() > 1).then(|| format!("{} images are called that; all are shown", hits.len()));
        (hits, problem)
    }

    fn hits(&self, asked: &[(usize, Svma, Lookup)], options: ResolveOptions) -> Vec<Hit> {
        let answers = resolve::file_addresses(asked, self.layout, options);
        let hit = |((image, svma, _), answer): (&(usize, Svma, Lookup), Answer)| Hit {
            address: self.layout.images[*image].captured(*svma),
            answer,
        };
        asked.iter().zip(answers).map(hit).collect()
    }

    fn by_name(&self, query: &str, lookup: Lookup, options: ResolveOptions) -> Found {
        let Some(named) = Named::parse(query) else { return (Vec::new(), Some("neither an address nor SYMBOL+OFFSET/SIZE".to_string())) };
        // A return address behind the last instruction still belongs to the function.
        let lookup = if named.size == Some(named.offset) && named.offset > 0 { Lookup::Return } else { lookup };
        let starts = resolve::symbols(self.layout, named.module, named.symbol, named.size);
        let asked: Vec<(usize, Svma, Lookup)> =
            starts.iter().map(|found| (found.image, Svma(found.start.0.wrapping_add(named.offset)), lookup)).collect();
        // `net.example.zfs + 0x12cc`, as debuggers and spindump print what they know no symbol of.
        if starts.is_empty() && self.layout.images.iter().any(|image| image.name == named.symbol) {
            return self.in_image(Within::parse(named.symbol), named.offset, lookup, options);
        }
        let hits = self.hits(&asked, options);
        self.fitting(&named, &starts, hits)
    }

    /// Of several symbols of one name those with the size asked for; a size or offset that fits none is said.
    fn fitting(&self, named: &Named<'_>, starts: &[resolve::Candidate], hits: Vec<Hit>) -> Found {
        if hits.is_empty() {
            let files = self.layout.images.iter().filter(|image| image.program.is_some()).count();
            return (hits, Some(format!("no symbol `{}` in {files} symbol files", named.symbol)));
        }
        if !starts.iter().any(|found| found.fits) {
            return (hits, Some(format!("no `{}` has size {:#x}: another build?", named.symbol, named.size.unwrap_or_default())));
        }
        let fitting = hits.into_iter().zip(starts).filter(|(_, found)| found.fits);
        let (inside, behind): (Vec<Hit>, Vec<Hit>) =
            fitting.map(|(hit, _)| hit).partition(|hit| hit.answer.offset == Some(named.offset) && hit.answer.named().is_some());
        if inside.is_empty() {
            return (behind, Some(format!("offset {:#x} is behind the end of `{}`", named.offset, named.symbol)));
        }
        let ambiguous = inside.len() > 1;
        let problem = ambiguous.then(|| format!("{} symbols are called `{}`; all are shown", inside.len(), named.symbol));
        (inside, problem)
    }

    /// The text of one query's answers.
    fn text(&self, query: &str, found: &Found) -> String {
        let (hits, problem) = found;
        let wished = self.args.frames.as_deref().and_then(|wish| IDIOMS.iter().find(|(name, _)| *name == wish));
        let query = if self.style.terminal { sanitize::visible_line(query) } else { query.to_string() };
        let mut text = String::new();
        for hit in hits {
            let image = hit.answer.image.map(|image| &self.layout.images[image]);
            let own = if image.is_some_and(|image| image.is_linux()) { Idiom::Linux } else { Idiom::Atos };
            let idiom = wished.map_or(own, |(_, idiom)| *idiom);
            let new = frames::rewrite(hit.address, &hit.answer, image, idiom, Paint::of(self.style));
            for line in new.iter().flat_map(|new| std::iter::once(&new.line).chain(&new.below)) {
                text.push_str(line);
                text.push('\n');
            }
        }
        match problem {
            Some(problem) if text.is_empty() => text = format!("{query}: ?? ({problem})\n"),
            Some(problem) => text.push_str(&format!("    note: {problem}\n")),
            None => {}
        }
        text
    }
}

#[derive(Serialize)]
struct JsonHit<'a> {
    address: Option<String>,
    module: Option<&'a str>,
    symbol: Option<&'a str>,
    offset: Option<u64>,
    size: Option<u64>,
    trust: &'static str,
    locations: Vec<JsonLocation<'a>>,
}

impl<'a> JsonHit<'a> {
    fn of(hit: &'a Hit, layout: &'a Layout) -> JsonHit<'a> {
        let named = hit.answer.named();
        JsonHit {
            address: hit.address.map(|address| address.to_string()),
            module: hit.answer.image.map(|image| layout.images[image].name.as_str()),
            symbol: named.map(|symbol| &*symbol.name),
            offset: hit.answer.offset.filter(|_| named.is_some()),
            size: named.and_then(|symbol| symbol.size),
            trust: hit.answer.trust.name(),
            locations: hit.answer.locations.iter().map(JsonLocation::of).collect(),
        }
    }
}
