//! One line of a macOS panic's backtrace.
//!
//! ```text
//! 0xffffff815d3c3940 : 0xffffff800da04dae mach_kernel : _kdp_trap + 0x18      x86; with keepsyms=1 a name, where the offset is not 0
//! 0xffffff815d3c3940 : 0xffffff8000205218 com.apple.driver.X + 1234           x86; only the kext is known
//! 0x4c2b3b48 : 0x12b4f3 (0x45b13c 0x4c2b3b7c 0x133238 0x0)                    10.5: four potential arguments
//!          lr: 0xfffffe0024af6cdc  fp: 0xfffffe3a396e2c10                          arm64
//! 0xffffff815d3c3940 : kdp_trap (in mach_kernel) + 24 (0xffffff800da04dae)    kstack's own output, on arm64 likewise
//! ```
//! Sources: xnu, osfmk/i386/AT386/model_dep.c (`panic_i386_backtrace`) and osfmk/arm64/model_dep (`print_one_backtrace`).

use std::ops::Range;

use memchr::memmem;

use super::darwin_panic_view::{Shape, unescaped};
use super::{atos, lex};
use crate::model::addr::Avma;
use crate::model::stack::{RawFrame, Span};

/// A frame as ranges of the bytes that it was read from.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Words {
    /// Where it returns to.
    pub address: u64,
    /// What a resolved frame replaces.
    pub text: Range<usize>,
    /// The printed image.
    pub module: Range<usize>,
    /// The printed symbol with its underscore, and with backslashes where Markdown put some.
    pub symbol: Range<usize>,
    /// Whether the symbol has the underscore of Mach-O in front.
    pub underscored: bool,
    /// Bytes from the start of the symbol.
    pub offset: Option<u64>,
}

impl Words {
    /// The symbol without the underscore that Mach-O puts before every C name.
    pub fn name(&self, bytes: &[u8]) -> String {
        let name = unescaped(&bytes[self.symbol.clone()]);
        let plain = name.strip_prefix(b"_").filter(|rest| self.underscored && !rest.is_empty());
        lex::text(plain.unwrap_or(&name))
    }

    /// Whether the symbol stands in `bytes` as it is.
    pub fn is_plain(&self, bytes: &[u8]) -> bool {
        !bytes[self.symbol.clone()].contains(&b'\\')
    }

    /// The frame, with `at` telling where each byte of `bytes` stands in the line.
    pub fn frame(&self, bytes: &[u8], at: impl Fn(usize) -> usize) -> RawFrame {
        let span = |range: &Range<usize>| match range.is_empty() {
            true => Span::default(),
            false => Span { start: at(range.start) as u32, end: at(range.end - 1) as u32 + 1 },
        };
        let underscored = self.underscored && bytes[self.symbol.clone()].starts_with(b"_") && self.symbol.len() > 1;
        let symbol = self.symbol.start + usize::from(underscored)..self.symbol.end;
        RawFrame {
            address: Some(Avma(self.address)),
            offset: self.offset,
            text: span(&self.text),
            symbol: span(&symbol),
            underscored,
            module: span(&self.module),
            reliable: true,
            ..RawFrame::default()
        }
    }
}

/// Reads a frame of either architecture.
pub fn words(body: &[u8], shape: &Shape) -> Option<Words> {
    if body.starts_with(b"lr:") { arm(body, shape) } else { x86(body, shape) }
}

/// Whether a line is meant to be a frame, whole or not.
pub fn is_like_frame(body: &[u8]) -> bool {
    let pair = || body.starts_with(b"0x") && memmem::find(body, b" : ").is_some();
    body.starts_with(b"lr: 0x") || pair()
}

/// `0xFP : …`.
fn x86(body: &[u8], shape: &Shape) -> Option<Words> {
    let colon = memchr::memchr(b':', body).filter(|_| body.starts_with(b"0x"))?;
    shape.address(body[..colon].trim_ascii_end())?;
    let start = colon + 1 + lex::indent(&body[colon + 1..]);
    // What an argument list says stays behind the frame.
    let end = arguments(body).filter(|at| *at > start).unwrap_or(body.len());
    tail(body, start..end, shape)
}

