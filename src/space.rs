//! The address space of one report: placed images as sorted, half-open, non-overlapping ranges.

use crate::model::addr::{Avma, Svma};

/// A part of an image at its place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PlacedRange {
    /// First address, as captured.
    pub start: Avma,
    /// One past the last.
    pub end: Avma,
    /// Index of the image.
    pub image: usize,
    /// Link-time address of `start`; `None` when there is no file for the image.
    pub svma: Option<Svma>,
}

/// What covers an address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Owner {
    /// One image; with its link-time address when it has a file.
    Image(usize, Option<Svma>),
    /// Two images that cannot both be there.
    Overlap(usize, usize),
}

/// Placed images. Finding is one binary search.
#[derive(Clone, Default, Debug)]
pub struct AddressSpace {
    /// Start, end and owner of each piece, ascending.
    pieces: Vec<(Avma, Avma, Piece)>,
}

#[derive(Clone, Copy, Debug)]
enum Piece {
    One(PlacedRange),
    Two(usize, usize),
}

impl AddressSpace {
    /// Cuts `ranges` into pieces so that what two of them claim belongs to neither. Empty ranges are ignored.
    pub fn new(ranges: &[PlacedRange]) -> AddressSpace {
        let mut edges: Vec<(Avma, bool, usize)> = Vec::with_capacity(2 * ranges.len());
        for (at, range) in ranges.iter().enumerate().filter(|(_, range)| range.start < range.end) {
            edges.push((range.start, true, at));
            edges.push((range.end, false, at));
        }
        edges.sort_unstable();
        let mut space = AddressSpace::default();
        let mut open: Vec<usize> = Vec::new();
        let mut from = Avma(0);
        for (at, opens, range) in edges {
            let piece = match open[..] {
                [] => None,
                [one] => Some(Piece::One(ranges[one])),
                [one, two, ..] => Some(Piece::Two(ranges[one].image, ranges[two].image)),
            };
            if let Some(piece) = piece.filter(|_| from < at) {
                space.pieces.push((from, at, piece));
            }
            if opens {
                open.push(range);
            } else {
                open.retain(|other| *other != range);
            }
            from = at;
        }
        space
    }

    /// What covers `address`.
    pub fn find(&self, address: Avma) -> Option<Owner> {
        let above = self.pieces.partition_point(|(start, ..)| *start <= address);
        let (_, end, piece) = self.pieces.get(above.checked_sub(1)?)?;
        if address >= *end {
            return None;
        }
        Some(match piece {
            Piece::Two(one, two) => Owner::Overlap(*one, *two),
            Piece::One(range) => {
                let svma = range.svma.map(|svma| Svma(svma.0.wrapping_add(address.0 - range.start.0)));
                Owner::Image(range.image, svma)
            }
        })
    }

    /// Pairs of images that overlap, each once, with the first address of the overlap.
    pub fn overlaps(&self) -> Vec<(usize, usize, Avma)> {
        let mut found: Vec<(usize, usize, Avma)> = Vec::new();
        for (start, _, piece) in &self.pieces {
            if let Piece::Two(one, two) = piece
                && !found.iter().any(|(a, b, _)| (a, b) == (one, two) || (a, b) == (two, one))
            {
                found.push((*one, *two, *start));
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn range(start: u64, end: u64, image: usize) -> PlacedRange {
        PlacedRange { start: Avma(start), end: Avma(end), image, svma: Some(Svma(start ^ 0x1000)) }
    }

    proptest! {
        #[test]
        fn agrees_with_a_linear_search(ends in prop::collection::vec((0u64..60, 0u64..20), 0..12), probe in 0u64..90) {
            let ranges: Vec<PlacedRange> = ends.iter().enumerate().map(|(at, (start, size))| range(*start, start + size, at)).collect();
            let covering: Vec<&PlacedRange> = ranges.iter().filter(|r| (r.start.0..r.end.0).contains(&probe)).collect();
            match (AddressSpace::new(&ranges).find(Avma(probe)), &covering[..]) {
                (None, []) => {}
                (Some(Owner::Image(image, svma)), [one]) => {
                    prop_assert_eq!(image, one.image);
                    prop_assert_eq!(svma, Some(Svma((one.start.0 ^ 0x1000) + probe - one.start.0)));
                }
                (Some(Owner::Overlap(a, b)), [_, _, ..]) => {
                    prop_assert!(a != b && covering.iter().any(|r| r.image == a) && covering.iter().any(|r| r.image == b));
                }
                (found, covering) => prop_assert!(false, "{found:?} but covered by {covering:?}"),
            }
        }
    }

    #[test]
    fn an_overlap_is_reported_once() {
        let space = AddressSpace::new(&[range(0, 10, 0), range(5, 20, 1), range(7, 8, 1)]);
        assert_eq!(space.overlaps(), [(0, 1, Avma(5))]);
    }
}
