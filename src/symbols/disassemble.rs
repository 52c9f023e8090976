//! Machine code as text: x86 in the notation of GNU objdump, arm64 in Arm's own.
//!
//! 32-bit arm is left out: the decoder at hand (yaxpeax-arm 0.5) panics on some words of it. Its
//! bytes are compared with the report's all the same.

use iced_x86::{Decoder as X86, DecoderOptions, Formatter, GasFormatter, Instruction as X86Instruction, OpKind};
use yaxpeax_arch::{Decoder as _, U8Reader};
use yaxpeax_arm::armv8::a64;

use crate::model::addr::Arch;

/// One instruction.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Decoded {
    /// Its first byte, counted from the start of the code.
    pub at: usize,
    /// Its length in bytes.
    pub len: usize,
    /// In words, a branch without its target; `.byte …` where there is no instruction.
    pub text: String,
    /// Where a direct branch or call goes.
    pub target: Option<u64>,
    /// Whether it is an instruction.
    pub valid: bool,
}

/// No x86 instruction is longer.
pub const LONGEST: usize = 15;

/// Whether code of that architecture can be disassembled.
pub fn knows(arch: Arch) -> bool {
    matches!(arch, Arch::X86_64 | Arch::I386 | Arch::Arm64 | Arch::Arm64e)
}

/// The instructions of `bytes`, whose first byte lies at `address`; none for an architecture that is not known here. What is no instruction
/// is given byte by byte, or word by word.
pub fn disassemble(arch: Arch, bytes: &[u8], address: u64) -> Vec<Decoded> {
    match arch {
        Arch::X86_64 => x86(64, bytes, address),
        Arch::I386 => x86(32, bytes, address),
        Arch::Arm64 | Arch::Arm64e => words(bytes, address, 4, arm64),
        _ => Vec::new(),
    }
}

/// Where to begin in `bytes` so that an instruction begins at `marker`: the first of the bytes from which it is reached without meeting
/// something that is no instruction. x86 code falls into step within a few instructions, wherever one begins.
pub fn in_step(arch: Arch, bytes: &[u8], marker: usize) -> usize {
    if !matches!(arch, Arch::X86_64 | Arch::I386) {
        return 0;
    }
    let reaches = |from: &usize| {
        let mut at = *from;
        while at < marker {
            match x86_length(arch, &bytes[at..]) {
                Some(length) => at += length,
                None => return false,
            }
        }
        at == marker
    };
    (0..marker.min(LONGEST + 1)).find(reaches).unwrap_or(marker)
}

/// The length of the x86 instruction at the start of `bytes`.
pub fn x86_length(arch: Arch, bytes: &[u8]) -> Option<usize> {
    let bits = if arch == Arch::I386 { 32 } else { 64 };
    let mut decoder = X86::new(bits, &bytes[..bytes.len().min(LONGEST)], DecoderOptions::NONE);
    let instruction = decoder.decode();
    (!instruction.is_invalid()).then(|| instruction.len())
}

fn x86(bits: u32, bytes: &[u8], address: u64) -> Vec<Decoded> {
    let mut formatter = GasFormatter::new();
    let options = formatter.options_mut();
    options.set_uppercase_hex(false);
    options.set_rip_relative_addresses(true);
    options.set_small_hex_numbers_in_decimal(false);
    let mut decoder = X86::with_ip(bits, bytes, address, DecoderOptions::NONE);
    let mut found = Vec::new();
    while decoder.can_decode() {
        let at = decoder.position();
        let instruction = decoder.decode();
        if instruction.is_invalid() {
            found.push(raw(bytes, at, 1));
            let _ = decoder.set_position(at + 1);
            decoder.set_ip(address.wrapping_add(at as u64 + 1));
            continue;
        }
        let target = target(&instruction);
        let mut text = String::new();
        match target {
            Some(_) => formatter.format_mnemonic(&instruction, &mut text),
            None => formatter.format(&instruction, &mut text),
        }
        found.push(Decoded { at, len: instruction.len(), text, target, valid: true });
    }
    found
}

fn target(instruction: &X86Instruction) -> Option<u64> {
    let near = matches!(instruction.op0_kind(), OpKind::NearBranch16 | OpKind::NearBranch32 | OpKind::NearBranch64);
    near.then(|| instruction.near_branch_target())
}