/// `lr: …  fp: 0xFP`; a line that was cut may lack its end.
fn arm(body: &[u8], shape: &Shape) -> Option<Words> {
    let start = 3 + lex::indent(&body[3..]);
    let end = memmem::rfind(body, b"fp:").filter(|at| *at > start).unwrap_or(body.len());
    // `lr: 0x…  sp: 0x…` is a line of registers.
    let rest = &body[end..];
    if !(rest.is_empty() || rest.strip_prefix(b"fp:").is_some_and(|fp| lex::words(fp).count() <= 1)) {
        return None;
    }
    let (end, cut) = (start + body[start..end].trim_ascii_end().len(), rest.is_empty());
    // Without its end only a bare address is sure to be a frame.
    tail(body, start..end, shape).filter(|words| words.text.end == end && (!cut || words.module.is_empty()))
}

/// Where ` (0x1 0x2 0x3 0x4)` begins at the end of a line.
fn arguments(body: &[u8]) -> Option<usize> {
    let open = memmem::rfind(body, b"(0x").filter(|_| body.ends_with(b")"))?;
    let values: Vec<bool> = lex::words(&body[open + 1..body.len() - 1]).map(|word| lex::hex(word).is_some()).collect();
    (values.len() > 1 && values.iter().all(|value| *value)).then(|| body[..open].trim_ascii_end().len())
}

/// An address with what is printed about it, or a frame of kstack's own output.
fn tail(body: &[u8], range: Range<usize>, shape: &Shape) -> Option<Words> {
    let rest = body.get(range.clone())?;
    if !rest.starts_with(b"0x") {
        return own(rest, range.start);
    }
    let end = rest.iter().position(|b| matches!(b, b' ' | b'\t')).unwrap_or(rest.len());
    let address = shape.address(&rest[..end])?;
    let bare = Words { address, text: range.start..range.start + end, ..Words::default() };
    let about = end + lex::indent(&rest[end..])..rest.len();
    if about.is_empty() {
        return Some(bare);
    }
    let words = Words { text: range.start..range.end, ..bare.clone() };
    Some(named(body, range.start + about.start..range.end, words).unwrap_or(bare))
}

/// `MODULE : SYMBOL[ + 0xOFF]` or `MODULE + DEC`.
fn named(body: &[u8], range: Range<usize>, words: Words) -> Option<Words> {
    let about = &body[range.clone()];
    let end = about.iter().position(|b| matches!(b, b' ' | b'\t'))?;
    let module = range.start..range.start + end;
    let rest = about[end..].trim_ascii();
    if let Some(dec) = rest.strip_prefix(b"+") {
        lex::decimal(dec.trim_ascii_start())?;
        return Some(Words { module, ..words });
    }
    let symbol = rest.strip_prefix(b":")?.trim_ascii_start();
    let (symbol, offset) = match memmem::rfind(symbol, b" + ") {
        Some(plus) => (symbol[..plus].trim_ascii_end(), lex::hex(symbol[plus + 3..].trim_ascii_start())?),
        None => (symbol, 0),
    };
    let start = range.start + (symbol.as_ptr() as usize - about.as_ptr() as usize);
    let fits = !symbol.is_empty() && !symbol.contains(&b' ');
    fits.then_some(Words { module, symbol: start..start + symbol.len(), underscored: true, offset: Some(offset), ..words })
}

/// A frame as kstack writes it.
fn own(rest: &[u8], start: usize) -> Option<Words> {
    let frame = atos::frame(rest)?;
    let range = |span: Span| if span.is_empty() { 0..0 } else { start + span.start as usize..start + span.end as usize };
    let words = Words {
        address: frame.address?.0,
        text: range(frame.text),
        module: range(frame.module),
        symbol: range(frame.symbol),
        underscored: false,
        offset: frame.offset,
    };
    Some(words).filter(|words| !words.module.is_empty())
}

