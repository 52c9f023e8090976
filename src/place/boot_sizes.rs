//! The sizes of a Linux kernel's parts, which its log has near the beginning, held against the file's.
//!
//! They tell builds of one series apart whose functions in a report are all the same: among six builds of Debian's 6.1 kernel (6.1.0-47 to
//! -56) four have other sizes than the last, and -55 has the same code as that.

use super::proof::{Evidence, EvidenceKind};
use super::{Image, Placer};
use crate::model::capture::Os;
use crate::parse::lex;
use crate::symbols::kernel_sizes::{KernelSizes, PARTS};

/// What the line begins with.
const MEMORY: &[u8] = b"Memory: ";
/// Boots in one log beyond these are not read.
const MOST: usize = 64;
/// The part of the line that is read, in bytes.
const LONGEST: usize = 512;

impl Placer<'_> {
    /// Puts a kernel file aside whose parts have other sizes than those that the report's kernel printed when it booted.
    pub(super) fn check_boot_sizes(&mut self, image: &mut Image) {
        let (Some(program), Some(Os::Linux), false) = (image.program.clone(), self.capture.os, image.matched) else { return };
        let said = if image.kernel { stated(self.text) } else { Vec::new() };
        if said.is_empty() {
            return;
        }
        let Some((contradicts, text)) = compared(&said, &program.kernel_sizes()) else { return };
        image.evidence.push(Evidence { kind: EvidenceKind::Sizes, contradicts, text: text.clone() });
        if contradicts {
            self.refuse(image, format!("{text}: {} is another build", program.info().path.display()));
        }
    }
}

/// What each whole line of a log says.
fn stated(text: &[u8]) -> Vec<[u64; PARTS.len()]> {
    let rest = |at: usize| &text[at + MEMORY.len()..text.len().min(at + LONGEST)];
    let line = |at: usize| rest(at).split(|b| matches!(b, b'\n' | b'\r')).next().and_then(memory_line);
    memchr::memmem::find_iter(text, MEMORY).filter_map(line).take(MOST).collect()
}

/// `260860K/2096596K available (14343K kernel code, 2338K rwdata, ...`.
fn memory_line(line: &[u8]) -> Option<[u64; PARTS.len()]> {
    let inside = &line[memchr::memmem::find(line, b"K available (")? + b"K available (".len()..];
    let mut sizes = [0; PARTS.len()];
    for ((size, name), said) in sizes.iter_mut().zip(PARTS).zip(inside.split(|b| *b == b',')) {
        let number = said.trim_ascii().strip_suffix(name.as_bytes())?.strip_suffix(b"K ")?;
        *size = lex::decimal(number)?;
    }
    // Fewer words than parts leave the last ones at 0, which no kernel has.
    sizes.iter().all(|size| *size > 0).then_some(sizes)
}

/// Whether the sizes contradict the file, and in what; a log can be of several boots, of which one may be the file's.
fn compared(said: &[[u64; PARTS.len()]], built: &KernelSizes) -> Option<(bool, String)> {
    let known = built.iter().flatten().count();
    let differing = |said: &[u64; PARTS.len()]| {
        let parts = PARTS.into_iter().zip(said.iter().zip(built));
        parts
            .filter_map(|(part, (said, built))| Some((part, *said, (*built)?)))
            .filter(|(_, said, built)| said != built)
            .collect::<Vec<_>>()
    };
    let differ = said.iter().map(differing).min_by_key(Vec::len).filter(|_| known > 0)?;
    let text = format!("sizes of the kernel's parts: {} of {known} agree", known - differ.len());
    Some(match differ.first() {
        None => (false, text),
        Some((part, said, built)) => (true, format!("{text}; {part}: {said}K in the report, {built}K in the file")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str =
        "Memory: 260860K/2096596K available (14343K kernel code, 2338K rwdata, 9132K rodata, 2824K init, 17344K bss, 708364K reserved)";

    #[test]
    fn a_file_fits_one_boot_of_the_log_or_none() {
        let own = [14343, 2338, 9132, 2824, 17344].map(Some);
        let ask = |text: &str, built: &KernelSizes| compared(&stated(text.as_bytes()), built);
        assert_eq!(ask(&format!("[    0.1] {LINE}\r\n"), &own).map(|(against, _)| against), Some(false));
        let before = [14343, 2338, 9124, 2816, 17356].map(Some);
        let (against, text) = ask(LINE, &before).unwrap();
        assert!(against && text.ends_with("2 of 5 agree; rodata: 9132K in the report, 9124K in the file"), "{text}");
        let two = format!("{}\n{LINE}\n", LINE.replace("9132K", "9124K").replace("2824K", "2816K").replace("17344K", "17356K"));
        assert_eq!((ask(&two, &own).unwrap().0, ask(&two, &before).unwrap().0), (false, false));
        assert_eq!(ask(LINE, &KernelSizes::default()), None, "a file without symbols");
        let without_end = [Some(14343), None, None, None, None];
        assert_eq!(ask(LINE, &without_end).unwrap(), (false, "sizes of the kernel's parts: 1 of 1 agree".to_string()));
    }

    #[test]
    fn only_whole_lines_count() {
        for torn in [&LINE[..60], "Memory: low", &LINE.replace("9132K", "91x2K"), &LINE.replace("rwdata", "data"), ""] {
            assert!(stated(torn.as_bytes()).is_empty(), "{torn}");
        }
        // What 2.6 printed: other parts, and a small k.
        assert!(stated(b"Memory: 1025008k/1048576k available (3105k kernel code, 23180k reserved, 1523k data, 300k init)").is_empty());
    }
}
