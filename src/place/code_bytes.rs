//! The machine code that a report prints, held against the file's bytes at the same place.
//!
//! A kernel patches its own code, and a module is relocated when it is loaded. Bytes may differ
//!
//! * where the file's own tables say so ([`crate::symbols::patched`]);
//! * where 32 bits of a kernel are an address in it, and differ by what it was slid by;
//! * where a single byte is `int3`: a probe stands there (x86);
//! * on arm64, and in x86 files without any table, where the tracer's call stands against its no-operation, whichever is which; on arm64
//!   also where the shadow call stack replaced pointer authentication;
//! * on 32-bit Arm where the words show that the kernel replaced them (`code_arm`).
//!
//! On other architectures nothing is compared: what may differ there is not known here.
//!
//! Of the systems whose reports are read, Linux is known to print such lines. Panics of macOS on Intel have registers, frames and versions
//! but no bytes of code (`panic_trap` in osfmk/i386/trap.c, `panic_i386_backtrace` in osfmk/i386/AT386/model_dep.c, xnu-1228 to 11417);
//! the single word that xnu-11417 prints of an undefined instruction on arm64 is too little to tell builds apart.
//!
//! Every other byte counts: a single instruction that differs elsewhere is another build, because a compiler that was given the same
//! source with the same options writes the same code, and a call to a function that moved has another distance in it.

use super::proof::{Evidence, EvidenceKind};
use super::{Image, Placer, code_arm};
use crate::model::addr::{Arch, Slide, Svma};
use crate::model::code::Code;
use crate::model::stack::{RawFrame, Stack};
use crate::parse::lex;
use crate::symbols::find::Program;
use crate::symbols::patched::{Patch, Site};
use crate::symbols::{FileKind, Segment};

/// Fewer bytes that agree than this prove nothing.
const FEWEST: usize = 8;
/// What x86 kernels are slid by is a multiple of this (`CONFIG_PHYSICAL_ALIGN`).
const SLIDE_STEP: u32 = 0x20_0000;
/// KASLR moves a kernel by less than this on x86_64 (`KERNEL_IMAGE_SIZE`), where code has 32-bit absolute addresses.
const FARTHEST: u32 = 0x4000_0000;

/// How one `Code:` line compares with a file.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Comparison {
    /// Link-time address of the first byte of the line.
    pub start: u64,
    /// Bytes that the file has: from and to, offsets in the line.
    pub from: usize,
    /// One past the last of them.
    pub to: usize,
    /// Bytes that are equal.
    pub agree: usize,
    /// Bytes that differ where they may.
    pub patched: usize,
    /// Offsets of bytes that differ where they must not.
    pub wrong: Vec<usize>,
    /// Why bytes differ that may: their offsets and the reason.
    pub reasons: Vec<(usize, &'static str)>,
}

/// Compares the bytes of `code`, whose first lies at `start` in the file.
pub fn compare(program: &Program, code: &Code, start: u64, slide: Option<Slide>) -> Option<Comparison> {
    let info = program.info();
    // How others patch their code is in no table that is read here, so that nothing could be concluded.
    if !matches!(info.arch, Arch::X86_64 | Arch::I386 | Arch::Arm64 | Arch::Arm) {
        return None;
    }
    let marker = start.wrapping_add(code.marker? as u64);
    let section = info.segments.iter().find(|segment| segment.executable && marker.wrapping_sub(segment.svma.0) < segment.size)?;
    let end = section.svma.0.saturating_add(section.size);
    let (from, to) = (start.max(section.svma.0), start.saturating_add(code.bytes.len() as u64).min(end));
    let file = program.code(Svma(from), Svma(to))?;
    let (from, to) = ((from - start) as usize, (to - start) as usize);
    let log = code.bytes.get(from..to)?;
    let sites = program.patched(Svma(start + from as u64), Svma(start + to as u64));
    let mut found = Comparison { start, from, to, ..Comparison::default() };
    // A module's addresses are relocated, and its file says where.
    let linked = if info.kind == FileKind::Module { &[][..] } else { &info.segments[..] };
    let tolerant = Tolerance { arch: info.arch, unit: code.unit, sites: &sites, start: start + from as u64, slide, linked };
    for at in 0..log.len() {
        if log[at] == file[at] {
            found.agree += 1;
        } else if let Some(why) = tolerant.allows(log, file, at) {
            found.patched += 1;
            found.reasons.push((from + at, why));
        } else {
            found.wrong.push(from + at);
        }
    }
    Some(found)
}

