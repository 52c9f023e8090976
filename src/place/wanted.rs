//! Which kernel and modules a report is about, for those who look for their symbol files.

use std::collections::BTreeMap;

use super::assign;
use crate::model::capture::{Capture, Os};
use crate::model::image::{ImageClaim, ImageId};
use crate::symbols::local::Wanted;

/// What `capture` needs: the kernel, and the modules that its frames name. With `all`, and where frames are bare addresses, those too that
/// the report or a load map lists. Nothing for systems other than Linux.
pub fn wanted(capture: &Capture, text: &[u8], maps: &[(String, Capture)], all: bool) -> Wanted {
    let linux = |capture: &Capture| capture.os == Some(Os::Linux);
    let maps_alone = capture.os.is_none() && maps.iter().any(|(_, map)| linux(map));
    if !linux(capture) && !maps_alone {
        return Wanted::default();
    }
    let claims = || capture.images.iter().chain(maps.iter().flat_map(|(_, map)| &map.images));
    let release = capture.kernel_version.clone().or_else(|| maps.iter().find_map(|(_, map)| map.kernel_version.clone()));
    let named = assign::modules(capture, text);
    let others = |image: &super::Image| image.other_ids.iter().map(|id| (image.name.clone(), Some(*id))).collect::<Vec<_>>();
    let others: Vec<(String, Option<ImageId>)> = named.iter().flat_map(others).collect();
    let mut modules: BTreeMap<String, Option<ImageId>> = named.into_iter().map(|image| (image.name, image.wanted)).collect();
    let bare = || capture.stacks.iter().flat_map(|stack| &stack.frames).any(|frame| frame.symbol.is_empty());
    let listed = all || bare();
    for claim in claims().filter(|claim| is_module(claim)) {
        match modules.get_mut(&claim.name) {
            Some(id) => *id = id.or(claim.id),
            None if listed => drop(modules.insert(claim.name.clone(), claim.id)),
            None => {}
        }
    }
    Wanted {
        // `6.1.0-56-amd64` of `6.1.0-56-amd64 #1 SMP …`.
        release: release.and_then(|text| text.split_whitespace().next().map(str::to_string)),
        kernel: all || !capture.stacks.is_empty(),
        kernel_id: claims().filter(|claim| claim.kernel).find_map(|claim| claim.id),
        modules: modules.into_iter().chain(others).collect(),
    }
}

fn is_module(claim: &ImageClaim) -> bool {
    !claim.kernel && !claim.collection && !claim.user
}