/// The instructions of code whose lengths are multiples of `step`. `decode` gives length and text of the one that `bytes` begin with.
fn words(bytes: &[u8], address: u64, step: usize, decode: impl Fn(&[u8]) -> Option<(usize, String)>) -> Vec<Decoded> {
    let mut found = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let one = match decode(&bytes[at..]).filter(|(len, _)| *len > 0 && at + len <= bytes.len()) {
            Some((len, text)) => {
                let (text, target) = absolute(text, address.wrapping_add(at as u64));
                Decoded { at, len, text, target, valid: true }
            }
            None => raw(bytes, at, step.min(bytes.len() - at)),
        };
        at += one.len;
        found.push(one);
    }
    found
}

fn arm64(bytes: &[u8]) -> Option<(usize, String)> {
    let decoder = <a64::ARMv8 as yaxpeax_arch::Arch>::Decoder::default();
    let instruction = decoder.decode(&mut U8Reader::new(bytes.get(..4)?)).ok()?;
    Some((4, instruction.to_string())).filter(|(_, text)| !text.starts_with("invalid"))
}

/// Takes a distance from the instruction, `$+0x10`, out of the end of its text. That of a branch counts from the instruction itself.
fn absolute(text: String, address: u64) -> (String, Option<u64>) {
    let Some(at) = text.rfind('$') else { return (text, None) };
    let (sign, digits) = text[at + 1..].split_at(text[at + 1..].len().min(1));
    let distance = digits.strip_prefix("0x").and_then(|digits| u64::from_str_radix(digits, 16).ok());
    let target = match (sign, distance) {
        ("+", Some(distance)) => address.wrapping_add(distance),
        ("-", Some(distance)) => address.wrapping_sub(distance),
        _ => return (text, None),
    };
    // `adrp` counts from its page.
    let target = if text.starts_with("adrp") { (address & !0xfff).wrapping_add(target.wrapping_sub(address)) } else { target };
    (text[..at].trim_end().to_string(), Some(target))
}

fn raw(bytes: &[u8], at: usize, len: usize) -> Decoded {
    let list: Vec<String> = bytes[at..at + len].iter().map(|byte| format!("{byte:#04x}")).collect();
    Decoded { at, len, text: format!(".byte {}", list.join(",")), target: None, valid: false }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(arch: Arch, bytes: &[u8]) -> Vec<String> {
        let one = |one: Decoded| one.target.map_or(one.text.clone(), |target| format!("{} {target:#x}", one.text));
        disassemble(arch, bytes, 0x1000).into_iter().map(one).collect()
    }

    #[test]
    fn x86_reads_as_objdump_writes_it() {
        let code = [0x48, 0x8b, 0x43, 0x10, 0x8b, 0x68, 0x04, 0xe8, 0x08, 0x1f, 0, 0, 0x0f, 0x0b, 0x06];
        let want = ["mov 0x10(%rbx),%rax", "mov 0x4(%rax),%ebp", "call 0x2f14", "ud2", ".byte 0x06"];
        assert_eq!(texts(Arch::X86_64, &code), want);
    }

    #[test]
    fn arm64_words() {
        let words = |words: &[u32]| words.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<u8>>();
        assert_eq!(
            texts(Arch::Arm64, &words(&[0xf940_0674, 0x9400_0010, 0xd421_0000])),
            ["ldr x20, [x19, #0x8]", "bl 0x1044", "brk #0x800"]
        );
        assert_eq!(texts(Arch::Arm, &words(&[0xe599_0000])), Vec::<String>::new());
        assert_eq!(texts(Arch::Riscv64, &[0, 0]), Vec::<String>::new());
    }

    #[test]
    fn the_start_is_chosen_so_that_the_marker_begins_an_instruction() {
        // The tail of another instruction, then mov %rbx,%rdi; mov 0x4(%rax),%ebp.
        let code = [0x43, 0x10, 0x48, 0x89, 0xdf, 0x8b, 0x68, 0x04];
        let from = in_step(Arch::X86_64, &code, 5);
        assert!(disassemble(Arch::X86_64, &code[from..], 0).iter().any(|one| one.at + from == 5));
        assert_eq!(in_step(Arch::X86_64, &[0x06, 0x8b], 1), 1, "from what is no instruction nothing is reached");
        assert_eq!(in_step(Arch::Arm64, &[0; 8], 4), 0);
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_covered_once(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..80), arch in 0..Arch::ALL.len()) {
            let arch = Arch::ALL[arch];
            let found = disassemble(arch, &bytes, 0xffff_ffff_ffff_fff0);
            let mut at = 0;
            for one in &found {
                proptest::prop_assert!(one.at == at && one.len > 0);
                at += one.len;
            }
            proptest::prop_assert!(at == bytes.len() || !knows(arch));
            proptest::prop_assert!(in_step(arch, &bytes, bytes.len() / 2) <= bytes.len() / 2);
        }
    }
}
