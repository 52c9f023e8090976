//! How large the parts of a Linux kernel are, as it prints them when it boots, computed from its file.
//!
//! ```text
//! Memory: 260860K/2096596K available (14343K kernel code, 2338K rwdata, 9132K rodata, 2824K init, 17344K bss, 708364K reserved, ...)
//! ```
//! Source: `mem_init_print_info` in mm/page_alloc.c of 3.10 to 6.3 and mm/mm_init.c of 6.4 to 6.12: differences of the linker's symbols, in
//! units of 1,024 bytes rounded down.

/// Sizes of a kernel's parts in KiB, rounded down, in the order in which the kernel prints them; `None` where the file has no symbols for it.
pub type KernelSizes = [Option<u64>; PARTS.len()];

/// What the kernel calls the parts.
pub const PARTS: [&str; 5] = ["kernel code", "rwdata", "rodata", "init", "bss"];

/// The linker's symbols at the start and the end of a part, link-time addresses.
type Span = (u64, u64);

/// Names of those symbols: of code, data, read-only data, data and code of the boot, and zeroed data.
const BOUNDS: [(&[u8], &[u8]); 6] = [
    (b"_stext", b"_etext"),
    (b"_sdata", b"_edata"),
    (b"__start_rodata", b"__end_rodata"),
    (b"__init_begin", b"__init_end"),
    (b"_sinittext", b"_einittext"),
    (b"__bss_start", b"__bss_stop"),
];

/// The sizes that a kernel with these symbols prints; addresses and names.
pub fn of<'n>(symbols: impl Iterator<Item = (u64, &'n [u8])>) -> KernelSizes {
    let mut found = [(None, None); BOUNDS.len()];
    for (address, name) in symbols.filter(|(_, name)| name.starts_with(b"_")) {
        for ((from, to), bounds) in found.iter_mut().zip(BOUNDS) {
            *from = from.or((name == bounds.0).then_some(address));
            *to = to.or((name == bounds.1).then_some(address));
        }
    }
    printed(found.map(|(from, to)| from.zip(to).filter(|(from, to)| from <= to)))
}

/// The kernel's own arithmetic: what lies inside another part is not counted twice.
fn printed([text, data, rodata, init, code, bss]: [Option<Span>; BOUNDS.len()]) -> KernelSizes {
    let init_data = init.map(|init| without(init, size(init), code));
    let text = text.map(|text| without(text, without(text, size(text), code), rodata));
    let data = data.map(|data| {
        let init = init.zip(init_data).map(|((from, _), size)| (from, from + size));
        without(data, without(data, size(data), init), rodata)
    });
    let init = init_data.zip(code).and_then(|(data, code)| data.checked_add(size(code)));
    [text, data, rodata.map(size), init, bss.map(size)].map(|bytes| Some(bytes? / 1024))
}

fn size((from, to): Span) -> u64 {
    to - from
}

/// `left` bytes of `whole`, less `part` if that begins inside.
fn without(whole: Span, left: u64, part: Option<Span>) -> u64 {
    part.filter(|part| whole.0 <= part.0 && part.0 < whole.1 && left > size(*part)).map_or(left, |part| left - size(part))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_inside_another_part_is_counted_once() {
        let k = |from: u64, to: u64| Some((from * 1024, to * 1024));
        // x86_64: code of the boot lies among its data.
        let apart = printed([k(0, 100), k(300, 350), k(200, 240), k(400, 440), k(410, 420), k(500, 503)]);
        assert_eq!(apart, [Some(100), Some(50), Some(40), Some(40), Some(3)]);
        // Architectures whose text has read-only data in it, and whose data has the boot's.
        let inside = printed([k(0, 100), k(300, 350), k(60, 70), k(310, 330), k(90, 95), k(500, 503)]);
        assert_eq!(inside, [Some(85), Some(30), Some(10), Some(25), Some(3)]);
        assert_eq!(printed([k(0, 100), None, None, None, None, None]), [Some(100), None, None, None, None], "the rest is not known");
    }
}
