//! Offsets relative to an image, as reporters quote them: `--image net.example.zfs +0x12cc`, `net.example.zfs+0x12cc`.

use crate::model::addr::{Svma, parse_hex};
use crate::place::{Image, Layout};
use crate::symbols::FileInfo;

/// `--image NAME[:SEGMENT]`.
#[derive(Clone, Copy, Debug)]
pub struct Within<'a> {
    image: &'a str,
    segment: Option<&'a str>,
}

impl<'a> Within<'a> {
    /// Takes the option's value apart.
    pub fn parse(text: &'a str) -> Within<'a> {
        match text.split_once(':') {
            Some((image, segment)) => Within { image, segment: Some(segment) },
            None => Within { image: text, segment: None },
        }
    }

    /// The link-time address in each image of that name, with the image's number.
    ///
    /// # Errors
    /// What is wrong and what to try: no such image or segment, or no code at that offset.
    pub fn find(self, layout: &Layout, offset: u64) -> Result<Vec<(usize, Svma)>, String> {
        let called = |(_, image): &(usize, &Image)| image.program.is_some() && (image.name == self.image || image.is_called(self.image));
        let images: Vec<(usize, &Image)> = layout.images.iter().enumerate().filter(called).collect();
        if images.is_empty() {
            let names: Vec<&str> =
                layout.images.iter().filter(|image| image.program.is_some()).map(|image| image.name.as_str()).take(8).collect();
            return Err(format!("no symbol file for an image called `{}`; there are {}", self.image, names.join(", ")));
        }
        let one = |(at, image): &(usize, &Image)| {
            let Some(program) = &image.program else { return Err(String::new()) };
            self.address(program.info(), offset).map(|svma| (*at, svma))
        };
        images.iter().map(one).collect()
    }

    /// Offsets count from `__TEXT` unless a segment is named.
    fn address(self, info: &FileInfo, offset: u64) -> Result<Svma, String> {
        let name = self.segment.unwrap_or("__TEXT");
        let start = match self.segment {
            Some(name) => info.segment(name).map(|segment| segment.svma).ok_or_else(|| {
                let names: Vec<&str> = info.segments.iter().map(|segment| segment.name.as_str()).collect();
                format!("{} has no segment {name}; it has {}", info.path.display(), names.join(", "))
            })?,
            None => info.base(),
        };
        let svma = Svma(start.0.wrapping_add(offset));
        let code = info.segments.iter().any(|segment| segment.executable && svma.0.wrapping_sub(segment.svma.0) < segment.size);
        let apart = info.segment("__TEXT_EXEC").is_some() && self.segment.is_none();
        match (code, apart) {
            (true, _) => Ok(svma),
            (false, true) => Err(format!(
                "{name} + {offset:#x} is no code: on arm64 panics, spindumps and stackshots count from __TEXT_EXEC, which is --image {}:__TEXT_EXEC",
                self.image
            )),
            (false, false) => Err(format!("{name} + {offset:#x} is no code of {}", info.path.display())),
        }
    }
}

/// `+0x12cc`, `+4812`, or the same without the sign.
pub fn offset(query: &str) -> Option<u64> {
    let digits = query.trim().strip_prefix('+').unwrap_or(query).trim();
    if digits.starts_with("0x") || digits.starts_with("0X") { parse_hex(digits) } else { digits.parse().ok() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_are_hexadecimal_with_a_prefix_and_decimal_without() {
        assert_eq!(offset("+0x12cc"), Some(0x12cc));
        assert_eq!(offset("+ 128343"), Some(128_343));
        assert_eq!(offset("10"), Some(10));
        assert_eq!(offset("+x"), None);
        let within = Within::parse("net.example.zfs:__TEXT_EXEC");
        assert_eq!((within.image, within.segment), ("net.example.zfs", Some("__TEXT_EXEC")));
    }
}
