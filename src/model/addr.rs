//! Address kinds as types, so that a captured address is never mistaken for one that a file states.
//!
//! * [`Avma`]: the *actual* virtual memory address, as a report or load map prints it.
//! * [`Svma`]: the *stated* virtual memory address, as a symbol file's segments, symbols and DWARF give it.
//!
//! The two meet only in [`crate::space`], where an image has been placed.

use std::fmt;

/// An address as captured: what a stack, a register or a load map prints. Bytes, 64 bit.
///
/// Whether the system printed it slid or unslid is the [`crate::model::image::Basis`] of its source.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Avma(pub u64);

/// An address as a symbol file states it (link-time address). Bytes, 64 bit.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Svma(pub u64);

/// How far the running kernel was moved from where its file says it starts (KASLR). Bytes, wraps at 2^64.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Slide(pub u64);

impl Avma {
    /// The address of the byte before, which a return address is looked up at: the call, not what follows it.
    pub fn before(self) -> Avma {
        Avma(self.0.wrapping_sub(1))
    }

    /// This address moved up by `slide`.
    pub fn slid(self, slide: Slide) -> Avma {
        Avma(self.0.wrapping_add(slide.0))
    }

    /// This address with `slide` taken off.
    pub fn unslid(self, slide: Slide) -> Avma {
        Avma(self.0.wrapping_sub(slide.0))
    }
}

macro_rules! hex_display {
    ($($kind:ty),*) => {$(
        impl fmt::Display for $kind {
            /// `0x` and lower-case digits without leading zeros, the contract's JSON form.
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:#x}", self.0)
            }
        }
    )*};
}
hex_display!(Avma, Svma, Slide);

/// Reads `0x1f`, `0X1F` or `1f` as a 64-bit number; `_` and a backtick may group digits as in `0xffffff80_002b3d3e`.
///
/// ```
/// # use kstack::model::addr::parse_hex;
/// assert_eq!(parse_hex("0xffffff80`002b3d3e"), Some(0xffff_ff80_002b_3d3e));
/// assert_eq!(parse_hex("0x"), None);
/// ```
pub fn parse_hex(text: &str) -> Option<u64> {
    let digits = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")).unwrap_or(text);
    let mut value: Option<u64> = None;
    for byte in digits.bytes().filter(|b| !matches!(b, b'_' | b'`')) {
        let digit = u64::from((byte as char).to_digit(16)?);
        let high = value.unwrap_or(0);
        value = Some(if high >> 60 == 0 { high << 4 | digit } else { return None });
    }
    value
}

/// The instruction set that code in an image or report is of.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Arch {
    /// 64-bit x86.
    X86_64,
    /// 32-bit x86.
    I386,
    /// 64-bit ARM, with or without pointer authentication.
    Arm64,
    /// 64-bit ARM with pointer authentication (Mach-O CPU subtype 2 in its low byte).
    Arm64e,
    /// 32-bit ARM.
    Arm,
    /// 32-bit PowerPC.
    Ppc,
    /// 64-bit PowerPC.
    Ppc64,
    /// IBM Z.
    S390x,
    /// 64-bit RISC-V.
    Riscv64,
    /// MIPS of either width.
    Mips,
    /// 64-bit LoongArch.
    LoongArch64,
}

impl Arch {
    /// Every architecture.
    pub const ALL: [Arch; 11] = [
        Arch::X86_64,
        Arch::I386,
        Arch::Arm64,
        Arch::Arm64e,
        Arch::Arm,
        Arch::Ppc,
        Arch::Ppc64,
        Arch::S390x,
        Arch::Riscv64,
        Arch::Mips,
        Arch::LoongArch64,
    ];

    /// The architecture of that name.
    pub fn by_name(name: &str) -> Option<Arch> {
        Arch::ALL.into_iter().find(|arch| arch.name() == name)
    }

    /// The name that JSON output and messages use.
    pub fn name(self) -> &'static str {
        match self {
            Arch::X86_64 => "x86_64",
            Arch::I386 => "i386",
            Arch::Arm64 => "arm64",
            Arch::Arm64e => "arm64e",
            Arch::Arm => "arm",
            Arch::Ppc => "ppc",
            Arch::Ppc64 => "ppc64",
            Arch::S390x => "s390x",
            Arch::Riscv64 => "riscv64",
            Arch::Mips => "mips",
            Arch::LoongArch64 => "loongarch64",
        }
    }

    /// Whether code of `self` can stand in a report of `other`: equal, or both 64-bit ARM.
    pub fn fits(self, other: Arch) -> bool {
        let arm64 = |a: Arch| matches!(a, Arch::Arm64 | Arch::Arm64e);
        self == other || (arm64(self) && arm64(other))
    }

    /// The Darwin architecture whose kernel addresses look like `address`.
    ///
    /// x86_64 kernels live from 0xffffff80_00000000 with kexts in the 512 GiB below it, arm64 ones at 0xfffffe… (macOS) or
    /// 0xfffffff0… (iOS); a 32-bit value is i386. From the link addresses in xnu's makefiles.
    pub fn of_darwin_address(address: Avma) -> Option<Arch> {
        match address.0 >> 32 {
            0xffff_ff7f..=0xffff_ffcf => Some(Arch::X86_64),
            0xffff_fe00..=0xffff_fe7f | 0xffff_fff0..=0xffff_fff3 => Some(Arch::Arm64),
            0 if address.0 > 0xffff => Some(Arch::I386),
            _ => None,
        }
    }
}

impl fmt::Display for Arch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hex_takes_prefixes_and_groups_but_no_signs_or_overflow() {
        assert_eq!(parse_hex("ffffff8000202c78"), Some(0xffff_ff80_0020_2c78));
        assert_eq!(parse_hex("0XAB"), Some(0xab));
        for bad in ["", "0x", "-1", "+1", "0x1g", "0x1_0000_0000_0000_0000"] {
            assert_eq!(parse_hex(bad), None, "{bad}");
        }
    }

    #[test]
    fn darwin_addresses_tell_the_architecture() {
        assert_eq!(Arch::of_darwin_address(Avma(0xffff_ff7f_80e4_f90c)), Some(Arch::X86_64));
        assert_eq!(Arch::of_darwin_address(Avma(0xffff_fe00_24af_a500)), Some(Arch::Arm64));
        assert_eq!(Arch::of_darwin_address(Avma(0x0081_2345)), Some(Arch::I386));
        assert_eq!(Arch::of_darwin_address(Avma(0)), None);
    }
}
