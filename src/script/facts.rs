//! What a script is made from: the placed images, the frames of one stack and the functions to stop in, without any debugger's syntax.

use std::io::Read;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::input::{self, unpack};
use crate::model::addr::{Arch, Avma, Slide};
use crate::model::image::{Basis, ImageStatus};
use crate::model::stack::{Lookup, Role};
use crate::place::{Image, Layout};
use crate::report::Report;
use crate::resolve;
use crate::symbols::{FileKind, elf_kind};

/// Everything that a script says.
#[derive(Serialize, Default, Debug)]
pub struct Facts {
    /// Reports, load maps and files that it was made from.
    pub made_from: Vec<String>,
    /// Architecture of the kernel file, else of the first image that has a file.
    #[serde(serialize_with = "named_arch")]
    pub arch: Option<Arch>,
    /// Whether kernel addresses have the slide in them.
    pub addresses_slid: bool,
    /// The kernel slide: what is added to the addresses of the kernel's file.
    #[serde(serialize_with = "hex_slide")]
    pub slide: Option<Slide>,
    /// Where the slide comes from.
    pub slide_from: String,
    /// Symbol folders that were searched.
    pub searched: Vec<PathBuf>,
    /// The images, the kernel first.
    pub images: Vec<ImageFacts>,
    /// The chosen stack.
    pub stack: Option<StackFacts>,
    /// The functions to stop in.
    pub breakpoints: Vec<BreakpointFacts>,
}

/// One image.
#[derive(Serialize, Default, Debug, Clone)]
pub struct ImageFacts {
    /// Name as the report or load map prints it, else the file's.
    pub name: String,
    /// Whether it is the kernel.
    pub kernel: bool,
    /// `matched`, `mismatched`, `unverified` or `missing`, as in every output.
    pub status: &'static str,
    /// What is wrong with its file.
    pub reason: Option<String>,
    /// Its symbol file, absolute; `None` too when a file was refused.
    pub file: Option<PathBuf>,
    /// The file with its DWARF, when that is another: the inner file of a dSYM.
    pub debug_file: Option<PathBuf>,
    /// UUID or build id of the file, else the one that was asked for.
    pub id: Option<String>,
    /// Architecture of the file.
    #[serde(serialize_with = "named_arch")]
    pub arch: Option<Arch>,
    /// Whether the file is of a system that uses ELF.
    pub elf: bool,
    /// Whether the file is only a list of symbols: System.map, kallsyms.
    pub list: bool,
    /// Whether per-CPU data lies at 0 in the kernel's file and does not move with it.
    pub percpu_at_zero: bool,
    /// Whether the file is an unlinked module, whose sections lie where the kernel put each of them.
    pub unlinked: bool,
    /// Whether it is a `kextutil -s` file, which has its own addresses.
    pub linked_at_runtime: bool,
    /// Where it was loaded, in the system's own sense.
    #[serde(serialize_with = "hex_address")]
    pub load_address: Option<Avma>,
    /// Where the load address comes from.
    pub placed_by: String,
    /// Sections (ELF) or segments (Mach-O) whose place is known.
    pub sections: Vec<SectionFacts>,
    /// Those whose place is not known.
    pub unplaced: Vec<String>,
    /// The program that unpacks the file, when it is compressed.
    pub packed: Option<&'static str>,
    /// Sections of an unlinked file that carry addresses of their own.
    pub addressed: Vec<String>,
}

/// A section or segment at its place.
#[derive(Serialize, Debug, Clone)]
pub struct SectionFacts {
    /// Its name.
    pub name: String,
    /// Where it lies.
    #[serde(serialize_with = "hex")]
    pub address: Avma,
    /// Where the file says it lies; of no use in an unlinked file.
    #[serde(serialize_with = "hex")]
    pub linked: Avma,
    /// Size in bytes.
    pub size: u64,
    /// Whether it holds code.
    pub executable: bool,
}

/// The frames of one stack.
#[derive(Serialize, Debug)]
pub struct StackFacts {
    /// Number in the report, from 0, as in the JSON form.
    pub number: usize,
    /// Who stands there.
    pub title: String,
    /// Innermost first.
    pub frames: Vec<FrameFacts>,
}

