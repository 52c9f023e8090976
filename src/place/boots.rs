//! One boot has one slide: what says another than the report is of another boot.

use super::anchors::OWN;
use super::kernel::Stated;
use super::{Image, Placer};
use crate::model::addr::{Avma, Slide};
use crate::model::image::Basis;
use crate::symbols::find::Program;

/// The symbol at the kernel's start, which is what Linux prints its offset from (`dump_kernel_offset`).
const START: &str = "_text";

impl Placer<'_> {
    /// Takes back what load maps say whose kernel lies elsewhere than the report's own.
    pub(super) fn drop_other_boots(&mut self, images: &mut [Image]) {
        let Some(kernel) = images.iter().find(|image| image.kernel) else { return };
        let Some(expected) = self.start(kernel.program.as_deref()) else { return };
        let mut foreign: Vec<String> = Vec::new();
        for claim in kernel.claims.iter().filter(|claim| claim.source != OWN) {
            let elsewhere = claim.anchors.iter().find(|(name, at)| name == START && *at != expected);
            let Some((_, at)) = elsewhere.filter(|_| !foreign.contains(&claim.source)) else { continue };
            foreign.push(claim.source.clone());
            self.warn(format!(
                "{START} is at {at} in {}, but at {expected} by the report's Kernel Offset: it is of another boot, and nothing in it is used",
                claim.source
            ));
        }
        images.iter_mut().for_each(|image| image.claims.retain(|claim| !foreign.contains(&claim.source)));
    }

    /// Where the report has the kernel's start: what it says, with the file where it says no more than the slide.
    fn start(&self, program: Option<&Program>) -> Option<Avma> {
        let slide = self.capture.slide.filter(|_| self.options.slide.is_none() && self.basis() == Basis::Runtime)?;
        let linked = || start_of(program.filter(|program| !program.info().linked_at_runtime)?);
        // On arm64 the text began half a MiB behind what is printed before 5.8 (`TEXT_OFFSET`).
        let printed = self.capture.linked.filter(|linked| linked.0 >> 32 == 0xffff_ffff);
        linked().or(printed).map(|linked| Avma(linked.0.wrapping_add(slide.0)))
    }

    /// The slide for a file with the addresses of a running kernel (kallsyms), which may be those of another boot.
    pub(super) fn live_slide(&mut self, program: &Program) -> Stated {
        let own = (Some(Slide(0)), "the symbol file's addresses are those of the running kernel".to_string());
        let (Some(expected), Some(start)) = (self.start(Some(program)), start_of(program)) else { return own };
        if start == expected {
            return own;
        }
        self.warn(format!(
            "{} is of another boot: {START} is at {start} there, but at {expected} by the report's Kernel Offset, which is used",
            program.info().path.display()
        ));
        (
            Some(Slide(expected.0.wrapping_sub(start.0))),
            "the report's Kernel Offset, less what the symbol file's kernel was slid by".to_string(),
        )
    }

    /// Whether the report is of several boots whose kernels lay at different places; then no one slide is right.
    pub(super) fn is_of_several_boots(&mut self) -> bool {
        let several = self.capture.slides.len() > 1 && self.options.slide.is_none();
        if several {
            let slides: Vec<String> = self.capture.slides.iter().map(Slide::to_string).collect();
            self.warn(format!(
                "the log is of several boots, with kernels slid by {}: bare addresses in the kernel are not resolved; split the log at \
                 `Linux version`, or give --slide",
                slides.join(" and ")
            ));
        }
        several
    }
}

/// Where a file has the kernel's start.
fn start_of(program: &Program) -> Option<Avma> {
    let [start] = program.symbols().table().named(START)[..] else { return None };
    Some(Avma(program.from_symbols(start.start).0))
}
