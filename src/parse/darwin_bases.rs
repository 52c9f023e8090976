//! Where images lie, as the frames themselves tell: address without the offset into the image.

use rustc_hash::{FxHashMap, FxHashSet};

use crate::model::addr::Avma;
use crate::note::Note;

/// What frames say about one image.
#[derive(Default)]
struct Votes {
    /// Line of the first.
    line: u32,
    /// Distinct addresses that were counted.
    seen: FxHashSet<u64>,
    /// Distinct addresses for each base.
    bases: FxHashMap<u64, usize>,
}

/// More distinct addresses of one image than this prove nothing more.
const MOST: usize = 10_000;

/// The bases that frames show, by the image's name.
#[derive(Default)]
pub struct Bases {
    names: Vec<String>,
    votes: FxHashMap<String, Votes>,
}

impl Bases {
    /// Counts a frame at `address`, `offset` bytes into `image`.
    pub fn add(&mut self, image: &str, address: Avma, offset: u64, line: u32) {
        if !self.votes.contains_key(image) {
            self.names.push(image.to_string());
            self.votes.insert(image.to_string(), Votes { line, ..Votes::default() });
        }
        let Some(votes) = self.votes.get_mut(image).filter(|votes| votes.seen.len() < MOST) else { return };
        if votes.seen.insert(address.0) {
            *votes.bases.entry(address.0.wrapping_sub(offset)).or_default() += 1;
        }
    }

    /// Name, base and first line of each image, in the order of the report. Frames that disagree become a note; without a majority nothing
    /// is known.
    pub fn agreed(&self, notes: &mut Vec<Note>) -> Vec<(String, Avma, u32)> {
        let mut found = Vec::new();
        for name in &self.names {
            let votes = &self.votes[name];
            let Some((base, agree)) = votes.bases.iter().max_by_key(|(base, count)| (**count, std::cmp::Reverse(**base))) else { continue };
            let all = votes.seen.len();
            let sure = agree * 2 > all;
            if *agree < all {
                let what = if sure { "that is used" } else { "so it is not known where it lies" };
                let text = format!("{agree} of {all} frames in {name} put its base at {base:#x}, the others elsewhere; {what}");
                notes.push(Note::warning("", text));
            }
            if sure {
                found.push((name.clone(), Avma(*base), votes.line));
            }
        }
        found
    }
}

/// Whether Darwin calls a kernel by that name: `mach_kernel`, `kernel`, `kernel.release.t6041`.
pub fn is_kernel(name: &str) -> bool {
    matches!(name, "mach_kernel" | "kernel") || name.starts_with("kernel.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn most_frames_decide_and_the_others_are_told() {
        let mut bases = Bases::default();
        for (image, address, offset) in
            [("spl", 0x1010, 0x10), ("spl", 0x1020, 0x20), ("spl", 0x1024, 0x20), ("zfs", 0x5010, 0x10), ("zfs", 0x5020, 0x30)]
        {
            bases.add(image, Avma(address), offset, 3);
            // The same frame again is no second witness.
            bases.add(image, Avma(address), offset, 4);
        }
        let mut notes = Vec::new();
        assert_eq!(bases.agreed(&mut notes), [("spl".to_string(), Avma(0x1000), 3)]);
        assert_eq!(notes.len(), 2, "{notes:?}");
        assert!(notes[0].text.starts_with("2 of 3 frames in spl") && notes[1].text.ends_with("not known where it lies"), "{notes:?}");
    }
}