/// One frame.
#[derive(Serialize, Debug)]
pub struct FrameFacts {
    /// The address, printed by the report or found from the symbol that it prints.
    #[serde(serialize_with = "hex_address")]
    pub address: Option<Avma>,
    /// What to look up: the byte before a return address belongs to the call.
    #[serde(serialize_with = "hex_address")]
    pub look_up: Option<Avma>,
    /// `function+0xoffset [module]`, as far as it is known.
    pub name: String,
}

/// A function to stop in.
#[derive(Serialize, Debug)]
pub struct BreakpointFacts {
    /// The name that was asked for.
    pub function: String,
    /// Every function of that name whose place is known: image and first address.
    pub places: Vec<Place>,
}

/// The start of a function.
#[derive(Serialize, Debug)]
pub struct Place {
    /// Name of the image.
    pub image: String,
    /// First address.
    #[serde(serialize_with = "hex")]
    pub address: Avma,
}

impl Facts {
    /// What `layout` knows. Relative paths of symbol files are taken to start at `root`.
    pub fn of(layout: &Layout, made_from: Vec<String>, searched: &[PathBuf], root: &Path) -> Facts {
        let images: Vec<ImageFacts> = layout.images.iter().map(|image| ImageFacts::of(image, root)).collect();
        Facts {
            made_from,
            arch: images.iter().find_map(|image| image.arch),
            addresses_slid: layout.basis == Basis::Runtime,
            slide: layout.slide,
            slide_from: layout.slide_from.clone(),
            searched: searched.to_vec(),
            images,
            stack: None,
            breakpoints: Vec::new(),
        }
    }

    /// The kernel, if it has a file and a place.
    pub fn kernel(&self) -> Option<&ImageFacts> {
        self.images.iter().find(|image| image.kernel)
    }

    /// Whether there are images and none of them has an address: what kptr_restrict leaves of a load map.
    pub fn has_no_address(&self) -> bool {
        !self.images.is_empty() && self.images.iter().all(|image| image.load_address.is_none() && image.sections.is_empty())
    }
}

impl ImageFacts {
    fn of(image: &Image, root: &Path) -> ImageFacts {
        let refused = image.refused.as_ref().map(|refused| format!("{}: {}", refused.path.display(), refused.why));
        let mut facts = ImageFacts {
            name: image.name.clone(),
            kernel: image.kernel,
            status: image.status().name(),
            reason: refused.or(image.other_build.clone()),
            id: image.wanted.map(|id| id.to_string()),
            load_address: image.load,
            placed_by: image.placed_by.clone(),
            ..ImageFacts::default()
        };
        let Some(program) = &image.program else { return facts };
        let info = program.info();
        facts.file = Some(root.join(&info.path));
        facts.debug_file = program.companion().map(|debug| root.join(&debug.path));
        facts.id = info.id.map(|id| id.to_string()).or(facts.id);
        facts.arch = Some(info.arch);
        facts.elf = info.is_elf;
        facts.unlinked = info.kind == FileKind::Module;
        facts.linked_at_runtime = info.linked_at_runtime;
        facts.sections = image.segments.iter().map(|(segment, at)| SectionFacts::of(segment, *at)).collect();
        let placed = |name: &str| facts.sections.iter().any(|section| section.name == name);
        facts.unplaced = info.segments.iter().map(|segment| &segment.name).filter(|name| !placed(name)).cloned().collect();
        facts.look_inside(&info.path);
        facts
    }

    /// Takes a file that was unpacked for the packed one.
    pub fn use_unpacked(&mut self, file: PathBuf) {
        self.look_inside(&file);
        self.file = Some(file);
    }

    /// What a debugger that opens the file itself will stumble over.
    fn look_inside(&mut self, path: &Path) {
        self.packed = packing(path);
        let Some(source) = input::open(path).ok().filter(|_| self.elf && self.packed.is_none()) else { return };
        self.list = !source.data.starts_with(b"\x7fELF");
        self.percpu_at_zero = self.kernel && elf_kind::has_percpu_at_zero(&source.data);
        self.addressed = if self.unlinked { elf_kind::addressed_sections(&source.data) } else { Vec::new() };
    }

