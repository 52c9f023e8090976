//! `kstack modules`.

use std::io::Write;

use serde::Serialize;

use super::exit::Exit;
use super::filters::FilterArgs;
use super::inputs::Inputs;
use super::options::{InputArgs, OutputArgs, SymbolArgs, TitleArgs, Usage};
use super::session::Session;
use super::{output, term};
use crate::model::capture::Capture;
use crate::model::image::ImageStatus;
use crate::note::Note;
use crate::place::searched::{Search, Searched};
use crate::place::{self, Image, Layout};
use crate::render::check::{self, Check};
use crate::render::json::{JsonImage, SCHEMA};
use crate::render::searched::{self, JsonSearched};
use crate::render::table::{write_csv, write_markdown, write_table};
use crate::render::wrap::wrapped;
use crate::render::{modules, sanitize};

#[derive(clap::Args, Debug)]
pub struct Args {
    #[command(flatten)]
    input: InputArgs,
    #[command(flatten)]
    symbols: SymbolArgs,
    #[command(flatten)]
    filters: FilterArgs,
    #[command(flatten)]
    output: OutputArgs,
    /// Form of the output
    #[arg(long, value_name = "NAME", default_value = "text", value_parser = ["text", "json", "ndjson", "markdown", "csv"])]
    format: String,
    /// Say below the table by what rule each image is placed, every place where its file was looked for and why one was refused; list user space too
    #[arg(short, long)]
    verbose: bool,
    /// Look into each symbol file: stripped or not, DWARF, lines, inlined calls, unwinding, CTF types; and say what mends what is missing
    #[arg(long)]
    check: bool,
    /// Exit with status 3 when an image has no verified symbol file
    #[arg(long)]
    strict: bool,
}

pub fn run(args: &Args) -> anyhow::Result<Exit> {
    let (mut inputs, placed, mut notes) = opened(args)?;
    let mut layouts: Vec<(String, Layout)> = inputs.reports.iter().map(|input| input.source.name.clone()).zip(placed).collect();
    if layouts.is_empty() {
        // Load maps alone: their own addresses are the world that everything is placed in.
        let capture = Capture::default();
        let names: Vec<&str> = inputs.maps.iter().map(|(name, _)| name.as_str()).collect();
        let layout = place::place(&capture, b"", &inputs.maps, &inputs.library, args.symbols.place_options());
        notes.extend(layout.notes.iter().cloned());
        layouts.push((names.join(", "), layout));
    }
    if args.check && !matches!(args.format.as_str(), "text" | "json") {
        return Err(Usage(format!("--check goes with --format text or json, not with {}", args.format)).into());
    }
    let captures: Vec<Option<&Capture>> = if inputs.reports.is_empty() {
        vec![inputs.maps.first().map(|(_, map)| map)]
    } else {
        inputs.reports.iter().map(|input| Some(&input.capture)).collect()
    };
    let checks: Vec<Vec<Check>> = if args.check {
        layouts.iter().zip(&captures).map(|((_, layout), capture)| check::checks(layout, *capture)).collect()
    } else {
        Vec::new()
    };
    let programs = layouts.iter().flat_map(|(_, layout)| &layout.images).filter_map(|image| image.program.as_ref());
    notes.extend(programs.flat_map(|program| program.remarks()));
    notes.append(&mut inputs.notes);
    let listed: Vec<Listed> = layouts.iter().enumerate().map(|(n, layout)| Listed::of(args, &inputs, n, layout, captures[n])).collect();
    let written = output::write(&args.output, |out| {
        write(args, &listed, &checks, out)?;
        let told = checks.iter().zip(&captures).filter(|_| args.format == "text");
        told.into_iter().try_for_each(|(checks, capture)| {
            let text = check::text(checks, *capture);
            write!(out, "\n{}", String::from_utf8_lossy(&sanitize::visible(text.as_bytes())))
        })
    });
    let failed = term::report(&notes, args.output.quiet);
    let unproven = layouts.iter().flat_map(|(_, layout)| &layout.images).any(|image| image.status() != ImageStatus::Matched);
    written?;
    Ok(Exit::of(failed, args.strict && unproven))
}

