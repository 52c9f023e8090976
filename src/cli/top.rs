//! `kstack top`.

use std::io::{self, Write};

use serde::Serialize;

use super::exit::Exit;
use super::filters::FilterArgs;
use super::options::{InputArgs, OutputArgs, SampleArgs, SymbolArgs, TitleArgs, Usage, WeightArgs};
use super::session::Session;
use super::{output, zones};
use crate::group::naming::Naming;
use crate::group::plumbing::Plumbing;
use crate::group::top::{self, Occurs};
use crate::group::weight::{Weight, size};
use crate::group::{By, Groups};
use crate::model::addr::{Avma, parse_hex};
use crate::names::base_name;
use crate::render::json::SCHEMA;
use crate::render::sanitize::visible_line;
use crate::render::table::{Align, write_csv, write_markdown, write_table};

#[derive(clap::Args, Debug)]
pub struct Args {
    #[command(flatten)]
    input: InputArgs,
    #[command(flatten)]
    symbols: SymbolArgs,
    #[command(flatten)]
    filters: FilterArgs,
    #[command(flatten)]
    titles: TitleArgs,
    #[command(flatten)]
    weight: WeightArgs,
    #[command(flatten)]
    samples: SampleArgs,
    #[command(flatten)]
    output: OutputArgs,
    /// Say only in how many stacks this address occurs
    #[arg(long, value_name = "ADDR")]
    pc: Vec<String>,
    /// Say only in how many stacks this function occurs; NAME, or `NAME [MODULE]`
    #[arg(long, value_name = "NAME")]
    function: Vec<String>,
    /// Rows of the table; 0 for all
    #[arg(short = 'n', long, value_name = "N", default_value_t = 40)]
    rows: usize,
    /// Form of the output
    #[arg(long, value_name = "NAME", default_value = "text", value_parser = ["text", "json", "ndjson", "markdown", "csv"])]
    format: String,
}

pub fn run(args: &Args) -> anyhow::Result<Exit> {
    let pcs: Vec<Avma> = args.pc.iter().map(|text| pc(text)).collect::<Result<_, Usage>>()?;
    let session = Session::open(&args.input.with_samples(args.samples.all_samples), &args.symbols, &args.filters, &args.titles, true)?;
    let reports = session.reports();
    let groups = Groups::of(&reports, Naming::of(&reports, &Plumbing::default()), By::Functions);
    let weight = args.weight.of(reports.iter().map(|report| report.capture))?;
    let members = groups.list.iter().flat_map(|group| &group.members);
    let all = members.map(|at| weight.of(groups.stack(*at))).fold(0, u64::saturating_add);
    let written = output::write(&args.output, |out| {
        if pcs.is_empty() && args.function.is_empty() && zones::alone(&reports) {
            return zones::write(&reports, &args.format, output::columns(&args.output), out);
        }
        if pcs.is_empty() && args.function.is_empty() {
            return table(args, &groups, weight, all, out);
        }
        let pcs = pcs.iter().map(|pc| (pc.to_string(), top::with_pc(&groups, *pc, weight)));
        let functions = args.function.iter().map(|text| (text.clone(), with_function(&groups, text, weight)));
        pcs.chain(functions).try_for_each(|(what, count)| {
            let (what, percent) = (visible_line(&what), top::percent(count, all));
            match weight {
                Weight::Count => writeln!(out, "{what} occurred {count} times in log ({percent}% of records)"),
                Weight::Bytes => writeln!(out, "{what} stands for {} ({percent}% of bytes)", size(count)),
            }
        })
    });
    std::mem::forget(groups);
    let failed = session.complain(args.output.quiet);
    written?;
    Ok(Exit::of(failed, false))
}

fn pc(text: &str) -> Result<Avma, Usage> {
    parse_hex(text).map(Avma).ok_or_else(|| Usage(format!("--pc '{text}': expected a hexadecimal address")))
}

