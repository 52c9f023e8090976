//! What a macOS panic says about the system: versions, UUIDs, and how far everything was moved.
//!
//! ```text
//! Kernel slide:     0x000000000d800000        10.8 to 10.15, x86, absent when the slide is 0
//! Kernel text base: 0xffffff800da00000
//! __HIB  text base: 0xffffff800d900000        there with slide 0, too
//! KernelCache slide: 0x0000000009200000       11 and later
//! Kernel text exec base:  0xfffffe0024af0000  arm64 with a fileset
//! ```
//! Source: xnu, osfmk/kern/debug.c and osfmk/i386/AT386/model_dep.c. Fields are known by their names: their order changed over the years.

use super::darwin_panic_view::{Shape, unescaped};
use super::lex;
use crate::model::addr::{Arch, Avma, Slide};
use crate::model::image::{Basis, ImageClaim, ImageId};

/// What a field is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Field {
    /// Build of the system.
    Build,
    /// Version of the kernel.
    Version,
    /// Arguments of the kernel.
    BootArgs,
    /// Whatever comes behind where slides are printed.
    Behind,
    /// A UUID.
    Id(Of),
    /// A slide.
    Slide(Of),
    /// An address.
    Base(Of),
}

/// What a slide, address or UUID is of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Of {
    /// The kernel, by its `__TEXT`.
    Kernel,
    /// The kernel, by its `__TEXT_EXEC`.
    Exec,
    /// The kernel, by its `__HIB`.
    Hib,
    /// The kernel collection.
    Collection,
    /// The collection as the debug header of SPTM machines names it.
    Header,
    /// The Trusted Execution Monitor.
    Txm,
    /// The Secure Page Table Monitor.
    Sptm,
}

/// The names of fields.
const FIELDS: &[(&str, Field)] = &[
    ("Mac OS version:", Field::Build),
    ("OS version:", Field::Build),
    ("Kernel version:", Field::Version),
    ("Boot args:", Field::BootArgs),
    ("Kernel UUID:", Field::Id(Of::Kernel)),
    ("Fileset Kernelcache UUID:", Field::Id(Of::Collection)),
    ("KernelCache UUID:", Field::Id(Of::Collection)),
    ("Debug Header kernelcache UUID:", Field::Id(Of::Header)),
    ("TXM UUID:", Field::Id(Of::Txm)),
    ("SPTM UUID:", Field::Id(Of::Sptm)),
    ("Kernel slide:", Field::Slide(Of::Kernel)),
    ("Kernel text exec slide:", Field::Slide(Of::Exec)),
    ("KernelCache slide:", Field::Slide(Of::Collection)),
    ("Kernel text base:", Field::Base(Of::Kernel)),
    ("Kernel text exec base:", Field::Base(Of::Exec)),
    ("__HIB  text base:", Field::Base(Of::Hib)),
    ("__HIB text base:", Field::Base(Of::Hib)),
    ("KernelCache base:", Field::Base(Of::Collection)),
    ("Debug Header kernelcache load address:", Field::Base(Of::Header)),
    ("TXM load address:", Field::Base(Of::Txm)),
    ("SPTM load address:", Field::Base(Of::Sptm)),
    ("System model name:", Field::Behind),
    ("System uptime in nanoseconds:", Field::Behind),
];

/// The field that a line is, and its value.
pub fn field(body: &[u8]) -> Option<(Field, Vec<u8>)> {
    let plain = unescaped(body);
    let (name, field) = FIELDS.iter().find(|(name, _)| plain.starts_with(name.as_bytes()))?;
    Some((*field, plain[name.len()..].trim_ascii().to_vec()))
}

/// Names of the fields that come in blocks, and only in panics.
pub fn is_slide(body: &[u8]) -> bool {
    matches!(field(body), Some((Field::Slide(_) | Field::Base(Of::Hib | Of::Exec | Of::Collection), _)))
}

/// Link addresses of x86_64 kernels (xnu's makefiles): `__TEXT` and `__HIB`.
const TEXT_X86: u64 = 0xffff_ff80_0020_0000;
const HIB_X86: u64 = 0xffff_ff80_0010_0000;
/// Darwin of Mac OS X 10.8, the first whose kernel is slid (xnu-2050), and of macOS 11, whose kernel lies in a collection.
const FIRST_SLID: u32 = 12;
const FIRST_COLLECTION: u32 = 20;

/// One number, and its line.
type Stated<T> = Option<(T, u32)>;

/// Everything that the fields of a text say.
#[derive(Default, Debug)]
pub struct Facts {
    /// Version of the kernel as printed.
    pub version: Option<String>,
    /// Build of the system.
    pub build: Option<String>,
    /// Lines whose value is damaged.
    pub damaged: Vec<u32>,
    /// Lines with a slide other than the first one's.
    pub contradicting: Vec<u32>,
    ids: Vec<(Of, ImageId, u32)>,
    slides: Vec<(Of, u64, u32)>,
    bases: Vec<(Of, u64, u32)>,
    /// The boot arguments forbid sliding.
    unslid: bool,
    /// The report goes on behind where slides are printed.
    complete: bool,
}