    /// Where a section lies.
    pub fn section(&self, name: &str) -> Option<Avma> {
        self.sections.iter().find(|section| section.name == name).map(|section| section.address)
    }

    /// Whether it has no symbol file.
    pub fn is_missing(&self) -> bool {
        self.file.is_none() || self.status == ImageStatus::Missing.name()
    }
}

impl SectionFacts {
    fn of(segment: &crate::symbols::Segment, at: Avma) -> SectionFacts {
        SectionFacts {
            name: segment.name.clone(),
            address: at,
            linked: Avma(segment.svma.0),
            size: segment.size,
            executable: segment.executable,
        }
    }
}

/// How a file is compressed, by its first bytes.
fn packing(path: &Path) -> Option<&'static str> {
    let mut head = [0; 8];
    let count = std::fs::File::open(path).ok()?.read(&mut head).ok()?;
    unpack::packing(&head[..count])
}

impl StackFacts {
    /// The frames of stack `number` of a report; those that the report calls inlined have no address of their own.
    pub fn of(report: &Report<'_>, number: usize) -> Option<StackFacts> {
        let stack = report.capture.stacks.get(number)?;
        let own = |(_, frame): &(usize, &crate::model::stack::RawFrame)| frame.role != Role::Inline;
        let frames = stack.frames.iter().enumerate().filter(own).map(|(n, _)| FrameFacts::of(report, number, n)).collect();
        let parts = [stack.process.clone(), stack.pid.map(|pid| format!("pid {pid}")), stack.tid.clone(), stack.title.clone()];
        let who: Vec<String> = parts.into_iter().flatten().collect();
        Some(StackFacts { number, title: format!("{} line {}: {}", report.source, stack.line, who.join(", ")), frames })
    }
}

impl FrameFacts {
    fn of(report: &Report<'_>, stack: usize, n: usize) -> FrameFacts {
        let frame = &report.capture.stacks[stack].frames[n];
        let answer = report.resolved.answer(stack, n);
        let from_symbol = || {
            let image = report.layout.images.get(answer.image?)?;
            let start = image.captured(answer.named()?.start)?;
            Some(Avma(start.0.wrapping_add(answer.offset?)))
        };
        let address = frame.address.or_else(from_symbol);
        let named = report.named(stack, n);
        let symbol = named.symbol.unwrap_or_else(|| "?".into());
        let offset = named.offset.map(|offset| format!("+{offset:#x}")).unwrap_or_default();
        let module = named.module.map(|module| format!(" [{module}]")).unwrap_or_default();
        let look_up = address.map(|address| if frame.lookup == Lookup::Return { address.before() } else { address });
        FrameFacts { address, look_up, name: format!("{symbol}{offset}{module}") }
    }
}

impl BreakpointFacts {
    /// Every function called `function` in the images.
    pub fn of(layout: &Layout, function: &str) -> BreakpointFacts {
        let place = |found: resolve::Candidate| {
            let image = &layout.images[found.image];
            Some(Place { image: image.name.clone(), address: image.captured(found.start)? })
        };
        let found = resolve::symbols(layout, "", function, None);
        BreakpointFacts { function: function.to_string(), places: found.into_iter().filter_map(place).collect() }
    }
}

fn hex<S: serde::Serializer>(address: &Avma, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(address)
}

fn hex_address<S: serde::Serializer>(address: &Option<Avma>, to: S) -> Result<S::Ok, S::Error> {
    address.map(|address| address.to_string()).serialize(to)
}

fn hex_slide<S: serde::Serializer>(slide: &Option<Slide>, to: S) -> Result<S::Ok, S::Error> {
    slide.map(|slide| slide.to_string()).serialize(to)
}

fn named_arch<S: serde::Serializer>(arch: &Option<Arch>, to: S) -> Result<S::Ok, S::Error> {
    arch.map(Arch::name).serialize(to)
}
