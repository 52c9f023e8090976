//! A prelinked kernelcache, made from the kernel of the fixtures and its kexts as `kextutil -s` linked them.

use std::fs;

/// How the property list is written.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Plist {
    /// By Core Foundation: decimal, nothing shared. The kexts' bytes lie elsewhere than they are linked.
    Plain,
    /// By the kernel's `OSSerialize`: hexadecimal, with references to what was there before. The kexts lie where they are linked.
    Serialized,
}

/// Bundle identifier and link-time address of each kext.
pub const KEXTS: [(&str, u64); 2] = [("net.example.spl", 0xffff_ff7f_80e4_f000), ("net.example.zfs", 0xffff_ff7f_80ef_6000)];

/// The whole file.
pub fn cache(form: Plist) -> Vec<u8> {
    let read = |name: &str| fs::read(super::fixtures().join("symbols/darwin").join(name)).unwrap();
    let mut file = read("legacy/mach_kernel");
    let start = if form == Plist::Plain { 0xffff_ff80_0030_0000 } else { KEXTS[0].1 };
    let (mut text, mut places) = (Vec::new(), Vec::new());
    for (name, load) in KEXTS {
        let gap = if form == Plist::Plain { 0 } else { (load - start) as usize - text.len() };
        text.resize(text.len() + gap, 0);
        let kext = read(&format!("sym/{name}.sym"));
        places.push((name, load, start + text.len() as u64, kext.len() as u64));
        text.extend(kext);
        text.resize(text.len().next_multiple_of(4096), 0);
    }
    append(&mut file, "__PRELINK_TEXT", "__text", start, &text);
    let info = if form == Plist::Plain { plain(&places) } else { serialized(&places) };
    append(&mut file, "__PRELINK_INFO", "__info", 0xffff_ff80_0060_0000, info.as_bytes());
    file
}

/// Adds a segment with one section, its load command in the room before the first section.
fn append(file: &mut Vec<u8>, segment: &str, section: &str, address: u64, bytes: &[u8]) {
    let word = |file: &[u8], at: usize| u32::from_le_bytes(file[at..at + 4].try_into().unwrap());
    let offset = file.len().next_multiple_of(4096);
    file.resize(offset, 0);
    file.extend(bytes);
    let name = |name: &str| [name.as_bytes(), &[0; 16][name.len()..]].concat();
    let size = bytes.len() as u64;
    let mut command = [&0x19u32.to_le_bytes()[..], &152u32.to_le_bytes(), &name(segment)].concat();
    [address, size, offset as u64, size].iter().for_each(|value| command.extend(value.to_le_bytes()));
    [3u32, 3, 1, 0].iter().for_each(|value| command.extend(value.to_le_bytes()));
    command.extend([name(section), name(segment)].concat());
    [address, size].iter().for_each(|value| command.extend(value.to_le_bytes()));
    [offset as u32, 0, 0, 0, 0, 0, 0, 0].iter().for_each(|value| command.extend(value.to_le_bytes()));
    let (count, used) = (word(file, 16), word(file, 20));
    let at = 32 + used as usize;
    assert!(at + command.len() <= 2096 && command.len() == 152, "the kernel's code begins at byte 2096");
    file[at..at + command.len()].copy_from_slice(&command);
    file[16..20].copy_from_slice(&(count + 1).to_le_bytes());
    file[20..24].copy_from_slice(&(used + 152).to_le_bytes());
}

type Place = (&'static str, u64, u64, u64);

fn plain(places: &[Place]) -> String {
    let one = |(name, load, source, size): &Place| {
        format!(
            "\t\t<dict>\n\t\t\t<key>CFBundleIdentifier</key>\n\t\t\t<string>{name}</string>\n\t\t\t<key>CFBundleVersion</key>\n\
             \t\t\t<string>1.3.1</string>\n\t\t\t<key>_PrelinkExecutableLoadAddr</key>\n\t\t\t<integer>{load}</integer>\n\
             \t\t\t<key>_PrelinkExecutableSize</key>\n\t\t\t<integer>{size}</integer>\n\t\t\t<key>_PrelinkExecutableSourceAddr</key>\n\
             \t\t\t<integer>{source}</integer>\n\t\t</dict>\n"
        )
    };
    let kexts: String = places.iter().map(one).collect();
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<plist version=\"1.0\">\n<dict>\n\t<key>_PrelinkInfoDictionary</key>\n\t<array>\n\
         \t\t<dict>\n\t\t\t<key>CFBundleIdentifier</key>\n\t\t\t<string>net.example.codeless</string>\n\t\t</dict>\n{kexts}\t</array>\n</dict>\n</plist>\n"
    )
}

fn serialized(places: &[Place]) -> String {
    let one = |(at, (name, load, source, size)): (usize, &Place)| {
        assert_eq!(load, source, "so that one can refer to the other");
        let id = 10 * at;
        format!(
            "<dict ID=\"{}\"><key>CFBundleIdentifier</key><string ID=\"{}\">{name}</string><key>IOKitPersonalities</key><dict ID=\"{}\">\
             <key>Nub</key><dict ID=\"{}\"><key>CFBundleIdentifier</key><string IDREF=\"{}\"/></dict></dict>\
             <key>_PrelinkExecutableLoadAddr</key><integer size=\"64\" ID=\"{}\">{load:#x}</integer><key>_PrelinkExecutableSize</key>\
             <integer size=\"64\" ID=\"{}\">{size:#x}</integer><key>_PrelinkExecutableSourceAddr</key><integer size=\"64\" IDREF=\"{}\"/></dict>",
            id + 2,
            id + 3,
            id + 4,
            id + 5,
            id + 3,
            id + 6,
            id + 7,
            id + 6
        )
    };
    let kexts: String = places.iter().enumerate().map(one).collect();
    format!("<dict ID=\"0\"><key>_PrelinkInfoDictionary</key><array ID=\"1\">{kexts}</array></dict>\0")
}
