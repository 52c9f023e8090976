//! The table of images.

use crate::place::Image;
use crate::render::sanitize::visible_line;

/// The head of the table.
pub const HEAD: [&str; 6] = ["Image", "Load address", "Size", "UUID", "Status", "Symbol file"];

/// The cells of one image. A cell without a fact is `-`.
pub fn cells(image: &Image) -> [String; 6] {
    let dash = || "-".to_string();
    let file_id = image.program.as_ref().and_then(|program| program.id());
    let refused_id = image.refused.as_ref().and_then(|refused| refused.found);
    let uuid = match (image.wanted, file_id.or(refused_id)) {
        (Some(wanted), Some(found)) if wanted != found => format!("{wanted} (file: {found})"),
        (Some(id), _) | (None, Some(id)) => id.to_string(),
        (None, None) => dash(),
    };
    let name = match &image.version {
        Some(version) => format!("{} ({version})", image.name),
        None => image.name.clone(),
    };
    [
        visible_line(&name),
        image.load.map_or_else(dash, |load| load.to_string()),
        image.size.map_or_else(dash, |size| format!("{size:#x}")),
        uuid,
        image.status().name().to_string(),
        image.file().map_or_else(dash, |path| visible_line(&path.display().to_string())),
    ]
}