/// One report's images, and where the file of each was looked for.
struct Listed<'a> {
    source: &'a str,
    layout: &'a Layout,
    capture: Option<&'a Capture>,
    /// For each image of the layout; empty where the form of the output has no room for it.
    searched: Vec<Vec<Searched>>,
}

impl<'a> Listed<'a> {
    fn of(
        args: &Args,
        inputs: &'a Inputs,
        report: usize,
        (source, layout): &'a (String, Layout),
        capture: Option<&'a Capture>,
    ) -> Listed<'a> {
        let shown = matches!(args.format.as_str(), "text" | "json" | "ndjson");
        let empty = Capture::default();
        let local = inputs.searched_for(report).map(|wanted| (&*args.symbols.local_root, wanted));
        let search = shown.then(|| Search::new(&inputs.library, capture.unwrap_or(&empty), local));
        let places = |image: &Image| {
            let mut places = search.as_ref().map_or_else(Vec::new, |search| search.of(image));
            places.extend(inputs.fetched.places(image));
            places
        };
        // Without -v the text says only how many places there were, and that of images without symbols.
        let all = args.verbose || args.format != "text";
        let wanted = |image: &&Image| all || image.program.is_none();
        let searched = layout.images.iter().map(|image| Some(image).filter(wanted).map_or_else(Vec::new, places));
        Listed { source, layout, capture, searched: searched.collect() }
    }

    /// What the text says below the table.
    fn below(&self, verbose: bool) -> String {
        let mut text = String::new();
        if verbose {
            text = format!("\n{}", details(self));
        }
        let images: Vec<(&Image, &[Searched])> = self.layout.images.iter().zip(self.searched.iter().map(Vec::as_slice)).collect();
        let missing = searched::missing(&images, self.capture);
        if !missing.is_empty() {
            text.push_str(&format!("\n{missing}"));
        }
        String::from_utf8_lossy(&sanitize::visible(text.as_bytes())).into_owned()
    }
}