/// What may differ in one line.
struct Tolerance<'s> {
    arch: Arch,
    unit: usize,
    sites: &'s [Site],
    /// Link-time address of the first byte compared.
    start: u64,
    slide: Option<Slide>,
    /// What addresses in the code can point at.
    linked: &'s [Segment],
}

impl Tolerance<'_> {
    /// Why byte `at` may differ.
    fn allows(&self, log: &[u8], file: &[u8], at: usize) -> Option<&'static str> {
        let address = self.start + at as u64;
        let site = self.sites.iter().find(|site| site.range.contains(&address));
        if let Some(site) = site.filter(|site| self.plausible(site.why, log, file, at)) {
            return Some(site.why.name());
        }
        match self.arch {
            Arch::X86_64 | Arch::I386 => self.x86(log, file, at),
            Arch::Arm => code_arm::allows(self.unit, log, file, at),
            _ => self.words(log, file, at),
        }
    }

    /// On arm64 the table of the tracer's entries says only roughly where the words are; on arm the tables have another form.
    fn plausible(&self, why: Patch, log: &[u8], file: &[u8], at: usize) -> bool {
        if self.arch == Arch::Arm {
            return why == Patch::Relocated;
        }
        why != Patch::Ftrace || matches!(self.arch, Arch::X86_64 | Arch::I386) || self.words(log, file, at).is_some()
    }

    fn x86(&self, log: &[u8], file: &[u8], at: usize) -> Option<&'static str> {
        let slid = |from: usize| {
            let (log, file) = (field(log, from)?, field(file, from)?);
            let difference = log.wrapping_sub(file);
            let inside = |segment: &Segment| u64::from(file.wrapping_sub(segment.svma.0 as u32)) < segment.size;
            if !self.linked.iter().any(inside) {
                return None;
            }
            match self.slide {
                Some(slide) => Some(difference == slide.0 as u32 && difference != 0),
                None => Some(difference != 0 && difference.is_multiple_of(SLIDE_STEP) && difference < FARTHEST),
            }
        };
        if (at.saturating_sub(3)..=at).any(|from| slid(from) == Some(true)) {
            return Some("address slid");
        }
        let alone = (at == 0 || log[at - 1] == file[at - 1]) && log.get(at + 1) == file.get(at + 1);
        if alone && log[at] == 0xcc {
            return Some("probe");
        }
        let traced = |from: usize| {
            let (log, file) = (log.get(from..from + 5)?, file.get(from..from + 5)?);
            let nop = |bytes: &[u8]| bytes == [0x0f, 0x1f, 0x44, 0, 0];
            Some((nop(log) && matches!(file[0], 0xe8 | 0xe9)) || (nop(file) && matches!(log[0], 0xe8 | 0xe9)))
        };
        (self.sites.is_empty() && (at.saturating_sub(4)..=at).any(|from| traced(from) == Some(true))).then_some("call or no-operation")
    }

    /// The word that holds byte `at`, on machines whose instructions have one length.
    fn words(&self, log: &[u8], file: &[u8], at: usize) -> Option<&'static str> {
        if !matches!(self.arch, Arch::Arm64 | Arch::Arm64e) {
            return None;
        }
        let from = at - at % self.unit.max(1);
        let quiet = |word: u32| word & 0xffff_f01f == 0xd503_201f || word == 0xaa1e_03e9;
        let branch = |word: u32| word & 0x7c00_0000 == 0x1400_0000;
        let (log, file) = (field(log, from)?, field(file, from)?);
        // paciasp and autiasp against what arch/arm64/kernel/pi/patch-scs.c writes in their place: str x30,[x18],#8 and ldr x30,[x18,#-8]!.
        if matches!((file, log), (0xd503_233f, 0xf800_865e) | (0xd503_23bf, 0xf85f_8e5e)) {
            return Some("shadow call stack");
        }
        ((quiet(log) && (branch(file) || quiet(file))) || (quiet(file) && branch(log))).then_some("branch or no-operation")
    }
}

/// Four bytes as a number.
pub(super) fn field(bytes: &[u8], from: usize) -> Option<u32> {
    let four = bytes.get(from..from + 4)?;
    Some(u32::from_le_bytes([four[0], four[1], four[2], four[3]]))
}

