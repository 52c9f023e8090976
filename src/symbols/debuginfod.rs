//! The cache that debuginfod's client keeps: debug info by build id, fetched by this or another program.
//!
//! Layout from elfutils 0.188 (`debuginfod-client.c`): `CACHE/BUILDID/debuginfo` and `CACHE/BUILDID/executable`, the build id in lower-case
//! hex. An empty file says that no server had it when it was last asked.

use std::path::{Path, PathBuf};

use crate::model::image::ImageId;

/// The cached file with debug info of the build `id`, or else its executable; `None` when the cache has neither.
pub fn cached(cache: &Path, id: ImageId) -> Option<PathBuf> {
    let folder = cache.join(key(id)?);
    ["debuginfo", "executable"].iter().map(|name| folder.join(name)).find(|path| has_content(path))
}

/// What servers and caches know a build by; `None` for a Mach-O UUID, which none of them has.
pub fn key(id: ImageId) -> Option<String> {
    matches!(id, ImageId::Build(..)).then(|| id.to_string())
}

fn has_content(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|meta| meta.is_file() && meta.len() > 0)
}
