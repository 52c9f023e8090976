//! Kernels, kexts and modules: what is said about them, and how they were matched with symbol files.

use std::fmt;

use super::addr::Avma;

/// What proves that a symbol file is the build that ran: a Mach-O UUID or an ELF build id.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum ImageId {
    /// `LC_UUID`.
    Uuid([u8; 16]),
    /// `.note.gnu.build-id`: how many bytes (20 as a rule), and those.
    Build(u8, [u8; 32]),
}

impl ImageId {
    /// Reads a UUID with or without dashes, upper or lower case (`Fileset Kernelcache UUID` lines have none, kextstat has both).
    pub fn parse(text: &str) -> Option<ImageId> {
        let digits: Vec<u8> = text.bytes().filter(|b| *b != b'-').collect();
        let dashes = text.len() - digits.len();
        if digits.len() != 32 || !(dashes == 0 || dashes == 4) {
            return None;
        }
        let mut id = [0; 16];
        unhex(&digits, &mut id)?;
        ImageId::uuid(id)
    }

    /// The 16 bytes of a UUID; `None` when they are all zero, as a linker leaves them that was told to make none: two of those prove nothing.
    pub fn uuid(bytes: [u8; 16]) -> Option<ImageId> {
        (bytes != [0; 16]).then_some(ImageId::Uuid(bytes))
    }

    /// What it is called.
    pub fn kind(self) -> &'static str {
        match self {
            ImageId::Uuid(_) => "UUID",
            ImageId::Build(..) => "build id",
        }
    }

    /// A build id as a note holds it, of 1 to 32 bytes that are not all zero.
    pub fn build(bytes: &[u8]) -> Option<ImageId> {
        let mut id = [0; 32];
        id.get_mut(..bytes.len())?.copy_from_slice(bytes);
        bytes.iter().any(|byte| *byte != 0).then_some(ImageId::Build(bytes.len() as u8, id))
    }

    /// A build id as a frame or `Comm:` line prints it: 40 hex digits.
    pub fn parse_build(text: &[u8]) -> Option<ImageId> {
        let mut id = [0; 32];
        unhex(text, id.get_mut(..text.len() / 2)?)?;
        ImageId::build(&id[..text.len() / 2]).filter(|_| text.len().is_multiple_of(2))
    }
}

fn unhex(digits: &[u8], bytes: &mut [u8]) -> Option<()> {
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks(2)) {
        let nibble = |c: u8| (c as char).to_digit(16);
        *byte = (nibble(pair[0])? * 16 + nibble(*pair.get(1)?)?) as u8;
    }
    Some(())
}

impl fmt::Display for ImageId {
    /// A UUID in upper case with dashes, as macOS prints it; a build id in lower case, as Linux does.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ImageId::Uuid(id) => {
                for (at, byte) in id.iter().enumerate() {
                    let dash = if matches!(at, 4 | 6 | 8 | 10) { "-" } else { "" };
                    write!(f, "{dash}{byte:02X}")?;
                }
                Ok(())
            }
            ImageId::Build(count, id) => id[..usize::from(*count)].iter().try_for_each(|byte| write!(f, "{byte:02x}")),
        }
    }
}

/// Whether a source prints addresses with the kernel slide in them.
///
/// Since 10.8 macOS takes the slide off in kextstat, kmutil and stackshots (`VM_KERNEL_UNSLIDE`, xnu-2050 and later) but not
/// in panics and under a debugger.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Basis {
    /// The slide is taken off: kernel addresses are the file's own.
    #[default]
    Unslid,
    /// Run-time addresses, slide included.
    Runtime,
}

impl Basis {
    /// What JSON has for it.
    pub fn name(self) -> &'static str {
        match self {
            Basis::Unslid => "unslid",
            Basis::Runtime => "runtime",
        }
    }

    /// The one of that name.
    pub fn by_name(name: &str) -> Option<Basis> {
        [Basis::Unslid, Basis::Runtime].into_iter().find(|basis| basis.name() == name)
    }
}

/// What one source says about one image. Several claims about the same image are merged by [`crate::place`].
#[derive(Clone, Debug, Default)]
pub struct ImageClaim {
    /// Bundle identifier, or the name that the source prints.
    pub name: String,
    /// Version as printed.
    pub version: Option<String>,
    /// UUID as printed.
    pub id: Option<ImageId>,
    /// Address of the Mach-O header (`__TEXT`); `None` when the source prints 0 or nothing.
    pub load: Option<Avma>,
    /// Size in bytes that goes with `load`.
    pub size: Option<u64>,
    /// Address of `__TEXT_EXEC`, where the source prints it apart.
    pub exec: Option<Avma>,
    /// Size in bytes that goes with `exec`.
    pub exec_size: Option<u64>,
    /// Addresses of single sections, by name: what `/sys/module/NAME/sections` holds.
    pub sections: Vec<(String, Avma)>,
    /// Addresses of symbols, by name: what kallsyms and System.map hold.
    pub anchors: Vec<(String, Avma)>,
    /// Whether a module was still being loaded, so that its `.init` sections were still there.
    pub loading: bool,
    /// Whether this is the kernel itself.
    pub kernel: bool,
    /// Whether this is a kernel collection, which holds the kernel and kexts that have claims of their own.
    pub collection: bool,
    /// The image that the source lists this one as a dependency of.
    pub needed_by: Option<String>,
    /// Whether this is a program or library of user space, which no kernel address belongs to.
    pub user: bool,
    /// Whether the addresses are slid.
    pub basis: Basis,
    /// Line of the source, from 1.
    pub line: u32,
    /// Name of the source, filled in when captures are brought together.
    pub source: String,
}

/// How far an image's symbol file is proven to be the right build. The names are those of the JSON form.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ImageStatus {
    /// UUIDs on both sides, and equal.
    Matched,
    /// UUIDs differ, or the report's own symbol + offset pairs contradict the file.
    Mismatched,
    /// A file is there but nothing could be compared.
    Unverified,
    /// No symbol file.
    Missing,
}

impl ImageStatus {
    /// The JSON name.
    pub fn name(self) -> &'static str {
        match self {
            ImageStatus::Matched => "matched",
            ImageStatus::Mismatched => "mismatched",
            ImageStatus::Unverified => "unverified",
            ImageStatus::Missing => "missing",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uuids_are_read_in_three_spellings_and_printed_in_one() {
        let spellings =
            ["4ABD0F9A-6241-304C-BF64-0779C5CCAA54", "4abd0f9a-6241-304c-bf64-0779c5ccaa54", "4ABD0F9A6241304CBF640779C5CCAA54"];
        for text in spellings {
            assert_eq!(ImageId::parse(text).unwrap().to_string(), spellings[0]);
        }
        for bad in
            ["", "........-....-....-....-............", "4ABD0F9A-6241-304C-BF64-0779C5CCAA5", "4ABD0F9A-6241-304C-BF64-0779C5CCAA5G"]
        {
            assert_eq!(ImageId::parse(bad), None);
        }
    }

    #[test]
    fn zeros_identify_nothing() {
        assert_eq!(ImageId::parse("00000000-0000-0000-0000-000000000000"), None);
        assert_eq!((ImageId::uuid([0; 16]), ImageId::build(&[0; 20]), ImageId::parse_build(&[b'0'; 40])), (None, None, None));
        assert!(ImageId::parse("00000000-0000-0000-0000-000000000001").is_some() && ImageId::build(&[0, 1]).is_some());
    }
}
