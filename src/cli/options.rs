//! Option groups that several commands share, and how their values are read.

use std::path::{Path, PathBuf};

use clap::Args;

use super::debuginfod::DebuginfodArgs;
use super::sources::SourceArgs;
use crate::group::Weight;
use crate::model::addr::{Avma, Slide, parse_hex};
use crate::model::capture::Capture;
use crate::place::PlaceOptions;
use crate::symbols::find::{GivenAddress, GivenFile};
use crate::title::SkipList;

/// A command line that makes no sense although its grammar is right.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Usage(pub String);

/// Where reports come from.
#[derive(Args, Clone, Debug, Default)]
pub struct InputArgs {
    /// Files, directories, or - for standard input (the default unless it is a terminal); gzip, xz and zstd are unpacked
    #[arg(value_name = "REPORT")]
    pub reports: Vec<PathBuf>,
    /// Read every report as this format instead of detecting it (see `kstack formats`)
    #[arg(long, value_name = "NAME", value_parser = clap::builder::PossibleValuesParser::new(format_ids()))]
    pub format_in: Option<String>,
    /// Whether profiles that can be folded from their text are opened and not read.
    #[arg(skip)]
    pub leave_profiles: bool,
    /// Whether of a capture with several samples the last alone is taken.
    #[arg(skip)]
    pub last_samples: bool,
}

impl InputArgs {
    /// The same, with the last sample of each capture alone unless `all` are wanted.
    #[must_use]
    pub fn with_samples(&self, all: bool) -> InputArgs {
        InputArgs { last_samples: !all, ..self.clone() }
    }
}

/// Which samples of a capture count.
#[derive(Args, Debug)]
pub struct SampleArgs {
    /// Count the threads of every sample of a capture; without it those of the last one, so that each thread counts once
    #[arg(long)]
    pub all_samples: bool,
}

/// The formats that can be forced.
pub fn format_ids() -> Vec<&'static str> {
    crate::parse::FORMATS.iter().map(|format| format.id()).collect()
}

/// Where symbols come from.
#[derive(Args, Clone, Debug)]
pub struct SymbolArgs {
    /// The kernel's symbol file: Mach-O, vmlinux, System.map or kallsyms; ADDR is where its __TEXT lies in memory
    #[arg(short, long, value_name = "FILE[@ADDR]")]
    pub kernel: Option<String>,
    /// One kext or module: a .kext or .dSYM bundle, a Mach-O or .sym file, a .ko, packed or not
    ///
    /// ADDR is the load address that kextstat or /proc/modules prints. NAME= says which image the file is for, by bundle identifier or by its last part. Where segments are placed apart (arm64), @SEGMENT=ADDR places one segment. A bare name that is no file (`--module zfs`, `--module '!zfs'`) is a filter: stacks with a frame in that module.
    #[arg(short, long = "module", value_name = "[NAME=]FILE[@ADDR]")]
    pub modules: Vec<String>,
    /// Load addresses: kextstat, kmutil showloaded, showallkmods, /proc/modules, kallsyms, a tree of /sys/module; kind detected
    #[arg(short, long = "load-map", value_name = "FILE")]
    pub load_maps: Vec<PathBuf>,
    /// Look for symbol files below this directory, by UUID first and by name second
    #[arg(short = 'S', long = "symbols", value_name = "DIR")]
    pub symbols: Vec<PathBuf>,
    /// The kernel slide, or `auto`: from the report, else from frames that name both a symbol and an address
    #[arg(long, value_name = "HEX|auto", default_value = "auto", value_parser = slide)]
    slide: SlideArg,
    /// Do not look for what this machine has installed for the report's kernel (/usr/lib/debug, /lib/modules, /boot); as KSTACK_NO_LOCAL=1 does
    #[arg(long)]
    pub no_local: bool,
    /// Where /usr/lib/debug, /lib/modules and /boot are, for tests
    #[arg(long, hide = true, value_name = "DIR", default_value = "/")]
    pub local_root: PathBuf,
    /// Use a symbol file although its UUID or the report's own frames say that it is another build
    #[arg(long)]
    allow_mismatch: bool,
    /// What is fetched by build id.
    #[command(flatten)]
    pub debuginfod: DebuginfodArgs,
    /// What `--source-map` says, where a command has it: split DWARF lies where its sources do.
    #[arg(skip)]
    pub maps: Vec<(String, PathBuf)>,
}