impl Facts {
    /// Takes a field; gives back whether its value is whole.
    pub fn take(&mut self, field: Field, value: &[u8], line: u32, shape: &Shape) -> bool {
        let word = lex::words(value).next().unwrap_or_default();
        let fits = match field {
            Field::Build => is_build(value).then(|| self.build = self.build.take().or(Some(lex::text(value)))).is_some(),
            Field::Version => {
                value.starts_with(b"Darwin ").then(|| self.version = self.version.take().or(Some(lex::text(value)))).is_some()
            }
            Field::BootArgs => {
                self.unslid |= lex::words(value).any(|word| word == b"slide=0");
                true
            }
            Field::Behind => {
                self.complete |= self.version.is_some();
                true
            }
            Field::Id(of) => id(word).map(|id| self.ids.push((of, id, line))).is_some(),
            Field::Slide(of) => shape.address(word).map(|slide| self.slide_line(of, slide, line)).is_some(),
            Field::Base(of) => shape.address(word).map(|base| self.bases.push((of, base, line))).is_some(),
        };
        let empty = matches!(field, Field::Build | Field::Version);
        if !fits && !empty {
            self.damaged.push(line);
        }
        fits
    }

    fn slide_line(&mut self, of: Of, slide: u64, line: u32) {
        if self.slides.iter().any(|(other, first, _)| *other == of && *first != slide) {
            self.contradicting.push(line);
        }
        self.slides.push((of, slide, line));
    }

    fn stated<T: Copy>(of: Of, list: &[(Of, T, u32)]) -> Stated<T> {
        list.iter().find(|(other, ..)| *other == of).map(|(_, value, line)| (*value, *line))
    }

    fn base(&self, of: Of) -> Option<u64> {
        Facts::stated(of, &self.bases).map(|(base, _)| base)
    }

    /// Release of Darwin: 22 of `Darwin Kernel Version 22.3.0: …`.
    fn release(&self) -> Option<u32> {
        let words = self.version.as_deref()?.split_once("Version ")?.1;
        words.split('.').next()?.parse().ok()
    }

    /// The architecture that the kernel's version names.
    pub fn arch(&self) -> Option<Arch> {
        let version = self.version.as_deref()?;
        let named = [("X86_64", Arch::X86_64), ("I386", Arch::I386), ("ARM64", Arch::Arm64), ("PPC", Arch::Ppc)];
        named.iter().find(|(name, _)| version.rsplit('/').next().is_some_and(|config| config.contains(name))).map(|(_, arch)| *arch)
    }

    /// The kernel's slide: as printed, as the addresses of its segments tell it, or 0 where a complete report prints none.
    pub fn slide(&self, arch: Option<Arch>) -> Option<Slide> {
        let x86 = arch == Some(Arch::X86_64);
        let printed = Facts::stated(Of::Kernel, &self.slides).map(|(slide, _)| slide);
        let of_base = |base: Option<u64>, linked: u64| base.filter(|_| x86).and_then(|base| base.checked_sub(linked));
        let by_text = || of_base(self.base(Of::Kernel), TEXT_X86);
        let by_hib = || of_base(self.base(Of::Hib), HIB_X86);
        printed.or_else(by_text).or_else(by_hib).or_else(|| self.is_unslid(arch).then_some(0)).map(Slide)
    }

    /// Kernels before 10.8 are not slid; later ones, up to 10.15, say so unless the slide is 0.
    fn is_unslid(&self, arch: Option<Arch>) -> bool {
        let release = self.release();
        let early = matches!(arch, Some(Arch::X86_64 | Arch::I386 | Arch::Ppc));
        let old = release.is_some_and(|release| release < FIRST_SLID);
        let silent = self.complete && release.is_some_and(|release| release < FIRST_COLLECTION);
        early && (old || silent || self.unslid)
    }