fn write(args: &Args, listed: &[Listed<'_>], checks: &[Vec<Check>], out: &mut dyn Write) -> std::io::Result<()> {
    match args.format.as_str() {
        "json" => json(listed, checks, out),
        "ndjson" => ndjson(listed, out),
        "markdown" => each(listed, out, |one, out| write_markdown(&modules::HEAD, &rows(one.layout, args.verbose), out)),
        "csv" => each(listed, out, |one, out| write_csv(&modules::HEAD, &rows(one.layout, args.verbose), out)),
        _ => each(listed, out, |one, out| {
            write_table(&modules::HEAD, &rows(one.layout, args.verbose), &[], output::columns(&args.output), out)?;
            write!(out, "{}", wrapped(&one.below(args.verbose), 4, output::columns(&args.output)))
        }),
    }
}

/// Opens and places everything; with filters only the images that the remaining stacks run through.
fn opened(args: &Args) -> anyhow::Result<(Inputs, Vec<Layout>, Vec<Note>)> {
    if !args.filters.any(&args.symbols) {
        let mut inputs = Inputs::open(&args.input, &args.symbols, args.symbols.load_maps.is_empty(), false)?;
        let layouts = inputs.place(&args.symbols);
        let mut notes = std::mem::take(&mut inputs.notes);
        notes.extend(layouts.iter().flat_map(|layout| layout.notes.iter().cloned()));
        return Ok((inputs, layouts, notes));
    }
    args.filters.need_report(&args.input, &args.symbols)?;
    let mut session = Session::open(&args.input, &args.symbols, &args.filters, &TitleArgs::default(), true)?;
    let layouts = session.images_of_stacks();
    Ok((std::mem::take(&mut session.inputs), layouts, std::mem::take(&mut session.notes)))
}

fn each(
    listed: &[Listed<'_>],
    out: &mut dyn Write,
    write: impl Fn(&Listed<'_>, &mut dyn Write) -> std::io::Result<()>,
) -> std::io::Result<()> {
    for one in listed {
        if listed.len() > 1 {
            writeln!(out, "{}:", sanitize::visible_line(one.source))?;
        }
        write(one, out)?;
    }
    Ok(())
}

/// Kernel collections stand below their images; programs and libraries of user space only where everything is asked for.
fn rows(layout: &Layout, all: bool) -> Vec<Vec<String>> {
    let apart = layout.apart.iter().filter(|image| all || !image.user);
    layout.images.iter().chain(apart).map(|image| modules::cells(image).to_vec()).collect()
}

fn details(listed: &Listed<'_>) -> String {
    let mut text = String::new();
    if let Some(slide) = listed.layout.slide {
        text.push_str(&format!("slide {slide}: {}\n", listed.layout.slide_from));
    }
    for (image, places) in listed.layout.images.iter().zip(&listed.searched) {
        let facts = facts(image);
        if !facts.is_empty() || !places.is_empty() {
            text.push_str(format!("{}: {}", image.name, facts.join("; ")).trim_end());
            text.push('\n');
        }
        text.push_str(&searched::lines(places));
    }
    text
}

/// By what rule an image is placed, and what speaks for and against its file.
fn facts(image: &Image) -> Vec<String> {
    let mut facts = Vec::new();
    match image.placed_by.as_str() {
        "" => {}
        // The kernel's place follows from its slide, whose reason may be a sentence.
        reason if image.kernel => facts.push(format!("address: {reason}")),
        source => facts.push(format!("address from {source}")),
    }
    for (segment, at) in image.segments.iter().filter(|(segment, _)| segment.executable) {
        facts.push(format!("{} at {at} is {} in the file", segment.name, segment.svma));
    }
    facts.extend(image.evidence.iter().map(|evidence| evidence.text.clone()));
    facts.extend(image.refused.as_ref().map(|refused| format!("{} refused: {}", refused.path.display(), refused.why)));
    facts.extend(image.guess.as_ref().map(|guess| format!("{} of this machine's kernel not used: {}", guess.path.display(), guess.why)));
    let parts = image.program.iter().flat_map(|program| program.missing_parts(true));
    facts.extend(parts.map(|part| format!("missing: {}", part.said())));
    facts.extend(image.other_build.iter().map(|why| format!("used although {why}")));
    facts.extend(Some(image.needed_by.join(", ")).filter(|names| !names.is_empty()).map(|names| format!("dependency of {names}")));
    facts
}

/// An image, and where its file was looked for.
#[derive(Serialize)]
struct SearchedImage<'a> {
    #[serde(flatten)]
    image: JsonImage<'a>,
    searched: Vec<JsonSearched<'a>>,
}

impl<'a> SearchedImage<'a> {
    fn all(listed: &'a Listed<'a>) -> Vec<SearchedImage<'a>> {
        let one = |(image, places): (&'a Image, &'a Vec<Searched>)| SearchedImage {
            image: JsonImage::of(image),
            searched: places.iter().map(JsonSearched::of).collect(),
        };
        listed.layout.images.iter().zip(&listed.searched).map(one).collect()
    }
}

#[derive(Serialize)]
struct ReportImages<'a> {
    source: &'a str,
    slide: Option<String>,
    images: Vec<SearchedImage<'a>>,
    #[serde(skip_serializing_if = "<[Check]>::is_empty")]
    checks: &'a [Check],
}

fn json(listed: &[Listed<'_>], checks: &[Vec<Check>], out: &mut dyn Write) -> std::io::Result<()> {
    #[derive(Serialize)]
    struct All<'a> {
        schema: &'static str,
        reports: Vec<ReportImages<'a>>,
    }
    let reports = listed.iter().enumerate().map(|(n, one)| ReportImages {
        source: one.source,
        slide: one.layout.slide.map(|slide| slide.to_string()),
        images: SearchedImage::all(one),
        checks: checks.get(n).map_or(&[], Vec::as_slice),
    });
    serde_json::to_writer(&mut *out, &All { schema: SCHEMA, reports: reports.collect() })?;
    out.write_all(b"\n")
}

fn ndjson(listed: &[Listed<'_>], out: &mut dyn Write) -> std::io::Result<()> {
    #[derive(Serialize)]
    struct Line<'a> {
        schema: &'static str,
        source: &'a str,
        #[serde(flatten)]
        image: SearchedImage<'a>,
    }
    for one in listed {
        for image in SearchedImage::all(one) {
            serde_json::to_writer(&mut *out, &Line { schema: SCHEMA, source: one.source, image })?;
            out.write_all(b"\n")?;
        }
    }
    Ok(())
}