impl SymbolArgs {
    /// What the user decides about placing images.
    pub fn place_options(&self) -> PlaceOptions {
        PlaceOptions { slide: self.slide.0, allow_mismatch: self.allow_mismatch }
    }

    /// The same with what `--source-map` says about paths.
    pub fn mapped(&self, sources: &SourceArgs) -> SymbolArgs {
        SymbolArgs { maps: sources.maps(), ..self.clone() }
    }

    /// Whether this machine's own files are to be left alone.
    pub fn is_local_off(&self) -> bool {
        self.no_local || std::env::var_os("KSTACK_NO_LOCAL").is_some_and(|value| !value.is_empty() && value != "0")
    }

    /// Whether nothing says anything about images.
    pub fn is_empty(&self) -> bool {
        self.kernel.is_none() && self.modules.is_empty() && self.load_maps.is_empty() && self.symbols.is_empty()
    }

    /// The files given with `-k` and `-m`; with `filters`, what `-m` names by a bare word is none.
    pub fn given(&self, filters: bool) -> Vec<GivenFile> {
        let kernel = self.kernel.iter().map(|spec| given_file(spec, true));
        let modules = self.modules.iter().filter(|spec| !(filters && is_bare_name(spec)));
        kernel.chain(modules.map(|spec| given_file(spec, false))).collect()
    }

    /// What `--module` names by a bare word: stacks through that module are wanted.
    pub fn module_names(&self) -> impl Iterator<Item = &str> {
        self.modules.iter().map(String::as_str).filter(|spec| is_bare_name(spec))
    }
}

/// `--slide`'s value; `None` for `auto`.
#[derive(Clone, Copy, Debug)]
struct SlideArg(Option<Slide>);

fn slide(text: &str) -> Result<SlideArg, String> {
    if text == "auto" {
        return Ok(SlideArg(None));
    }
    let value = parse_hex(text).ok_or_else(|| format!("`{text}` is neither hexadecimal nor `auto`"))?;
    Ok(SlideArg(Some(Slide(value))))
}

/// What stacks count for.
#[derive(Args, Debug)]
pub struct WeightArgs {
    /// What stacks count for: count (threads, samples, records, objects) or bytes, in reports of memory
    #[arg(long, value_name = "WHAT", default_value = "count")]
    weight: Weight,
}

impl WeightArgs {
    /// The weight, which the reports must have.
    ///
    /// # Errors
    /// When bytes are wanted and no stack has any.
    pub fn of<'a>(&self, mut captures: impl Iterator<Item = &'a Capture>) -> Result<Weight, Usage> {
        let mut counted = || captures.any(|capture| capture.stacks.iter().any(|stack| stack.bytes.is_some()));
        if self.weight == Weight::Bytes && !counted() {
            let why = "--weight bytes: no stack here has bytes; kmemleak, page_owner and slub traces of caches named by size count them";
            return Err(Usage(why.to_string()));
        }
        Ok(self.weight)
    }
}

/// Which frame of a crash is guilty.
#[derive(Args, Debug, Default)]
pub struct TitleArgs {
    /// Functions and files that are never guilty of a crash, besides those that kstack knows
    ///
    /// A section such as `[plumbing]`, then one pattern a line, `*` for any text; `!pattern` takes back one of kstack's own. The list that kstack comes with is src/title/skip-list.txt, and says more about the form.
    #[arg(long = "skip-list", value_name = "FILE")]
    skip_lists: Vec<PathBuf>,
}

