//! Trap numbers, error codes and exception syndromes in words.
//!
//! Sources: Intel 64 and IA-32 Architectures Software Developer's Manual, volume 3, chapter 6 (vectors, error codes, page faults); Arm
//! Architecture Reference Manual, DDI 0487, `ESR_EL1` (exception classes, ISS of aborts), `FAR_EL1`.

use std::fmt::Write;

/// Addresses below this are a null pointer with the offset of a field.
const NULL_PAGE: u64 = 0x1000;

/// What an x86 processor calls the trap of that number.
pub fn trap(number: u64) -> Option<&'static str> {
    Some(match number {
        0 => "#DE, division by zero or a quotient that does not fit",
        1 => "#DB, a debug exception: breakpoint register or single step",
        2 => "NMI, an interrupt that cannot be masked: hardware or a watchdog",
        3 => "#BP, a breakpoint instruction (int3)",
        4 => "#OF, an overflow that INTO found",
        5 => "#BR, an index outside of its BOUND",
        6 => "#UD, an instruction that does not exist here: ud2 of a failed check, or no code",
        7 => "#NM, the floating point unit was not available",
        8 => "#DF, a second fault while the first was delivered: often the end of a kernel stack",
        9 => "a segment overrun of the coprocessor",
        10 => "#TS, an invalid task state segment",
        11 => "#NP, a segment that is not present",
        12 => "#SS, a fault of the stack segment: a stack address that is not canonical",
        13 => "#GP, a general protection fault: an address that is not canonical, a privileged instruction or a bad selector",
        14 => "#PF, a page fault: memory that is not mapped or must not be used this way",
        16 => "#MF, a floating point error",
        17 => "#AC, an access that is not aligned",
        18 => "#MC, a machine check: the hardware reports an error",
        19 => "#XM, an error of SIMD floating point",
        20 => "#VE, a virtualization exception",
        21 => "#CP, control flow protection: a return or jump that is not allowed",
        _ => return None,
    })
}

/// The trap whose error code is that of a page fault.
pub const PAGE_FAULT: u64 = 14;
/// Traps whose error code is a selector.
const WITH_SELECTOR: [u64; 4] = [10, 11, 12, 13];

/// Why a page was not to be used.
#[derive(Clone, Copy, Default, Debug)]
pub struct Flags {
    /// The kernel says that it ran code of a page without execute right.
    pub nx: bool,
    /// That it ran code of user space.
    pub smep: bool,
    /// That it used memory of user space.
    pub smap: bool,
}

/// The words for an error code of trap `number` (`None` where the report does not say which), with the address that faulted.
pub fn error_code(number: Option<u64>, code: u64, cr2: Option<u64>, flags: Flags) -> Option<String> {
    match number {
        Some(PAGE_FAULT) => Some(page_fault(code, cr2, flags)),
        None if cr2.is_some() => Some(page_fault(code, cr2, flags)),
        Some(number) if WITH_SELECTOR.contains(&number) => Some(match code {
            0 => "error code 0: no segment selector is to blame".to_string(),
            _ => format!("error code {code:#x}: segment selector {:#x}, {}", code & 0xfff8, table(code)),
        }),
        _ => None,
    }
}

/// Which table a selector of an error code is of.
fn table(code: u64) -> &'static str {
    match code & 6 {
        0 => "of the GDT",
        4 => "of the LDT",
        _ => "of the IDT",
    }
}

fn page_fault(code: u64, cr2: Option<u64>, flags: Flags) -> String {
    let bit = |n: u32| code >> n & 1 == 1;
    let who = if bit(2) { "user mode" } else { "the kernel" };
    let what = match (bit(4), bit(1)) {
        (true, _) => "ran code in",
        (_, true) => "wrote to",
        _ => "read from",
    };
    let why = if bit(3) {
        "a page table entry with reserved bits set"
    } else if bit(0) {
        "a page that does not allow it"
    } else {
        "a page that is not present"
    };
    let mut text = format!("error code {code:#x}: {who} {what} {why}");
    if let Some(address) = cr2 {
        let _ = write!(text, ", at CR2 {address:#x}{}", nature(address));
    }
    let told =
        [(flags.nx, "no execute right (NX)"), (flags.smep, "code of user space (SMEP)"), (flags.smap, "memory of user space (SMAP)")];
    let keyed = [(bit(5), "a protection key forbids it"), (bit(6), "a shadow stack access"), (bit(15), "SGX forbids it")];
    told.into_iter().chain(keyed).filter(|(set, _)| *set).for_each(|(_, words)| {
        let _ = write!(text, "; {words}");
    });
    text
}

