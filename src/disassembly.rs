//! The machine code of `Code:` lines as instructions, each with its function, its source line, and what the symbol file has in its place:
//! what `scripts/decodecode` does, with the symbols at hand.

use crate::model::addr::{Arch, Avma, Svma};
use crate::model::capture::Capture;
use crate::model::code::{Code, Instruction};
use crate::model::stack::Stack;
use crate::parse::lex;
use crate::place::code_bytes::{self, Comparison};
use crate::place::{Image, Layout};
use crate::space::Owner;
use crate::symbols::disassemble::{self, Decoded};
use crate::symbols::find::Program;
use crate::symbols::patched::Patch;

/// No function is looked through for the places of its instructions beyond this.
const FARTHEST: u64 = 1 << 20;

/// Writes the instructions of every `Code:` line of `capture`.
pub fn fill(capture: &mut Capture, text: &[u8], layout: &Layout) {
    let arch = capture.arch;
    for stack in &mut capture.stacks {
        let listings: Vec<Vec<Instruction>> = stack.code.iter().map(|code| listing(stack, code, text, layout, arch)).collect();
        stack.code.iter_mut().zip(listings).for_each(|(code, listing)| code.listing = listing);
    }
}

/// The file that the code is from, where it fits.
struct Origin<'l> {
    image: &'l Image,
    program: &'l Program,
    found: Comparison,
    /// Whether no other function of the same name fits as well.
    unique: bool,
}

impl Origin<'_> {
    /// Link-time address of an offset in the code.
    fn svma(&self, at: usize) -> u64 {
        self.found.start.wrapping_add(at as u64)
    }
}

fn listing(stack: &Stack, code: &Code, text: &[u8], layout: &Layout, arch: Option<Arch>) -> Vec<Instruction> {
    let origin = origin(stack, code, text, layout);
    let Some(arch) = arch.or(origin.as_ref().map(|origin| origin.program.info().arch)).filter(|arch| disassemble::knows(*arch)) else {
        return Vec::new();
    };
    let frame = code.frame.and_then(|frame| stack.frames.get(frame));
    let marker = code.marker.unwrap_or(0);
    let symbol = frame.map(|frame| lex::text(frame.symbol.of(text, frame.line_start))).filter(|symbol| !symbol.is_empty());
    let offset = frame.and_then(|frame| frame.offset).filter(|_| symbol.is_some());
    // Where the first byte lies: in the file, else counted from the start of the function.
    let base = origin.as_ref().map_or(offset.unwrap_or(0).wrapping_sub(marker as u64), |origin| origin.found.start);
    let namer = Namer { origin: origin.as_ref(), layout, symbol: symbol.as_deref(), size: frame.and_then(|frame| frame.size) };
    let decoded = decode(arch, code, base, origin.as_ref());
    let probes: Vec<Svma> = decoded.iter().map(|one| Svma(base.wrapping_add(one.at as u64))).collect();
    let located = origin.as_ref().filter(|origin| origin.unique).map(|origin| origin.program.locate(&probes));
    let one = |(n, one): (usize, &Decoded)| Instruction {
        at: one.at,
        len: one.len,
        text: one.target.map_or_else(|| one.text.clone(), |target| format!("{} {}", one.text, namer.target(target, probes[n].0))),
        place: namer.place(probes[n].0),
        location: located.as_ref().and_then(|located| {
            let first = located[n].first()?;
            Some(format!("{}:{}", first.short_file()?, first.line?))
        }),
        differs: origin.as_ref().and_then(|origin| differs(origin, arch, one)),
    };
    decoded.iter().enumerate().map(one).collect()
}

/// The image and place that the code is from; `None` where there is no file, or it has other code.
fn origin<'l>(stack: &Stack, code: &Code, text: &[u8], layout: &'l Layout) -> Option<Origin<'l>> {
    let frame = stack.frames.get(code.frame?)?;
    let image = layout.images.iter().find(|image| image.program.is_some() && code_bytes::is_in(image, frame, text))?;
    let program = image.program.as_deref()?;
    let slide = layout.slide.filter(|_| image.kernel);
    let (found, unique) = code_bytes::compared(image, program, stack, code, text, slide)?;
    (found.wrong.is_empty() || image.matched).then_some(Origin { image, program, found, unique })
}

/// The instructions, one of which begins at the marker whatever comes before it.
fn decode(arch: Arch, code: &Code, base: u64, origin: Option<&Origin<'_>>) -> Vec<Decoded> {
    let marker = code.marker.unwrap_or(0);
    let (before, after) = code.bytes.split_at(marker.min(code.bytes.len()));
    let from = origin.and_then(|origin| boundary(arch, origin)).filter(|from| reaches(arch, &before[(*from).min(marker)..]));
    let from = from.unwrap_or_else(|| disassemble::in_step(arch, before, marker));
    let mut found = Vec::new();
    if from > 0 {
        let list: Vec<String> = code.bytes[..from].iter().map(|byte| format!("{byte:#04x}")).collect();
        found.push(Decoded { at: 0, len: from, text: format!(".byte {}", list.join(",")), target: None, valid: false });
    }
    for (start, bytes) in [(from, &before[from..]), (marker, after)] {
        let part = disassemble::disassemble(arch, bytes, base.wrapping_add(start as u64));
        found.extend(part.into_iter().map(|one| Decoded { at: one.at + start, ..one }));
    }
    found
}

