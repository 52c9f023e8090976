//! A small ELF writer, for symbol files that no compiler makes.

/// Where the code of a [`kernel`] lies.
pub const CODE: u64 = 0xffff_ffff_8100_0000;

/// A linked x86_64 kernel with one function, `deep`, of `size` bytes at [`CODE`], and other sections by name and content.
pub fn kernel(size: u64, others: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let symbol = |name: u32, info: u8, section: u16, value: u64, size: u64| {
        [&name.to_le_bytes()[..], &[info, 0], &section.to_le_bytes(), &value.to_le_bytes(), &size.to_le_bytes()].concat()
    };
    let symbols = [symbol(0, 0, 0, 0, 0), symbol(1, 0x12, 1, CODE, size)].concat();
    // Name, type, flags, address, content, link, info, size of an entry.
    let mut sections = vec![
        (".init.text", 1u32, 6u64, CODE, vec![0x90; size as usize], 0u32, 0u32, 0u64),
        (".symtab", 2, 0, 0, symbols, 3, 1, 24),
        (".strtab", 3, 0, 0, b"\0deep\0".to_vec(), 0, 0, 0),
    ];
    sections.extend(others.iter().map(|(name, content)| (*name, 1, 0, 0, content.clone(), 0, 0, 0)));
    sections.push((".shstrtab", 3, 0, 0, Vec::new(), 0, 0, 0));
    let mut names = vec![0];
    let offsets: Vec<u32> = sections
        .iter()
        .map(|section| {
            let at = names.len() as u32;
            names.extend([section.0.as_bytes(), b"\0"].concat());
            at
        })
        .collect();
    sections.last_mut().unwrap().4 = names;
    let mut file = vec![0; 64];
    let mut headers = vec![0; 64];
    for ((_, kind, flags, address, content, link, info, entry), name) in sections.iter().zip(offsets) {
        headers.extend([name.to_le_bytes(), kind.to_le_bytes()].concat());
        headers.extend([*flags, *address, file.len() as u64, content.len() as u64].map(u64::to_le_bytes).concat());
        headers.extend([link.to_le_bytes(), info.to_le_bytes()].concat());
        headers.extend([1, *entry].map(u64::to_le_bytes).concat());
        file.extend(content);
    }
    // 64 bits, little endian; an executable for x86_64.
    let start = [&b"\x7fELF\x02\x01\x01"[..], &[0; 9], &[2, 0, 62, 0, 1, 0, 0, 0], &[0; 16], &(file.len() as u64).to_le_bytes()].concat();
    let counts = [0u16, 0, 64, 0, 0, 64, sections.len() as u16 + 1, sections.len() as u16];
    file[..48].copy_from_slice(&start);
    file[48..64].copy_from_slice(&counts.map(u16::to_le_bytes).concat());
    file.extend(headers);
    file
}
