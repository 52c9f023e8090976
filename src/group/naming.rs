//! Frames as numbers: each distinct name of all reports gets one, so that a million stacks compare as lists of integers.

use rustc_hash::FxHashMap;

use super::plumbing::Plumbing;
use crate::names::base_name;
use crate::parse::kstack_json::ID as JSON;
use crate::report::Report;

/// What a frame counts as when stacks are compared.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct FrameName {
    /// Module or image; empty for the kernel itself, whatever its system calls it.
    pub module: Box<str>,
    /// Function without compiler suffixes. Of a frame without a name its offset in the image, `+0x1f`, or its address.
    pub function: Box<str>,
    /// Whether a function is named at all.
    pub named: bool,
}

impl std::fmt::Display for FrameName {
    /// `zio_wait [zfs]`, and `schedule` for the kernel's own.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.module.is_empty() { f.write_str(&self.function) } else { write!(f, "{} [{}]", self.function, self.module) }
    }
}

/// Number of a [`FrameName`] in a [`Naming`].
pub type NameId = u32;

/// What a frame looks like to the grouping.
#[derive(Clone, Copy, Debug)]
pub struct Mark {
    /// Its name.
    pub name: NameId,
    /// Its name, offset and whatever else its text tells; equal marks print the same.
    pub exact: u32,
    /// Whether fingerprints pass over it.
    pub scheduler: bool,
    /// Whether it only stands for waiting.
    pub plumbing: bool,
    /// Whether it belongs to the report of a crash.
    pub reporting: bool,
    /// Whether it belongs to an allocator.
    pub allocator: bool,
}

/// The names of all frames of some reports.
#[derive(Default)]
pub struct Naming {
    names: Vec<FrameName>,
    index: FxHashMap<FrameName, NameId>,
    exact: FxHashMap<Box<str>, u32>,
    exact_texts: Vec<Box<str>>,
    /// For each name, whether it is of the scheduler, plumbing, reporting, an allocator.
    classes: Vec<Option<[bool; 4]>>,
    /// For each name, the lowest number of a name in its module.
    firsts: Vec<NameId>,
    modules: FxHashMap<Box<str>, NameId>,
    /// For each report, what each answer counts as.
    marks: Vec<Vec<Mark>>,
}

impl Naming {
    /// Names every frame of `reports`.
    pub fn of(reports: &[Report<'_>], plumbing: &Plumbing) -> Naming {
        let mut naming = Naming::default();
        for report in reports {
            let marks = report.resolved.firsts.iter().map(|(stack, n)| naming.mark(report, *stack as usize, *n as usize, plumbing));
            let marks = marks.collect();
            naming.marks.push(marks);
        }
        naming
    }

    fn mark(&mut self, report: &Report<'_>, stack: usize, n: usize, plumbing: &Plumbing) -> Mark {
        let name = frame_name(report, stack, n);
        let named = report.named(stack, n);
        let frame = &report.capture.stacks[stack].frames[n];
        let text = match (&named.symbol, named.offset) {
            (Some(symbol), Some(offset)) => format!("{symbol}+{offset:#x} {}", name.module),
            (Some(symbol), None) => format!("{symbol} {} {:?}", name.module, frame.address.map(|address| address.0)),
            (None, _) => name.to_string(),
        };
        let texts = &mut self.exact_texts;
        let exact = *self.exact.entry(text.into()).or_insert_with_key(|text| {
            texts.push(text.clone());
            texts.len() as u32 - 1
        });
        let name = self.id(name);
        // Lists are long and names recur: each is looked for once.
        if self.classes.len() <= name as usize {
            self.classes.resize(name as usize + 1, None);
        }
        let function = &self.names[name as usize].function;
        let classify = || {
            let is_plumbing = plumbing.is_plumbing(function);
            [plumbing.is_scheduler(function), is_plumbing, plumbing.is_reporting(function), plumbing.is_allocator(function)]
        };
        let [scheduler, plumbing, reporting, allocator] = *self.classes[name as usize].get_or_insert_with(classify);
        Mark { name, exact, scheduler, plumbing, reporting, allocator }
    }

    fn id(&mut self, name: FrameName) -> NameId {
        let (names, firsts, modules) = (&mut self.names, &mut self.firsts, &mut self.modules);
        *self.index.entry(name).or_insert_with_key(|name| {
            let id = names.len() as u32;
            names.push(name.clone());
            firsts.push(*modules.entry(name.module.clone()).or_insert(id));
            id
        })
    }

    /// The lowest number of a name in the module of that one.
    pub fn first_in_module(&self, id: NameId) -> NameId {
        self.firsts[id as usize]
    }

    /// What a frame prints, as far as stacks are compared by it.
    pub fn exact_text(&self, exact: u32) -> &str {
        &self.exact_texts[exact as usize]
    }

    /// The number of a text that stands for something other than a frame.
    pub fn text(&mut self, text: &str) -> NameId {
        self.id(FrameName { module: "".into(), function: text.into(), named: false })
    }

    /// The name of that number.
    pub fn name(&self, id: NameId) -> &FrameName {
        &self.names[id as usize]
    }

    /// All names, in the order of their numbers.
    pub fn names(&self) -> &[FrameName] {
        &self.names
    }

    /// What the answers of report `report` count as.
    pub fn marks(&self, report: usize) -> &[Mark] {
        &self.marks[report]
    }
}

/// The name that a frame counts as.
fn frame_name(report: &Report<'_>, stack: usize, n: usize) -> FrameName {
    let named = report.named(stack, n);
    let image = report.resolved.answer(stack, n).image.map(|image| &report.layout.images[image]);
    let module = named.module.as_deref().filter(|_| !report.is_in_kernel(stack, n)).unwrap_or_default().replace('-', "_");
    let function = named.symbol.as_deref().map(base_name);
    let frame = &report.capture.stacks[stack].frames[n];
    let told = frame.offset.filter(|_| report.capture.format == JSON);
    let in_image = told.or_else(|| image?.offset_of(frame.address?));
    let place = || match (in_image, frame.address) {
        (Some(offset), _) => format!("+{offset:#x}"),
        (None, Some(address)) => address.to_string(),
        (None, None) => "?".to_string(),
    };
    FrameName { module: module.into(), function: function.map_or_else(|| place().into(), Into::into), named: function.is_some() }
}