/// What an address gives away.
fn nature(address: u64) -> &'static str {
    match address {
        0..NULL_PAGE => ", a null pointer with a small offset",
        _ if address >> 47 != 0 && address >> 47 != 0x1_ffff => ", not a canonical address",
        _ if address >> 47 == 0 => ", in user space",
        _ => "",
    }
}

/// The words for `ESR_EL1`, with the address that faulted.
pub fn esr(esr: u64, far: Option<u64>) -> String {
    let (class, iss) = (esr >> 26 & 0x3f, esr & 0x1ff_ffff);
    let mut text = format!("esr {esr:#x}: {} (EC {class:#04x})", class_words(class));
    match class {
        0x20 | 0x21 => {
            let _ = write!(text, ", {} (IFSC {:#04x})", fault(iss & 0x3f), iss & 0x3f);
        }
        0x24 | 0x25 => {
            let way = if iss >> 8 & 1 == 1 {
                "cache maintenance or address translation"
            } else if iss >> 6 & 1 == 1 {
                "write"
            } else {
                "read"
            };
            let _ = write!(text, ", {} (DFSC {:#04x}), {way} (WnR {})", fault(iss & 0x3f), iss & 0x3f, iss >> 6 & 1);
        }
        0x3c => {
            let _ = write!(text, ", brk #{:#x}{}", iss & 0xffff, brk(iss & 0xffff));
        }
        _ => {}
    }
    // FAR holds nothing where FnV says so, and is written by aborts, alignment faults and watchpoints only.
    let valid =
        matches!(class, 0x20..=0x22 | 0x24 | 0x25 | 0x34 | 0x35) && !(matches!(class, 0x20 | 0x21 | 0x24 | 0x25) && iss >> 10 & 1 == 1);
    if let Some(far) = far.filter(|_| valid) {
        let _ = write!(text, ", at far {far:#x}{}", far_nature(far));
    }
    text
}

fn far_nature(far: u64) -> &'static str {
    match far {
        0..NULL_PAGE => ", a null pointer with a small offset",
        // Bit 55 selects the half of the address space, whatever stands above it.
        _ if far >> 55 & 1 == 0 => ", in user space",
        _ => "",
    }
}

fn class_words(class: u64) -> &'static str {
    match class {
        0x00 => "unknown reason, mostly an instruction that does not exist",
        0x01 => "trapped WFI or WFE",
        0x07 => "trapped access to SIMD, floating point or SVE",
        0x0d => "branch target exception",
        0x0e => "illegal execution state",
        0x11 | 0x15 => "system call (SVC)",
        0x12 | 0x16 => "hypervisor call (HVC)",
        0x18 => "trapped access to a system register",
        0x19 => "trapped access to SVE",
        0x1c => "pointer authentication failed (FPAC)",
        0x1d => "trapped access to SME",
        0x20 => "instruction abort from user mode",
        0x21 => "instruction abort in the kernel",
        0x22 => "pc is not aligned",
        0x24 => "data abort from user mode",
        0x25 => "data abort in the kernel",
        0x26 => "stack pointer is not aligned",
        0x28 | 0x2c => "floating point exception",
        0x2f => "SError, an error that the hardware reports late",
        0x30 | 0x31 => "hardware breakpoint",
        0x32 | 0x33 => "single step",
        0x34 | 0x35 => "watchpoint",
        0x38 | 0x3c => "breakpoint instruction",
        _ => "exception class that is reserved or rare",
    }
}