fn with_function(groups: &Groups<'_, '_>, text: &str, weight: Weight) -> u64 {
    let (name, module) = match text.strip_suffix(']').and_then(|text| text.split_once(" [")) {
        Some((name, module)) => (name, Some(module)),
        None => (text, None),
    };
    top::with_function(groups, base_name(name), module, weight)
}

#[derive(Serialize)]
struct Row<'a> {
    function: &'a str,
    module: Option<&'a str>,
    /// Stacks that run through it.
    #[serde(skip_serializing_if = "Option::is_none")]
    stacks: Option<u64>,
    /// Stacks that wait or stand in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    leaf: Option<u64>,
    /// Bytes of the stacks that run through it, instead of their number.
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<u64>,
    /// Bytes of those that stand in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    leaf_bytes: Option<u64>,
    /// Of all stacks, in percent.
    percent: f64,
}

impl<'a> Row<'a> {
    fn of(groups: &'a Groups<'_, '_>, occurs: &Occurs, weight: Weight, all: u64) -> Row<'a> {
        let name = groups.naming.name(occurs.name);
        let module = Some(&*name.module).filter(|module| !module.is_empty());
        let tenths = top::tenths(occurs.stacks, all);
        let (count, bytes) = (|n| (weight == Weight::Count).then_some(n), |n| (weight == Weight::Bytes).then_some(n));
        Row {
            function: &name.function,
            module,
            stacks: count(occurs.stacks),
            leaf: count(occurs.leaf),
            bytes: bytes(occurs.stacks),
            leaf_bytes: bytes(occurs.leaf),
            percent: tenths as f64 / 10.0,
        }
    }

    fn cells(&self) -> Vec<String> {
        let module = self.module.map(|module| format!(" [{module}]")).unwrap_or_default();
        let number = |count: Option<u64>, bytes: Option<u64>| bytes.map(size).unwrap_or_else(|| count.unwrap_or(0).to_string());
        let numbers = [number(self.stacks, self.bytes), format!("{:.1}%", self.percent), number(self.leaf, self.leaf_bytes)];
        numbers.into_iter().chain([visible_line(&format!("{}{module}", self.function))]).collect()
    }
}

const HEAD: [&str; 4] = ["Stacks", "Percent", "Waiting in", "Function"];
const BYTES_HEAD: [&str; 4] = ["Bytes", "Percent", "In it", "Function"];

fn table(args: &Args, groups: &Groups<'_, '_>, weight: Weight, all: u64, out: &mut dyn Write) -> io::Result<()> {
    #[derive(Serialize)]
    struct All<'a> {
        schema: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        stacks: Option<u64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        bytes: Option<u64>,
        functions: Vec<Row<'a>>,
    }
    let rows = if args.rows == 0 { usize::MAX } else { args.rows };
    let functions: Vec<Row<'_>> =
        top::functions(groups, weight).iter().take(rows).map(|occurs| Row::of(groups, occurs, weight, all)).collect();
    let in_bytes = weight == Weight::Bytes;
    let (stacks, bytes) = if in_bytes { (None, Some(all)) } else { (Some(all), None) };
    let head = if in_bytes { BYTES_HEAD } else { HEAD };
    let cells = || functions.iter().map(Row::cells).collect::<Vec<_>>();
    match args.format.as_str() {
        "json" => {
            serde_json::to_writer(&mut *out, &All { schema: SCHEMA, stacks, bytes, functions })?;
            writeln!(out)
        }
        "ndjson" => functions.iter().try_for_each(|row| {
            serde_json::to_writer(&mut *out, row)?;
            writeln!(out)
        }),
        "markdown" => write_markdown(&head, &cells(), out),
        "csv" => write_csv(&head, &cells(), out),
        _ => {
            let columns = [(0, Align::Right), (1, Align::Right), (2, Align::Right), (3, Align::Wrap)];
            write_table(&head, &cells(), &columns, output::columns(&args.output), out)
        }
    }
}
