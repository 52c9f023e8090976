//! Load maps of another boot or another system than the report's: what they say about places proves nothing.

use super::anchors::OWN;
use super::evidence::MapSlide;
use super::{Image, Placer};
use crate::model::addr::Avma;
use crate::model::image::{ImageClaim, ImageId};
use crate::note::Note;

/// Takes back what is said about other builds: all that a load map of another kernel says, and each claim about another build of an image.
pub(super) fn drop_other_builds(images: &mut [Image], notes: &mut Vec<Note>) {
    let Some(kernel) = images.iter().find(|image| image.kernel).and_then(|image| image.wanted) else { return drop_claims(images, &[]) };
    let mut foreign: Vec<String> = Vec::new();
    for (source, line, id) in kernels(images) {
        if id != kernel && !foreign.contains(&source) {
            notes.push(Note::warning(
                "",
                format!("{source} line {line} is of a system with kernel {id}, but the report's is {kernel}: nothing in it is used"),
            ));
            foreign.push(source);
        }
    }
    drop_claims(images, &foreign);
}

fn drop_claims(images: &mut [Image], foreign: &[String]) {
    for image in images {
        let wanted = image.wanted;
        let of_another = |claim: &ImageClaim| wanted.zip(claim.id).is_some_and(|(wanted, id)| wanted != id);
        let before = image.claims.len();
        image.claims.retain(|claim| !foreign.contains(&claim.source));
        let said = || image.claims.iter().any(|claim| claim.id.is_some() && claim.id == wanted);
        if image.claims.len() < before && matches!(wanted, Some(ImageId::Uuid(_))) && !said() {
            // A UUID that nothing else says is that of another system's image. Build ids are said by frames too.
            image.wanted = image.claims.iter().find_map(|claim| claim.id);
        } else {
            image.claims.retain(|claim| !of_another(claim));
        }
    }
}

/// The kernel that each load map is of, with the line that says so: its own, or the one that kmutil prints for every `com.apple.kpi` kext
/// (macOS 11 and later; before that each had a UUID of its own).
fn kernels(images: &[Image]) -> Vec<(String, u32, ImageId)> {
    let of = |image: &Image| -> Vec<(String, u32, ImageId)> {
        let listed = image.claims.iter().filter(|claim| claim.source != OWN);
        listed.filter_map(|claim| Some((claim.source.clone(), claim.line, claim.id?))).collect()
    };
    let own = images.iter().filter(|image| image.kernel).flat_map(of);
    let interfaces: Vec<_> = images.iter().filter(|image| image.name.starts_with("com.apple.kpi.")).flat_map(of).collect();
    let shared = interfaces.iter().filter(|(source, _, id)| {
        let mut same = interfaces.iter().filter(|(other, ..)| other == source);
        same.clone().count() > 1 && same.all(|(.., other)| other == id)
    });
    own.chain(shared.cloned()).collect()
}

impl Placer<'_> {
    /// Finds the load maps that put a kext elsewhere than the report does: they are of another boot, and their other addresses prove nothing.
    pub(super) fn find_foreign(&mut self, images: &[Image], maps: MapSlide) {
        for image in images.iter().filter(|image| !image.kernel) {
            self.elsewhere(image, "", |claim| maps.bring(claim.load?, claim.basis));
            // Panics of arm64 state no other address.
            self.elsewhere(image, "__TEXT_EXEC of ", |claim| maps.bring(claim.exec?, claim.basis));
        }
    }

    /// Compares the place of one part.
    fn elsewhere(&mut self, image: &Image, part: &str, place: impl Fn(&ImageClaim) -> Option<Avma>) {
        let claims = |own: bool| image.claims.iter().filter(move |claim| (claim.source == OWN) == own);
        let Some((here, line)) = claims(true).find_map(|claim| Some((place(claim)?, claim.line))) else { return };
        for claim in claims(false) {
            let Some(there) = place(claim).filter(|there| *there != here) else { continue };
            if !self.foreign.contains(&claim.source) {
                self.foreign.push(claim.source.clone());
                self.warn(format!(
                    "{} line {} puts {part}{} at {there}, but the report at {here} (line {line}): it is of another boot, and none of its \
                     addresses is used",
                    claim.source, claim.line, image.name
                ));
            }
        }
    }
}