/// Whether `next` can be the rest of the frame in `body`, of which `found` was read; together they must then be one whole frame.
pub fn goes_on(body: &[u8], found: &Words, next: &[u8]) -> bool {
    let lone = !next.contains(&b' ');
    let fits = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'$' | b'.' | b'\\' | b'+' | b':' | b' ');
    if next.starts_with(b"0x") && lex::words(next).count() > 1 || !next.iter().all(fits) {
        return false;
    }
    if found.symbol.is_empty() {
        return true;
    }
    // Where a function begins there is no offset; then a lone word below is the rest of the name.
    let offset = memmem::find(&body[found.symbol.end..], b"+").is_some();
    if offset {
        lone && next.len() < 6 && next.iter().all(u8::is_ascii_hexdigit)
    } else {
        memmem::find(next, b"+ 0x").is_some() || (lone && !next.contains(&b'.'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::addr::Arch;

    /// Address, replaced text, module, symbol and offset of a line.
    fn read(line: &str, arch: Arch) -> Option<(u64, String, String, String, Option<u64>)> {
        let shape = Shape::plain(arch);
        let words = words(line.as_bytes(), &shape)?;
        let part = |range: &Range<usize>| lex::text(&line.as_bytes()[range.clone()]);
        Some((words.address, part(&words.text), part(&words.module), words.name(line.as_bytes()), words.offset))
    }

    fn is(address: u64, text: &str, module: &str, symbol: &str, offset: Option<u64>) -> Option<(u64, String, String, String, Option<u64>)> {
        Some((address, text.into(), module.into(), symbol.into(), offset))
    }

    #[test]
    fn every_form_of_the_module_doc() {
        let (fp, ra, value) = ("0xffffff815d3c3940", "0xffffff800da04dae", 0xffff_ff80_0da0_4dae);
        let x86 = |rest: &str| read(&format!("{fp} : {rest}"), Arch::X86_64);
        assert_eq!(x86(ra), is(value, ra, "", "", None));
        let keepsyms = format!("{ra} mach_kernel : _kdp_trap + 0x18");
        assert_eq!(x86(&keepsyms), is(value, &keepsyms, "mach_kernel", "kdp_trap", Some(0x18)));
        assert_eq!(x86(&format!("{ra} mach_kernel : __ZN1AC2Ev")).unwrap().3, "_ZN1AC2Ev");
        assert_eq!(x86(&format!("{ra} mach_kernel : trap_from_kernel + 0x26")).unwrap().3, "trap_from_kernel");
        assert_eq!(x86(&format!("{ra} mach_kernel : \\_kdp\\_trap + 0x18")).unwrap().3, "kdp_trap");
        assert_eq!(x86(&format!("{ra} com.a.b + 1234")).unwrap().2, "com.a.b");
        let own = format!("kdp_trap (in mach_kernel) + 24 ({ra})");
        assert_eq!(x86(&own), is(value, &own, "mach_kernel", "kdp_trap", Some(24)));
        assert_eq!(x86("0xffffff800da04d"), None);
        let old = "0x4c2b3b48 : 0x12b4f3 (0x45b13c 0x4c2b3b7c 0x133238 0x0)";
        assert_eq!(read(old, Arch::I386), is(0x12_b4f3, "0x12b4f3", "", "", None));
        let arm = "lr: 0xfffffe0024af6cdc  fp: 0xfffffe3a396e2c10";
        assert_eq!(read(arm, Arch::Arm64), is(0xfffffe0024af6cdc, "0xfffffe0024af6cdc", "", "", None));
        assert_eq!(read("lr:  0x6293fe00292ad6c0  sp:  0xfffffe7fde02f3d0", Arch::Arm64), None);
        let arm = "lr: kdp_trap (in kernel) + 8 (0xfffffe0024af6cdc)  fp: 0xfffffe3a396e2c10";
        assert_eq!(read(arm, Arch::Arm64).unwrap().1, "kdp_trap (in kernel) + 8 (0xfffffe0024af6cdc)");
    }

    #[test]
    fn broken_names_are_put_together() {
        let shape = Shape::plain(Arch::X86_64);
        let on = |line: &str, next: &str| {
            let line = format!("0xffffff815d3c3940 : 0xffffff800da04dae {line}");
            goes_on(line.as_bytes(), &words(line.as_bytes(), &shape).unwrap(), next.as_bytes())
        };
        assert!(
            on("mach_kernel : __ZN24IOBuffer", "Memory + 0x12")
                && on("mach_kernel : __ZN24IOBuffer", "+ 0x12")
                && on("mach_kernel : _pa", "nic")
        );
        assert!(on("mach_kernel :", "_panic + 0x5") && on("mach_kernel : _f + 0x1", "2d") && on("mach_kernel : _f +", "0x12"));
        assert!(
            !on("mach_kernel : _f", "0xffffff815d3c3940 : 0xffffff800da04dae") && !on("mach_kernel : _f + 0x1", "Backtrace continues...")
        );
        assert!(!on("mach_kernel : _f", "Backtrace continues...") && !on("", "net.example.zfs(1.3.1)"));
    }
}
