//! The load information that `kextutil -v` prints: a dictionary for each kext.
//!
//! ```text
//! "net.example.spl" = {
//!     "CFBundleVersion" = "1.3.1"
//!     "OSBundleUUID" = <655aa406 97024364 9d304815 71cf631d>
//!     "OSBundleLoadAddress" = -549734350848
//!     "OSBundleLoadSize" = 24576
//! }
//! ```
//! Addresses are signed decimals, as `CFNumber` prints them, with the kernel slide taken off like kextstat's (`OSKext::copyInfo`, xnu-2050
//! and later).

use memchr::memmem;

use super::{Confidence, Format, Holds, lex};
use crate::model::addr::{Arch, Avma};
use crate::model::capture::{Capture, Os};
use crate::model::image::{Basis, ImageClaim, ImageId};

/// The format.
pub struct KextutilInfo;

impl Format for KextutilInfo {
    fn id(&self) -> &'static str {
        "darwin-kextutil-info"
    }
    fn about(&self) -> &'static str {
        "load information of kextutil -v: unslid load addresses"
    }
    fn holds(&self) -> Holds {
        Holds::LoadMap
    }
    fn marks(&self) -> &'static [&'static [u8]] {
        &[b"\" = {"]
    }
    fn sniff(&self, head: &[u8]) -> Confidence {
        let has = |key: &[u8]| memmem::find(head, key).is_some();
        let told = has(b"\"OSBundleLoadAddress\" = ") || (has(b"\"CFBundleIdentifier\" = ") && has(b"\"OSBundleLoadSize\" = "));
        if told { Confidence::Certain } else { Confidence::No }
    }

    fn parse(&self, text: &[u8]) -> Capture {
        let mut images: Vec<ImageClaim> = Vec::new();
        for line in lex::lines(text) {
            let Some((key, value)) = entry(line.bytes) else { continue };
            if value == b"{" {
                images.push(ImageClaim { name: lex::text(key), line: line.number, basis: Basis::Unslid, ..ImageClaim::default() });
            } else if let Some(claim) = images.last_mut() {
                take(claim, key, value);
            }
        }
        let arch = images.iter().filter_map(|image| image.load).find_map(Arch::of_darwin_address);
        Capture { format: self.id(), os: Some(Os::Darwin), arch, images, ..Capture::default() }
    }
}

/// `"KEY" = VALUE`.
fn entry(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let rest = line.trim_ascii().strip_prefix(b"\"")?;
    let at = memmem::find(rest, b"\" =")?;
    Some((&rest[..at], rest[at + 3..].trim_ascii()))
}

fn take(claim: &mut ImageClaim, key: &[u8], value: &[u8]) {
    let bare = || lex::text(value.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\"")).unwrap_or(value));
    let number = || std::str::from_utf8(value).ok()?.parse::<i64>().ok().map(|number| number as u64).filter(|number| *number != 0);
    match key {
        b"CFBundleIdentifier" => claim.name = bare(),
        b"CFBundleVersion" => claim.version = Some(bare()),
        b"OSBundleUUID" => claim.id = ImageId::parse(&bare().replace(['<', '>', ' '], "")),
        b"OSBundleLoadAddress" => claim.load = number().map(Avma),
        b"OSBundleLoadSize" => claim.size = number(),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_negative_address_is_one_of_the_kernel() {
        let text = b"\"net.example.spl\" = {\n    \"OSBundleUUID\" = <655aa406 97024364 9d304815 71cf631d>\n    \"CFBundleVersion\" = \"1.3.1\"\n    \
            \"OSBundleLoadAddress\" = -551890460672\n    \"OSBundleLoadSize\" = 50016\n}\n";
        assert_eq!(KextutilInfo.sniff(text), Confidence::Certain);
        let capture = KextutilInfo.parse(text);
        let [kext] = &capture.images[..] else { panic!("{:?}", capture.images) };
        assert_eq!((kext.name.as_str(), kext.version.as_deref(), kext.size), ("net.example.spl", Some("1.3.1"), Some(50016)));
        assert_eq!((kext.load, capture.arch), (Some(Avma(0xffff_ff7f_80c3_e000)), Some(Arch::X86_64)));
        assert_eq!(kext.id.unwrap().to_string(), "655AA406-9702-4364-9D30-481571CF631D");
        for other in [&b""[..], b"\"OSBundleLoadAddress\"", b"\"a\" = {\n\"OSBundleLoadAddress\" = 99999999999999999999\n"] {
            assert!(KextutilInfo.parse(other).images.iter().all(|claim| claim.load.is_none()));
        }
    }
}