/// Where in the file the marked instruction of a frame can be: by name and size, else by address.
pub fn places(image: &Image, program: &Program, frame: &RawFrame, text: &[u8]) -> Vec<Svma> {
    let symbol = lex::text(frame.symbol.of(text, frame.line_start));
    if let (false, Some(offset)) = (symbol.is_empty(), frame.offset) {
        let named = program.symbols().table().named(&symbol);
        let fits = named.iter().filter(|found| frame.size.is_none_or(|size| found.fits(size)));
        return fits.map(|found| Svma(program.from_symbols(found.start).0.wrapping_add(offset))).collect();
    }
    let Some(address) = frame.address else { return Vec::new() };
    let inside = image.segments.iter().find(|(segment, start)| address.0.wrapping_sub(start.0) < segment.size);
    inside.map(|(segment, start)| Svma(segment.svma.0.wrapping_add(address.0 - start.0))).into_iter().collect()
}

/// The comparison of a line with the file of the image that its frame is in; of several functions of one name, the one that it fits
/// best, and whether it fits no other as well.
pub fn compared(
    image: &Image,
    program: &Program,
    stack: &Stack,
    code: &Code,
    text: &[u8],
    slide: Option<Slide>,
) -> Option<(Comparison, bool)> {
    let frame = stack.frames.get(code.frame?)?;
    let marker = code.marker? as u64;
    let one = |place: Svma| compare(program, code, place.0.checked_sub(marker)?, slide);
    let mut found: Vec<Comparison> = places(image, program, frame, text).into_iter().filter_map(one).collect();
    found.sort_by_key(|found| found.wrong.len());
    let unique = found.get(1).is_none_or(|second| second.wrong.len() > found[0].wrong.len() && found[0].wrong.is_empty());
    found.into_iter().next().map(|best| (best, unique))
}

/// Whether a frame is in an image: by its module's name, or by address.
pub fn is_in(image: &Image, frame: &RawFrame, text: &[u8]) -> bool {
    let module = frame.module.of(text, frame.line_start);
    if module.is_empty() && frame.symbol.is_empty() {
        let inside = |address: u64| image.segments.iter().any(|(segment, start)| address.wrapping_sub(start.0) < segment.size);
        return frame.address.is_some_and(|address| inside(address.0));
    }
    if module.is_empty() { image.kernel } else { !image.kernel && image.is_called(&lex::text(module)) }
}

impl Placer<'_> {
    /// Compares every `Code:` line whose frame is in the image. What contradicts the file makes it another build.
    pub(super) fn check_code(&mut self, image: &mut Image, slide: Option<Slide>) {
        let Some(program) = image.program.clone() else { return };
        let slide = if image.kernel { slide } else { None };
        let mut all = Vec::new();
        for stack in &self.capture.stacks {
            for code in &stack.code {
                let own = code.frame.and_then(|frame| stack.frames.get(frame)).is_some_and(|frame| is_in(image, frame, self.text));
                let found = if own { compared(image, &program, stack, code, self.text, slide) } else { None };
                let found = found.map(|(found, _)| found);
                all.extend(found.filter(|found| found.agree + found.wrong.len() >= FEWEST).map(|found| (code.line, found)));
            }
        }
        let Some(evidence) = evidence(&all) else { return };
        let text = evidence.text.clone();
        let contradicts = evidence.contradicts;
        image.evidence.push(evidence);
        if !contradicts {
            return;
        }
        if image.matched {
            self.warn(format!(
                "{}: {text}, although its UUID or build id matches: the code was patched in memory, or is damaged",
                image.name
            ));
        } else {
            self.refuse(image, format!("{text}: {} is another build", program.info().path.display()));
        }
    }
}

