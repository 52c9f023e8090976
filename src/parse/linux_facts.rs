//! What lines of a Linux kernel log say about the machine, outside of stacks: the kernel's release, modules, and how far it was slid.
//!
//! ```text
//! CPU: 1 PID: 300 Comm: sh Tainted: G           OE      6.1.0-56-amd64 #1 Debian 6.1.192-2
//! Modules linked in: kslab(OE) zfs(POE) spl(OE) [last unloaded: kslab]
//! Kernel Offset: 0x9600000 from 0xffffffff81000000 (relocation range: 0xffffffff80000000-0xffffffffbfffffff)
//! ```
//! Sources: `print_modules` in kernel/module/main.c, `dump_kernel_offset` in arch/x86/kernel/setup.c (6.12).

use rustc_hash::FxHashSet;

use super::lex;
use super::linux_prefix::Record;
use super::linux_task;
use crate::model::addr::{Avma, Slide};
use crate::model::image::{Basis, ImageClaim, ImageId};

/// More slides than this tell no more than that there are several.
const MOST_SLIDES: usize = 8;

/// What is known of the machine.
#[derive(Default)]
pub struct Machine {
    /// Release of its kernel.
    pub release: Option<String>,
    /// How far it was slid, for each boot that tells.
    pub slides: Vec<Slide>,
    /// Where it was linked.
    pub linked: Option<Avma>,
    /// The kernel with its build id, and modules.
    pub images: Vec<ImageClaim>,
    modules: FxHashSet<Vec<u8>>,
}

impl Machine {
    /// Takes what a line outside of stacks says about the machine.
    pub fn record(&mut self, record: &Record<'_>) {
        let line = record.text.trim_ascii();
        if let Some(names) = line.strip_prefix(b"Modules linked in:") {
            self.modules(names, record.line);
        } else if let Some(value) = line.strip_prefix(b"Kernel Offset: ") {
            self.kernel_offset(value);
        } else if self.release.is_none()
            && let Some(release) = linux_task::release(line)
        {
            self.release = Some(lex::text(release));
            // With CONFIG_STACKTRACE_BUILD_ID the line ends in the kernel's own build id.
            let last = lex::words(line).last().filter(|word| word.len() == 40);
            self.images.extend(last.and_then(ImageId::parse_build).map(|id| ImageClaim {
                name: "vmlinux".to_string(),
                id: Some(id),
                kernel: true,
                basis: Basis::Runtime,
                line: record.line,
                ..ImageClaim::default()
            }));
        }
    }

    /// `0x9600000 from 0xffffffff81000000 (relocation range: …)`, or `disabled`.
    fn kernel_offset(&mut self, value: &[u8]) {
        let mut words = lex::words(value);
        let word = words.next().unwrap_or_default();
        let Some(slide) = lex::hex(word).or((word == b"disabled").then_some(0)).map(Slide) else { return };
        self.linked = self.linked.or_else(|| words.find_map(lex::hex).map(Avma));
        if self.slides.len() < MOST_SLIDES && !self.slides.contains(&slide) {
            self.slides.push(slide);
        }
    }

    /// `zfs(POE) spl(OE) [last unloaded: kslab]`.
    fn modules(&mut self, names: &[u8], line: u32) {
        for word in lex::words(names).take_while(|word| !word.starts_with(b"[")) {
            let name = word.split(|b| *b == b'(').next().unwrap_or_default();
            let plain = name.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'));
            if plain && !name.is_empty() && self.modules.insert(name.to_vec()) {
                self.images.push(ImageClaim { name: lex::text(name), basis: Basis::Runtime, line, ..ImageClaim::default() });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::linux_prefix::Context;
    use super::*;

    fn told(lines: &[&str]) -> Machine {
        let mut machine = Machine::default();
        for text in lines {
            machine.record(&Record { context: Context::Bare, line: 1, line_start: 0, at: 0, text: text.as_bytes() });
        }
        machine
    }

    #[test]
    fn modules_are_taken_once_and_boots_that_differ_are_told_apart() {
        let machine = told(&[
            "Modules linked in: kslab(OE) zfs(POE) [last unloaded: spl]",
            "Modules linked in: zfs(POE) bad\"name",
            "Kernel Offset: 0x9600000 from 0xffffffff81000000",
            "Kernel Offset: disabled",
            "Kernel Offset: what",
        ]);
        assert_eq!(machine.images.iter().map(|image| image.name.as_str()).collect::<Vec<_>>(), ["kslab", "zfs"]);
        assert_eq!((machine.slides, machine.linked), (vec![Slide(0x960_0000), Slide(0)], Some(Avma(0xffff_ffff_8100_0000))));
    }
}