impl TitleArgs {
    /// kstack's own list with the user's added.
    ///
    /// # Errors
    /// When a list of the user's cannot be read: which frames are guilty would be another answer than the one that was asked for.
    pub fn skip_list(&self) -> Result<SkipList, Usage> {
        let wrong = |error: crate::Error| Usage(format!("--skip-list {error}"));
        let mut list = SkipList::default();
        for path in &self.skip_lists {
            let text = std::fs::read_to_string(path).map_err(|cause| wrong(crate::Error::io(path, cause)))?;
            list.add(path, &text).map_err(wrong)?;
        }
        Ok(list)
    }
}

/// Options about the output that every command takes.
#[derive(Args, Debug)]
pub struct OutputArgs {
    /// Write to FILE, which appears whole or not at all
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Colour
    #[arg(long, value_name = "WHEN", default_value = "auto", value_parser = ["auto", "always", "never"])]
    pub color: String,
    /// Say nothing on standard error but errors
    #[arg(short, long)]
    pub quiet: bool,
}

/// Whether `--module`'s value names a module rather than a file: a word that no file or bundle is called, nor would be.
fn is_bare_name(spec: &str) -> bool {
    const FILES: &[&str] = &[".ko", ".xz", ".gz", ".zst", ".kext", ".dSYM", ".sym", ".debug", ".map"];
    let word = spec.strip_prefix('!').unwrap_or(spec);
    !word.contains(['/', '=', '@']) && !FILES.iter().any(|end| word.ends_with(end)) && !Path::new(word).exists()
}

/// Reads `[NAME=]FILE[@[SEGMENT=]ADDR]`. A file whose own name looks like that wins.
fn given_file(spec: &str, kernel: bool) -> GivenFile {
    let plain = |path: &str| GivenFile { name: None, path: PathBuf::from(path), address: None, kernel };
    if Path::new(spec).exists() {
        return plain(spec);
    }
    let (rest, address) = match spec.rsplit_once('@').and_then(|(file, at)| Some((file, given_address(at)?))) {
        Some((file, address)) => (file, Some(address)),
        None => (spec, None),
    };
    let named =
        if Path::new(rest).exists() { None } else { rest.split_once('=').filter(|(name, _)| !name.is_empty() && !name.contains('/')) };
    let (name, path) = named.map_or((None, rest), |(name, path)| (Some(name.to_string()), path));
    GivenFile { name, address, ..plain(path) }
}

fn given_address(text: &str) -> Option<GivenAddress> {
    let (segment, digits) = text.rsplit_once('=').map_or((None, text), |(segment, digits)| (Some(segment.to_string()), digits));
    Some(GivenAddress { segment, at: Avma(parse_hex(digits)?) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_files_and_addresses_come_apart() {
        let read = |spec: &str| {
            let file = given_file(spec, false);
            let address = file.address.map(|address| (address.segment, address.at.0));
            (file.name, file.path.display().to_string(), address)
        };
        let at = |segment: Option<&str>, value| Some((segment.map(str::to_string), value));
        assert_eq!(read("/x/zfs.kext@0xff"), (None, "/x/zfs.kext".into(), at(None, 0xff)));
        assert_eq!(read("net.a.zfs=/x/zfs@ffffff7f80ef6000"), (Some("net.a.zfs".into()), "/x/zfs".into(), at(None, 0xffff_ff7f_80ef_6000)));
        assert_eq!(read("/x/zfs.kext@__TEXT_EXEC=0x10"), (None, "/x/zfs.kext".into(), at(Some("__TEXT_EXEC"), 0x10)));
        assert_eq!(read("/home/me@host/zfs"), (None, "/home/me@host/zfs".into(), None));
        assert_eq!(read("/a=b/zfs@1"), (None, "/a=b/zfs".into(), at(None, 1)));
    }
}
