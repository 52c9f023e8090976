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
use crate::place::{self, Layout};
use crate::render::check::{self, Check};
use crate::render::json::{JsonImage, SCHEMA};
use crate::render::table::{Align, write_csv, write_markdown, write_table};
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
    /// Say below the table by what rule each image is placed, where that is stated and why a file was refused; list user space too
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
    output::write(&args.output, |out| {
        write(args, &layouts, &checks, inputs.library.folders(), out)?;
        let told = checks.iter().zip(&captures).filter(|_| args.format == "text");
        told.into_iter().try_for_each(|(checks, capture)| {
            let text = check::text(checks, *capture);
            write!(out, "\n{}", String::from_utf8_lossy(&sanitize::visible(text.as_bytes())))
        })
    })?;
    let failed = term::report(&notes, args.output.quiet);
    let unproven = layouts.iter().flat_map(|(_, layout)| &layout.images).any(|image| image.status() != ImageStatus::Matched);
    Ok(Exit::of(failed, args.strict && unproven))
}

fn write(
    args: &Args,
    layouts: &[(String, Layout)],
    checks: &[Vec<Check>],
    folders: &[std::path::PathBuf],
    out: &mut dyn Write,
) -> std::io::Result<()> {
    let style = output::style(&args.output, None);
    match args.format.as_str() {
        "json" => json(layouts, checks, out),
        "ndjson" => ndjson(layouts, out),
        "markdown" => each(layouts, out, |layout, out| write_markdown(&modules::HEAD, &rows(layout, args.verbose), out)),
        "csv" => each(layouts, out, |layout, out| write_csv(&modules::HEAD, &rows(layout, args.verbose), out)),
        _ => each(layouts, out, |layout, out| {
            // An address or size that is broken over two lines cannot be copied.
            let whole = [1, 2, 4].map(|column| (column, Align::Whole));
            write_table(&modules::HEAD, &rows(layout, args.verbose), &whole, style.terminal.then(|| term::width().unwrap_or(100)), out)?;
            if args.verbose { write!(out, "\n{}", details(layout, folders)) } else { Ok(()) }
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
    layouts: &[(String, Layout)],
    out: &mut dyn Write,
    write: impl Fn(&Layout, &mut dyn Write) -> std::io::Result<()>,
) -> std::io::Result<()> {
    for (source, layout) in layouts {
        if layouts.len() > 1 {
            writeln!(out, "{}:", sanitize::visible_line(source))?;
        }
        write(layout, out)?;
    }
    Ok(())
}

/// Kernel collections stand below their images; programs and libraries of user space only where everything is asked for.
fn rows(layout: &Layout, all: bool) -> Vec<Vec<String>> {
    let apart = layout.apart.iter().filter(|image| all || !image.user);
    layout.images.iter().chain(apart).map(|image| modules::cells(image).to_vec()).collect()
}

fn details(layout: &Layout, folders: &[std::path::PathBuf]) -> String {
    let mut text = String::new();
    if let Some(slide) = layout.slide {
        text.push_str(&format!("slide {slide}: {}\n", layout.slide_from));
    }
    for image in &layout.images {
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
        facts
            .extend(image.guess.as_ref().map(|guess| format!("{} of this machine's kernel not used: {}", guess.path.display(), guess.why)));
        let parts = image.program.iter().flat_map(|program| program.missing_parts(true));
        facts.extend(parts.map(|part| format!("missing: {}", part.said())));
        facts.extend(image.other_build.iter().map(|why| format!("used although {why}")));
        facts.extend(Some(image.needed_by.join(", ")).filter(|names| !names.is_empty()).map(|names| format!("dependency of {names}")));
        if image.file().is_none() && !folders.is_empty() {
            let list: Vec<String> = folders.iter().map(|folder| folder.display().to_string()).collect();
            facts.push(format!("not found by UUID or name below {}", list.join(", ")));
        }
        if !facts.is_empty() {
            text.push_str(&format!("{}: {}\n", image.name, facts.join("; ")));
        }
    }
    String::from_utf8_lossy(&sanitize::visible(text.as_bytes())).into_owned()
}

#[derive(Serialize)]
struct ReportImages<'a> {
    source: &'a str,
    slide: Option<String>,
    images: Vec<JsonImage<'a>>,
    #[serde(skip_serializing_if = "<[Check]>::is_empty")]
    checks: &'a [Check],
}

fn json(layouts: &[(String, Layout)], checks: &[Vec<Check>], out: &mut dyn Write) -> std::io::Result<()> {
    #[derive(Serialize)]
    struct All<'a> {
        schema: &'static str,
        reports: Vec<ReportImages<'a>>,
    }
    let one = |(source, layout): &'_ (String, Layout)| -> (String, Option<String>) {
        (source.clone(), layout.slide.map(|slide| slide.to_string()))
    };
    let heads: Vec<(String, Option<String>)> = layouts.iter().map(one).collect();
    let reports = heads.iter().zip(layouts).map(|((source, slide), (_, layout))| ReportImages {
        source,
        slide: slide.clone(),
        images: layout.images.iter().map(JsonImage::of).collect(),
        checks: &[],
    });
    let reports = reports.enumerate().map(|(n, report)| ReportImages { checks: checks.get(n).map_or(&[], Vec::as_slice), ..report });
    serde_json::to_writer(&mut *out, &All { schema: SCHEMA, reports: reports.collect() })?;
    out.write_all(b"\n")
}

fn ndjson(layouts: &[(String, Layout)], out: &mut dyn Write) -> std::io::Result<()> {
    #[derive(Serialize)]
    struct Line<'a> {
        schema: &'static str,
        source: &'a str,
        #[serde(flatten)]
        image: JsonImage<'a>,
    }
    for (source, layout) in layouts {
        for image in &layout.images {
            serde_json::to_writer(&mut *out, &Line { schema: SCHEMA, source, image: JsonImage::of(image) })?;
            out.write_all(b"\n")?;
        }
    }
    Ok(())
}
