//! A module that was built anew and loaded again: frames print the build id beside its name, and one log has several.
//!
//! One build is the image that load maps and addresses speak of; where it lies says nothing of the others. Each of those whose file is at
//! hand is an image without a place, for the frames that print its build id with symbol and size.

use super::{Image, assign};
use crate::model::capture::Os;
use crate::model::image::ImageId;
use crate::note::Note;
use crate::symbols::find::{Given, Library};

/// The build whose file is at hand is wanted, of several the first; the files of the others at hand are kept.
pub fn choose(image: &mut Image, library: &Library, notes: &mut Vec<Note>) {
    let Some(first) = image.wanted.filter(|_| !image.other_ids.is_empty()) else { return };
    let ids: Vec<ImageId> = std::iter::once(first).chain(image.other_ids.iter().copied()).collect();
    let given = |id: ImageId| library.given.iter().flat_map(|given| &given.programs).find(|program| program.id() == Some(id)).cloned();
    // A packed module in a symbol folder is known by its name only until it is opened.
    let named = |id: ImageId| library.by_name(&image.name, None).into_iter().find(|program| program.id() == Some(id));
    let file = |id: &ImageId| given(*id).or_else(|| library.by_id(*id)).or_else(|| named(*id));
    let files: Vec<_> = ids.iter().map(|id| (*id, file(id))).collect();
    let by_hand = ids.iter().copied().find(|id| given(*id).is_some());
    let chosen = by_hand.or_else(|| files.iter().find(|(_, file)| file.is_some()).map(|(id, _)| *id)).unwrap_or(first);
    let said = |at_hand: bool| {
        let ids = files.iter().filter(|(_, file)| file.is_some() == at_hand).map(|(id, _)| id.to_string());
        ids.collect::<Vec<_>>().join(" and ")
    };
    let (resolved, missing) = (said(true), said(false));
    let told = match (resolved.is_empty(), missing.is_empty()) {
        (false, true) => format!("frames of build id {resolved} are resolved each by its own file"),
        (false, false) => {
            format!("frames of build id {resolved} are resolved, those of {missing} are not: no file of that build is at hand")
        }
        (true, _) => format!("no file of build id {missing} is at hand"),
    };
    let unnamed = "frames without a build id are resolved where that is no question";
    notes.push(Note::warning("", format!("{} was loaded in several builds: {told}; {unnamed}", image.name)));
    image.wanted = Some(chosen);
    image.unseen_builds = !missing.is_empty();
    image.other_ids = ids.into_iter().filter(|id| *id != chosen).collect();
    image.other_builds = files.into_iter().filter(|(id, _)| *id != chosen).filter_map(|(_, file)| file).collect();
}

/// Whether a given file is that of another build than the image is.
pub fn has(image: &Image, given: &Given) -> bool {
    let other = |id: Option<ImageId>| image.other_builds.iter().any(|other| other.id() == id);
    !image.other_builds.is_empty() && given.programs.iter().all(|program| other(program.id()))
}

/// Adds an image for each further build whose file is at hand.
pub fn add_others(images: &mut Vec<Image>, os: Option<Os>, allow_mismatch: bool, notes: &mut Vec<Note>) {
    for at in 0..images.len() {
        for program in std::mem::take(&mut images[at].other_builds) {
            let (name, unseen_builds) = (images[at].name.clone(), images[at].unseen_builds);
            let placed_by = "nothing: it is of frames that print its build id".to_string();
            let mut other = Image { name, wanted: program.id(), program: Some(program), unseen_builds, placed_by, ..Image::default() };
            assign::verify(&mut other, os, allow_mismatch, notes);
            images.push(other);
        }
    }
}
