//! Where the symbol files of images were looked for: as text and as JSON.

use serde::Serialize;

use super::check;
use crate::model::capture::Capture;
use crate::place::Image;
use crate::place::searched::{Outcome, Searched};

/// A place in JSON.
#[derive(Serialize)]
pub struct JsonSearched<'a> {
    place: &'a str,
    kind: &'static str,
    result: &'static str,
    why: &'a str,
}

impl<'a> JsonSearched<'a> {
    /// The JSON form of `searched`.
    pub fn of(searched: &'a Searched) -> JsonSearched<'a> {
        JsonSearched { place: &searched.place, kind: searched.kind, result: searched.result.name(), why: &searched.why }
    }
}

/// One line for each place, indented.
pub fn lines(places: &[Searched]) -> String {
    let one = |searched: &Searched| {
        let result = match searched.result {
            Outcome::Used => "used: ",
            Outcome::Refused => "refused: ",
            Outcome::Nothing => "",
            Outcome::NotSearched => "not searched: ",
        };
        format!("  in {} ({}): {result}{}\n", searched.place, searched.kind, searched.why)
    };
    places.iter().map(one).collect()
}

/// Images named in one line of [`missing`]; more are counted.
const NAMED: usize = 5;

/// Images that have no symbols, those together for which the same is to be tried: how many places were searched, and the one thing to try.
pub fn missing(images: &[(&Image, &[Searched])], capture: Option<&Capture>) -> String {
    let mut groups: Vec<(String, Vec<(&str, usize)>)> = Vec::new();
    // The KPI kexts are lists of the kernel's own functions, without code.
    let lacks = |image: &Image| image.program.is_none() && !image.user && !image.collection && !image.name.starts_with("com.apple.kpi.");
    for (image, places) in images.iter().filter(|(image, _)| lacks(image)) {
        let try_this = advice(image, places, capture);
        let count = places.iter().filter(|place| place.result != Outcome::NotSearched).count();
        match groups.iter_mut().find(|(known, _)| *known == try_this) {
            Some((_, members)) => members.push((&image.name, count)),
            None => groups.push((try_this, vec![(&image.name, count)])),
        }
    }
    groups.iter().map(|(try_this, members)| format!("{}; try: {try_this}\n", who(members))).collect()
}

/// `zfs, spl: no symbols, 6 places searched`.
fn who(members: &[(&str, usize)]) -> String {
    let mut names = members.iter().take(NAMED).map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
    if members.len() > NAMED {
        names.push_str(&format!(" and {} more", members.len() - NAMED));
    }
    let (least, most) = members.iter().fold((usize::MAX, 0), |(least, most), (_, count)| (least.min(*count), most.max(*count)));
    let places = match (least, most) {
        (0, 0) => "nowhere to search".to_string(),
        (1, 1) => "1 place searched".to_string(),
        _ if least == most => format!("{most} places searched"),
        _ => format!("{least} to {most} places searched"),
    };
    format!("{names}: no symbols, {places}")
}

/// The one thing to try for an image without a usable file.
fn advice(image: &Image, places: &[Searched], capture: Option<&Capture>) -> String {
    let several = places.iter().any(|place| place.result == Outcome::Refused);
    match &image.refused {
        Some(_) => match image.wanted {
            Some(wanted) => format!("-S a folder with the file of {} {wanted}, or --allow-mismatch", wanted.kind()),
            None => "-S a folder with the very build that ran, or --allow-mismatch".to_string(),
        },
        None if several => "`kstack modules -v`, which says what speaks against each file found".to_string(),
        None => check::remedy(image, capture).unwrap_or_else(|| "-S a folder with its symbol files".to_string()),
    }
}