/// Fault status codes of aborts; the low two bits of the first ones are the level of the page table.
fn fault(code: u64) -> String {
    let level = code & 3;
    match code {
        0x00..=0x03 => format!("address size fault, level {level}"),
        0x04..=0x07 => format!("translation fault, level {level}: the address is not mapped"),
        0x08..=0x0b => format!("access flag fault, level {level}"),
        0x0c..=0x0f => format!("permission fault, level {level}: the page does not allow it"),
        0x10 => "synchronous external abort".to_string(),
        0x11 => "tag check fault".to_string(),
        0x14..=0x17 => format!("external abort on a table walk, level {level}"),
        0x18 => "parity or ECC error".to_string(),
        0x1c..=0x1f => format!("parity or ECC error on a table walk, level {level}"),
        0x21 => "alignment fault".to_string(),
        0x30 => "conflict of TLB entries".to_string(),
        0x31 => "atomic update that is not supported".to_string(),
        0x34 => "lockdown or exclusive access that is not supported".to_string(),
        _ => "fault status that is reserved or rare".to_string(),
    }
}

/// Immediates that clang gives to checks of signed pointers (`-fptrauth-auth-traps`: 0xc470 plus the key).
fn brk(immediate: u64) -> &'static str {
    match immediate {
        0xc470..=0xc473 => ", a signed pointer that failed its check",
        0x1 => ", a trap that the compiler put there",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn page_faults_say_who_did_what_where() {
        let plain = Flags::default();
        assert_eq!(
            error_code(Some(14), 0, Some(0x18), plain).unwrap(),
            "error code 0x0: the kernel read from a page that is not present, at CR2 0x18, a null pointer with a small offset"
        );
        assert_eq!(
            error_code(None, 0x11, Some(0xffff_ff80_1234_0000), Flags { nx: true, ..plain }).unwrap(),
            "error code 0x11: the kernel ran code in a page that does not allow it, at CR2 0xffffff8012340000; no execute right (NX)"
        );
        assert!(
            error_code(Some(14), 7, Some(0x7fff_0000_0000), plain).unwrap().contains("user mode wrote to a page that does not allow it")
        );
        assert_eq!(error_code(Some(13), 0, Some(1), plain).unwrap(), "error code 0: no segment selector is to blame");
        assert_eq!(error_code(Some(13), 0x2b, None, plain).unwrap(), "error code 0x2b: segment selector 0x28, of the IDT");
        assert_eq!(error_code(Some(0), 0, Some(1), plain), None);
    }

    #[test]
    fn syndromes_say_class_fault_way_and_address() {
        assert_eq!(
            esr(0x9600_0006, Some(0xb)),
            "esr 0x96000006: data abort in the kernel (EC 0x25), translation fault, level 2: the address is not mapped (DFSC 0x06), \
             read (WnR 0), at far 0xb, a null pointer with a small offset"
        );
        assert!(
            esr(0x9600_0021, Some(0xffff_fe10_02bd_c01b)).ends_with("alignment fault (DFSC 0x21), read (WnR 0), at far 0xfffffe1002bdc01b")
        );
        assert!(esr(0x9600_0047, None).contains("write (WnR 1)"));
        assert!(esr(0x8600_000f, Some(0x1000)).contains("instruction abort in the kernel (EC 0x21), permission fault, level 3"));
        assert_eq!(
            esr(0xf200_0001, Some(5)),
            "esr 0xf2000001: breakpoint instruction (EC 0x3c), brk #0x1, a trap that the compiler put there"
        );
        assert_eq!(esr(0x7200_0000, None), "esr 0x72000000: pointer authentication failed (FPAC) (EC 0x1c)");
        assert!(!esr(0x9600_0410, Some(5)).contains("far"));
    }

    #[test]
    fn every_trap_that_has_a_name_is_told() {
        assert_eq!((0..32).filter(|number| trap(*number).is_none()).collect::<Vec<_>>(), [15, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31]);
    }
}