    /// What is stated about kernel, collection and monitors.
    pub fn claims(&self, kernel: &str) -> Vec<ImageClaim> {
        let claim = |name: &str, of: Of, exec: Option<Of>| {
            let (id, load) = (Facts::stated(of, &self.ids), Facts::stated(of, &self.bases));
            let exec = exec.and_then(|of| Facts::stated(of, &self.bases));
            let line = [id.map(|(_, line)| line), load.map(|(_, line)| line), exec.map(|(_, line)| line)].into_iter().flatten().min()?;
            let address = |stated: Stated<u64>| stated.map(|(address, _)| Avma(address)).filter(|address| address.0 != 0);
            let claim = ImageClaim {
                name: name.to_string(),
                id: id.map(|(id, _)| id),
                load: address(load),
                exec: address(exec),
                ..ImageClaim::default()
            };
            Some(ImageClaim { basis: Basis::Runtime, line, ..claim })
        };
        let kernel = claim(kernel, Of::Kernel, Some(Of::Exec)).map(|claim| ImageClaim { kernel: true, ..claim });
        let collection = claim("kernelcache", Of::Collection, None).or_else(|| claim("kernelcache", Of::Header, None));
        let collection = collection.map(|claim| ImageClaim { collection: true, ..claim });
        [kernel, collection, claim("TXM", Of::Txm, None), claim("SPTM", Of::Sptm, None)].into_iter().flatten().collect()
    }

    /// What proves that two texts are of different boots: the slide and the UUID of the kernel.
    pub fn boot(&self) -> (Option<u64>, Option<ImageId>) {
        (Facts::stated(Of::Kernel, &self.slides).map(|(slide, _)| slide), Facts::stated(Of::Kernel, &self.ids).map(|(id, _)| id))
    }
}

fn id(word: &[u8]) -> Option<ImageId> {
    std::str::from_utf8(word).ok().and_then(ImageId::parse)
}

/// `17G65`, `11G63b`, `25A354`, `16B2657`: release of Darwin, letter, number, perhaps a letter.
fn is_build(value: &[u8]) -> bool {
    let digits = |bytes: &[u8]| bytes.iter().take_while(|b| b.is_ascii_digit()).count();
    let major = digits(value);
    let Some((letter, rest)) = value[major..].split_first() else { return false };
    let minor = digits(rest);
    (1..=2).contains(&major)
        && letter.is_ascii_uppercase()
        && (1..=5).contains(&minor)
        && rest[minor..].iter().all(u8::is_ascii_lowercase)
        && rest.len() - minor < 2
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(text: &str) -> Facts {
        let shape = Shape::of(text.as_bytes());
        let mut facts = Facts::default();
        for (line, body) in text.lines().enumerate() {
            if let Some((field, value)) = field(body.as_bytes()) {
                facts.take(field, &value, line as u32 + 1, &shape);
            }
        }
        facts
    }

    #[test]
    fn slides_are_told_by_every_line_that_has_them() {
        let slide = |text: &str| facts(text).slide(Some(Arch::X86_64)).map(|slide| slide.0);
        assert_eq!(slide("Kernel slide:     0x000000000d800000"), Some(0xd80_0000));
        assert_eq!(slide("Kernel text base: 0xffffff800da00000"), Some(0xd80_0000));
        assert_eq!(slide("__HIB  text base: 0xffffff8000100000"), Some(0));
        assert_eq!(slide("\\_\\_HIB  text base: 0xffffff8000100000"), Some(0));
        assert_eq!(slide("Kernel version: Darwin Kernel Version 11.4.2: x; root:xnu-1699.32.7~1/RELEASE_X86_64"), Some(0));
        assert_eq!(slide("Kernel version: Darwin Kernel Version 17.7.0: x"), None);
        assert_eq!(slide("Kernel version: Darwin Kernel Version 17.7.0: x\nSystem model name: y"), Some(0));
        assert_eq!(slide("Kernel version: Darwin Kernel Version 22.3.0: x\nSystem model name: y"), None);
        assert_eq!(slide("Kernel slide:     0x000000000d8000"), None);
    }

    #[test]
    fn claims_have_what_is_stated_and_damage_is_told() {
        let text = "Kernel UUID: DA335ED2-3002-30EF-9272-4E9928FFE6D8\nFileset Kernelcache UUID: FE075C26BAA634578CBAD1B5A1847B3D\n\
            KernelCache base:  0xfffffe0024ac8000\nKernel text base:  0xfffffe0024acc000\nKernel text exec base:  0xfffffe0024af0000\nTXM UUID: DA335ED2-3002";
        let facts = facts(text);
        let claims = facts.claims("kernel");
        assert_eq!(
            (claims[0].load, claims[0].exec, claims[0].kernel),
            (Some(Avma(0xffff_fe00_24ac_c000)), Some(Avma(0xffff_fe00_24af_0000)), true)
        );
        assert_eq!((claims[1].load, claims[1].collection, claims[1].id.is_some()), (Some(Avma(0xffff_fe00_24ac_8000)), true, true));
        assert_eq!((claims.len(), facts.damaged), (2, vec![6]));
    }

    #[test]
    fn builds_are_told_from_words() {
        for (text, build) in
            [("17G65", true), ("11G63b", true), ("16B2657", true), ("25A354", true), ("Not yet set", false), ("14.2", false), ("", false)]
        {
            assert_eq!(is_build(text.as_bytes()), build, "{text}");
        }
    }
}
