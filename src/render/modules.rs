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
        (Some(id), _) => id.to_string(),
        // One that stood there alone would look as if the report had said it.
        (None, Some(found)) => format!("- (file: {found})"),
        (None, None) => dash(),
    };
    let name = match &image.version {
        Some(version) => format!("{} ({version})", image.name),
        None => image.name.clone(),
    };
    [
        visible_line(&name),
        address(image).unwrap_or_else(dash),
        image.size.or(image.exec.and_then(|(_, size)| size)).map_or_else(dash, |size| format!("{size:#x}")),
        uuid,
        status(image).to_string(),
        image.file().map_or_else(dash, |path| visible_line(&path.display().to_string())),
    ]
}

/// Where it lies; where only the address of its code is known, that, and said to be it.
pub fn address(image: &Image) -> Option<String> {
    let load = image.load.map(|load| load.to_string());
    load.or_else(|| image.exec.map(|(exec, _)| format!("{exec} __TEXT_EXEC")))
}

/// How far its file is proven, or why it needs none.
fn status(image: &Image) -> &'static str {
    match image {
        _ if image.collection => "collection",
        _ if image.user => "user space",
        _ => image.status().name(),
    }
}