/// Whether instructions of `bytes` end where they end.
fn reaches(arch: Arch, bytes: &[u8]) -> bool {
    disassemble::in_step(arch, bytes, bytes.len()) == 0
}

/// The first instruction in the code, from going through the function that it begins in.
fn boundary(arch: Arch, origin: &Origin<'_>) -> Option<usize> {
    if !matches!(arch, Arch::X86_64 | Arch::I386) {
        return None;
    }
    let first = origin.svma(origin.found.from);
    let symbol = origin.program.symbols().table().at(origin.program.in_symbols(Svma(first)))?;
    let mut at = origin.program.from_symbols(symbol.start).0;
    let end = origin.svma(origin.found.to);
    let bytes = origin.program.code(Svma(at), Svma(end)).filter(|_| end.wrapping_sub(at) < FARTHEST)?;
    let start = at;
    while at < first {
        at += disassemble::x86_length(arch, &bytes[(at - start) as usize..])? as u64;
    }
    usize::try_from(at.checked_sub(origin.found.start)?).ok()
}

/// Names places and targets.
struct Namer<'l> {
    origin: Option<&'l Origin<'l>>,
    layout: &'l Layout,
    /// The function as the report names it, and its size.
    symbol: Option<&'l str>,
    size: Option<u64>,
}

impl Namer<'_> {
    /// The function and offset of an address in the code.
    fn place(&self, at: u64) -> Option<String> {
        match self.origin {
            Some(origin) => named(origin.program, at),
            None => Some(format!("{}+{at:#x}", self.symbol.filter(|_| self.size.is_none_or(|size| at < size) && at >> 63 == 0)?)),
        }
    }

    /// Where a branch at `from` goes. Without knowing where an image lies, another section of it is only a distance away.
    fn target(&self, target: u64, from: u64) -> String {
        let named = match self.origin {
            Some(origin) => in_file(origin, target, from).or_else(|| self.in_memory(origin, target, from)),
            None => self.place(target),
        };
        named.unwrap_or_else(|| match target.wrapping_sub(from) as i64 {
            back if back < 0 => format!(".-{:#x}", back.unsigned_abs()),
            ahead => format!(".+{ahead:#x}"),
        })
    }

    /// By the captured address, which may lie in another image.
    fn in_memory(&self, origin: &Origin<'_>, target: u64, from: u64) -> Option<String> {
        let from_there = origin.image.captured(Svma(from))?;
        let address = Avma(from_there.0.wrapping_add(target.wrapping_sub(from)));
        match self.layout.space.find(address)? {
            Owner::Image(image, Some(svma)) => named(self.layout.images[image].program.as_deref()?, svma.0),
            _ => None,
        }
    }
}

/// A target in the section that the branch is in, or anywhere in a linked file.
fn in_file(origin: &Origin<'_>, target: u64, from: u64) -> Option<String> {
    let info = origin.program.info();
    let section = |at: u64| info.segments.iter().position(|segment| segment.executable && at.wrapping_sub(segment.svma.0) < segment.size);
    let linked = info.kind != crate::symbols::FileKind::Module;
    let there = section(target)?;
    (linked || Some(there) == section(from)).then(|| named(origin.program, target)).flatten()
}

fn named(program: &Program, at: u64) -> Option<String> {
    let symbol = program.symbols().table().at(program.in_symbols(Svma(at)))?;
    let offset = at.wrapping_sub(program.from_symbols(symbol.start).0);
    Some(format!("{}+{offset:#x}", symbol.name))
}

/// What the file has in place of an instruction, unless it is the same one with another address in it.
fn differs(origin: &Origin<'_>, arch: Arch, one: &Decoded) -> Option<String> {
    const MOVED: [&str; 2] = [Patch::Relocated.name(), "address slid"];
    let inside = |at: &usize| (one.at..one.at + one.len).contains(at);
    let wrong = origin.found.wrong.iter().any(inside).then_some("nothing known patches it");
    let patched = || origin.found.reasons.iter().find(|(at, why)| inside(at) && !MOVED.contains(why)).map(|(_, why)| *why);
    let why = wrong.or_else(patched)?;
    // Behind what replaced an instruction comes what is left of it.
    let known = |at: usize| origin.found.reasons.iter().find(|(one, _)| *one == at).map(|(_, why)| *why);
    if one.at.checked_sub(1).and_then(known) == Some(why) {
        return None;
    }
    let from = origin.svma(one.at);
    let to = from.saturating_add(one.len as u64 + disassemble::LONGEST as u64).min(origin.svma(origin.found.to));
    let file = disassemble::disassemble(arch, origin.program.code(Svma(from), Svma(to))?, from);
    let file = file.first().filter(|_| one.valid)?;
    let there = file.target.map_or_else(
        || file.text.clone(),
        |target| match named(origin.program, target) {
            Some(name) => format!("{} {name}", file.text),
            None => file.text.clone(),
        },
    );
    Some(format!("{why}; the file has {there}"))
}
