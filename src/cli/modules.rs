//! `kstack modules`.

use std::io::Write;

use serde::Serialize;

use super::exit::Exit;
use super::inputs::Inputs;
use super::options::{InputArgs, OutputArgs, SymbolArgs};
use super::{output, term};
use crate::model::capture::Capture;
use crate::model::image::ImageStatus;
use crate::place::{self, Layout};
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
    output: OutputArgs,
    /// Form of the output
    #[arg(long, value_name = "NAME", default_value = "text", value_parser = ["text", "json", "ndjson", "markdown", "csv"])]
    format: String,
    /// Say below the table where each load address comes from and why a file was refused
    #[arg(short, long)]
    verbose: bool,
    /// Exit with status 3 when an image has no verified symbol file
    #[arg(long)]
    strict: bool,
}

pub fn run(args: &Args) -> anyhow::Result<Exit> {
    let inputs = Inputs::open(&args.input, &args.symbols, args.symbols.load_maps.is_empty(), false)?;
    let mut layouts: Vec<(String, Layout)> =
        inputs.reports.iter().map(|input| input.source.name.clone()).zip(inputs.place(&args.symbols)).collect();
    if layouts.is_empty() {
        // Load maps alone: their own addresses are the world that everything is placed in.
        let capture = Capture::default();
        let names: Vec<&str> = inputs.maps.iter().map(|(name, _)| name.as_str()).collect();
        layouts.push((names.join(", "), place::place(&capture, b"", &inputs.maps, &inputs.library, args.symbols.place_options())));
    }
    let mut notes = inputs.notes;
    notes.extend(layouts.iter().flat_map(|(_, layout)| layout.notes.iter().cloned()));
    let style = output::style(&args.output, None);
    output::write(&args.output, |out| match args.format.as_str() {
        "json" => json(&layouts, out),
        "ndjson" => ndjson(&layouts, out),
        "markdown" => each(&layouts, out, |layout, out| write_markdown(&modules::HEAD, &rows(layout), out)),
        "csv" => each(&layouts, out, |layout, out| write_csv(&modules::HEAD, &rows(layout), out)),
        _ => each(&layouts, out, |layout, out| {
            // An address or size that is broken over two lines cannot be copied.
            let whole = [1, 2, 4].map(|column| (column, Align::Whole));
            write_table(&modules::HEAD, &rows(layout), &whole, style.terminal.then(|| term::width().unwrap_or(100)), out)?;
            if args.verbose { write!(out, "\n{}", details(layout, inputs.library.folders())) } else { Ok(()) }
        }),
    })?;
    let failed = term::report(&notes, args.output.quiet);
    let unproven = layouts.iter().flat_map(|(_, layout)| &layout.images).any(|image| image.status() != ImageStatus::Matched);
    Ok(Exit::of(failed, args.strict && unproven))
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

fn rows(layout: &Layout) -> Vec<Vec<String>> {
    layout.images.iter().map(|image| modules::cells(image).to_vec()).collect()
}

fn details(layout: &Layout, folders: &[std::path::PathBuf]) -> String {
    let mut text = String::new();
    if let Some(slide) = layout.slide {
        text.push_str(&format!("slide {slide}: {}\n", layout.slide_from));
    }
    for image in &layout.images {
        let mut facts = Vec::new();
        if !image.placed_by.is_empty() {
            facts.push(format!("address from {}", image.placed_by));
        }
        for (segment, at) in image.segments.iter().filter(|(segment, _)| segment.executable) {
            facts.push(format!("{} at {at} is {} in the file", segment.name, segment.svma));
        }
        facts.extend(image.evidence.iter().map(|evidence| evidence.text.clone()));
        facts.extend(image.refused.as_ref().map(|refused| format!("{} refused: {}", refused.path.display(), refused.why)));
        facts.extend(image.other_build.iter().map(|why| format!("used although {why}")));
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
}

fn json(layouts: &[(String, Layout)], out: &mut dyn Write) -> std::io::Result<()> {
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
    });
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
