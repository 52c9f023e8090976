//! Which addresses belong to which image.

use super::Image;
use crate::model::addr::{Arch, Avma};
use crate::model::capture::Os;
use crate::space::PlacedRange;
use crate::symbols::Segment;

/// The ranges of all images.
pub(super) fn all(images: &[Image], os: Option<Os>) -> Vec<PlacedRange> {
    let mut ranges: Vec<PlacedRange> = images.iter().enumerate().flat_map(|(at, image)| of(at, image)).collect();
    if os == Some(Os::Linux) {
        cut(&mut ranges);
    }
    ranges
}

/// Cuts the ranges of Linux modules without a file. Since Linux 6.4 the size in `/proc/modules` is that of code and data together, which lie
/// apart, while the address is that of the code (kernel/module/procfs.c, `module_total_size`): another module may begin within it. One that
/// begins within the code of a file is a contradiction still.
fn cut(ranges: &mut [PlacedRange]) {
    let mut starts: Vec<Avma> = ranges.iter().map(|range| range.start).collect();
    starts.sort_unstable();
    for range in ranges.iter_mut().filter(|range| range.svma.is_none()) {
        let next = starts.get(starts.partition_point(|start| *start <= range.start));
        range.end = range.end.min(next.copied().unwrap_or(range.end));
    }
}

/// The ranges of an image: its segments, or without a file what the load map says.
fn of(at: usize, image: &Image) -> Vec<PlacedRange> {
    let end = |start: Avma, size: u64| Avma(start.0.saturating_add(size));
    if image.program.is_some() {
        let range = |(segment, start): &(Segment, Avma)| PlacedRange {
            start: *start,
            end: end(*start, segment.size),
            image: at,
            svma: Some(segment.svma),
        };
        return image.segments.iter().map(range).collect();
    }
    let exec = image.exec.and_then(|(exec, size)| Some((exec, size?)));
    // On arm64 an image's segments lie far apart with others between them: its size is that of nothing in memory.
    let whole = image.load.filter(|load| Arch::of_darwin_address(*load) != Some(Arch::Arm64)).zip(image.size);
    [whole, exec.filter(|exec| Some(exec.0) != image.load)]
        .into_iter()
        .flatten()
        .map(|(start, size)| PlacedRange { start, end: end(start, size), image: at, svma: None })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::addr::Svma;

    #[test]
    fn a_module_without_a_file_ends_where_the_next_image_begins() {
        let range =
            |start, end, image, file: bool| PlacedRange { start: Avma(start), end: Avma(end), image, svma: file.then_some(Svma(0)) };
        let file = range(0x3000, 0x4800, 1, true);
        let mut ranges = [range(0x1000, 0x9000, 0, false), file, range(0x4000, 0x8000, 2, false), range(0x5000, 0x6000, 3, false)];
        cut(&mut ranges);
        assert_eq!(ranges, [range(0x1000, 0x3000, 0, false), file, range(0x4000, 0x5000, 2, false), range(0x5000, 0x6000, 3, false)]);
    }
}