fn evidence(all: &[(u32, Comparison)]) -> Option<Evidence> {
    let sum = |count: &dyn Fn(&Comparison) -> usize| all.iter().map(|(_, found)| count(found)).sum::<usize>();
    let (agree, patched, wrong) = (sum(&|found| found.agree), sum(&|found| found.patched), sum(&|found| found.wrong.len()));
    let mut text = format!("code bytes: {agree} of {} agree", agree + patched + wrong);
    let relocated = sum(&|found| found.reasons.iter().filter(|(_, why)| *why == Patch::Relocated.name()).count());
    let apart = [(relocated, "relocated"), (patched - relocated, "in patched places")];
    let apart: Vec<String> = apart.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")).collect();
    if !apart.is_empty() {
        text.push_str(&format!(" ({})", apart.join(", ")));
    }
    let first = all.iter().find(|(_, found)| !found.wrong.is_empty());
    if let Some((line, _)) = first {
        text.push_str(&format!(", {wrong} contradict the file, first line {line}"));
    }
    (!all.is_empty()).then_some(Evidence { kind: EvidenceKind::Code, contradicts: first.is_some(), text })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(arch: Arch, sites: &[Site], slide: Option<u64>, log: &[u8], file: &[u8]) -> Vec<Option<&'static str>> {
        let unit = if arch == Arch::Arm64 { 4 } else { 1 };
        let data = Segment {
            name: ".data".into(),
            svma: Svma(0xffff_ffff_8200_0000),
            size: 0x60_0000,
            align: 1,
            executable: false,
            used: 0x60_0000,
        };
        let linked = std::slice::from_ref(&data);
        let tolerant = Tolerance { arch, unit, sites, start: 0x1000, slide: slide.map(Slide), linked };
        (0..log.len()).filter(|at| log[*at] != file[*at]).map(|at| tolerant.allows(log, file, at)).collect()
    }

    #[test]
    fn only_named_places_and_slid_addresses_may_differ_on_x86() {
        let (log, file) = ([0x90, 0x0f, 0x1f, 0x44, 0, 0, 0xc3], [0x90, 0xe8, 1, 2, 3, 4, 0xc3]);
        let site = Site { range: 0x1001..0x1006, why: Patch::Ftrace };
        assert_eq!(allowed(Arch::X86_64, &[site], None, &log, &file), [Some("ftrace"); 5]);
        let elsewhere = Site { range: 0x1006..0x1007, why: Patch::Lock };
        assert_eq!(
            allowed(Arch::X86_64, &[elsewhere], None, &log, &file),
            [None; 5],
            "the file has tables, and they do not name this place"
        );
        assert_eq!(allowed(Arch::X86_64, &[], None, &log, &file), [Some("call or no-operation"); 5]);
        // mov $0xffffffff82345678,%rdi moved by 0x9600000
        let (log, file) = ([0x48, 0xc7, 0xc7, 0x78, 0x56, 0x94, 0x8b], [0x48, 0xc7, 0xc7, 0x78, 0x56, 0x34, 0x82]);
        assert_eq!(allowed(Arch::X86_64, &[], Some(0x960_0000), &log, &file), [Some("address slid"); 2]);
        assert_eq!(allowed(Arch::X86_64, &[], None, &log, &file), [Some("address slid"); 2]);
        assert_eq!(allowed(Arch::X86_64, &[], Some(0x940_0000), &log, &file), [None; 2]);
        let (log, file) = ([0x48, 0x8b, 0x43, 0x30, 0x48, 0x89], [0x48, 0x8b, 0x43, 0x10, 0x48, 0x89]);
        assert_eq!(allowed(Arch::X86_64, &[], None, &log, &file), [None], "0x30 for 0x10 is 2 MiB in some four bytes, but no address");
        assert_eq!(allowed(Arch::X86_64, &[], None, &[0x90, 0xcc, 0x90], &[0x90, 0x55, 0x90]), [Some("probe")]);
        assert_eq!(allowed(Arch::X86_64, &[], None, &[0x90, 0x54, 0x90], &[0x90, 0x55, 0x90]), [None]);
    }

    #[test]
    fn a_nop_may_stand_for_a_branch_on_arm64() {
        let word = |word: u32| word.to_le_bytes();
        assert_eq!(allowed(Arch::Arm64, &[], None, &word(0xd503_201f), &word(0x9400_0010)).iter().filter(|why| why.is_none()).count(), 0);
        assert!(allowed(Arch::Arm64, &[], None, &word(0xf940_0674), &word(0x9400_0010)).iter().all(Option::is_none));
        assert!(
            allowed(Arch::Arm64, &[], None, &word(0xf800_865e), &word(0xd503_233f)).iter().all(|why| *why == Some("shadow call stack"))
        );
        assert!(allowed(Arch::Arm64, &[], None, &word(0x9400_0011), &word(0x9400_0010)).iter().all(Option::is_none));
    }
}
