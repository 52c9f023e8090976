//! Symbol files where Linux distributions install them, for reports of the machine itself: found by build id, or by the kernel's release
//! and the names of modules. A file whose build id is not the report's is not taken.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::bundle;
use super::find::Library;
use crate::input::collect;
use crate::model::image::ImageId;
use crate::note::Note;

/// What reports of one kernel need.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Wanted {
    /// The kernel's release (`uname -r`).
    pub release: Option<String>,
    /// Whether the kernel itself is looked for.
    pub kernel: bool,
    /// Its build id.
    pub kernel_id: Option<ImageId>,
    /// Modules by name, with their build ids: several of one that was loaded in several builds.
    pub modules: Vec<(String, Option<ImageId>)>,
}

/// Where debug packages keep files by build id.
const BY_ID: &str = "usr/lib/debug/.build-id";

/// Where kernels with symbols lie, for a release that stands in place of `*`: those with debug info first. Debian; Fedora; the same with
/// `/usr` merged; the tree that the kernel was built in; Ubuntu and others that install it.
const KERNELS: &[&str] = &[
    "usr/lib/debug/boot/vmlinux-*",
    "usr/lib/debug/lib/modules/*/vmlinux",
    "usr/lib/debug/usr/lib/modules/*/vmlinux",
    "usr/lib/debug/lib/modules/*.debug/vmlinux",
    "lib/modules/*/build/vmlinux",
    "lib/modules/*/vmlinux",
    "boot/vmlinux-*",
];

/// Where modules lie, those with debug info first.
const MODULES: &[&str] = &["usr/lib/debug/lib/modules/*", "usr/lib/debug/usr/lib/modules/*", "lib/modules/*"];

/// Takes into `library` what of `wanted` is installed below `root` (`/`); what is not there costs a look at a few names.
pub fn search(library: &mut Library, root: &Path, wanted: &Wanted, notes: &mut Vec<Note>) {
    let mut other_builds = Vec::new();
    let mut by_id: BTreeSet<ImageId> = BTreeSet::new();
    let kernel_id = wanted.kernel_id.filter(|_| wanted.kernel);
    for id in kernel_id.into_iter().chain(wanted.modules.iter().filter_map(|(_, id)| *id)) {
        let path = root.join(BY_ID).join(place_of(id));
        if path.is_file() && library.take(&path, Some(id)) {
            by_id.insert(id);
        }
    }
    if let Some(release) = wanted.release.as_deref().filter(|release| is_release(release)) {
        if wanted.kernel && kernel_id.is_none_or(|id| !by_id.contains(&id)) {
            kernel(library, &KERNELS.map_release(root, release), wanted.kernel_id, &mut other_builds);
        }
        let names: Vec<&(String, Option<ImageId>)> =
            wanted.modules.iter().filter(|(_, id)| id.is_none_or(|id| !by_id.contains(&id))).collect();
        if !names.is_empty() {
            modules(library, &MODULES.map_release(root, release), &names, &mut other_builds);
        }
    }
    if let Some(first) = other_builds.first() {
        let others = if other_builds.len() > 1 { format!(" and {} more", other_builds.len() - 1) } else { String::new() };
        let text =
            format!("{}{others}: installed here, and of another build than the report's (build ids differ); not used", first.display());
        notes.push(Note::warning("", text));
    }
}

/// A place of this machine where [`search`] looks.
pub struct Place {
    /// `build-id`, `debug` (below `/usr/lib/debug`), `modules` (below `/lib/modules`) or `boot`.
    pub kind: &'static str,
    /// A file, or for modules a folder that is searched with all below it.
    pub path: PathBuf,
}

/// Where [`search`] looks for the kernel, or for `module`, in order; it ends where it finds a file.
pub fn places(root: &Path, wanted: &Wanted, module: Option<&str>) -> Vec<Place> {
    let id = match module {
        None => wanted.kernel_id,
        Some(module) => wanted.modules.iter().find(|(name, _)| name == module).and_then(|(_, id)| *id),
    };
    let by_id = id.map(|id| Place { kind: "build-id", path: root.join(BY_ID).join(place_of(id)) });
    let names = if module.is_some() { MODULES } else { KERNELS };
    let release = wanted.release.as_deref().filter(|release| is_release(release));
    let by_release = release.into_iter().flat_map(|release| {
        let paths = names.map_release(root, release);
        names.iter().zip(paths).map(|(name, path)| Place { kind: kind_of(name), path })
    });
    by_id.into_iter().chain(by_release).collect()
}

fn kind_of(name: &str) -> &'static str {
    match name {
        _ if name.starts_with("usr/lib/debug") => "debug",
        _ if name.starts_with("lib/modules") => "modules",
        _ => "boot",
    }
}

/// A release with a slash in it is a path somebody would have us read.
fn is_release(release: &str) -> bool {
    !release.is_empty() && !release.contains('/') && release != ".."
}

/// The same for a report that does not say which kernel it is of: `wanted` is then the running one, whose files are taken as guesses, for
/// the report itself to prove.
pub fn guess(library: &mut Library, root: &Path, wanted: &Wanted) {
    let known = library.local().len();
    search(library, root, wanted, &mut Vec::new());
    library.guessed(known);
}

/// `bb/041ebded….debug`.
pub(super) fn place_of(id: ImageId) -> PathBuf {
    let text = id.to_string();
    let (head, rest) = text.split_at_checked(2).unwrap_or((&text, ""));
    Path::new(head).join(format!("{rest}.debug"))
}

trait Places {
    fn map_release(&self, root: &Path, release: &str) -> Vec<PathBuf>;
}

impl Places for &[&str] {
    fn map_release(&self, root: &Path, release: &str) -> Vec<PathBuf> {
        self.iter().map(|place| root.join(place.replace('*', release))).collect()
    }
}

/// Takes the first kernel that fits.
fn kernel(library: &mut Library, places: &[PathBuf], id: Option<ImageId>, other_builds: &mut Vec<PathBuf>) {
    let mut refused = Vec::new();
    for path in places.iter().filter(|path| path.is_file()) {
        if library.take(path, id) {
            return;
        }
        refused.push(path.clone());
    }
    other_builds.extend(refused);
}

/// Takes modules by their file names; only files of wanted names are opened, and only where there is a build id to compare.
fn modules(library: &mut Library, places: &[PathBuf], names: &[&(String, Option<ImageId>)], other_builds: &mut Vec<PathBuf>) {
    let mut done: BTreeSet<(&str, Option<ImageId>)> = BTreeSet::new();
    for place in places.iter().filter(|place| place.is_dir()) {
        let mut found = BTreeSet::new();
        // What of a system's own folders cannot be listed is not there.
        for path in collect::files(place, &mut Vec::new()).into_iter().filter(|path| is_module(path)) {
            let stem = bundle::stem(&path);
            let builds = names.iter().filter(|(name, id)| *name == stem && !done.contains(&(name, *id)));
            let builds: Vec<(&str, Option<ImageId>)> = builds.map(|(name, id)| (name.as_str(), *id)).collect();
            match builds.iter().find(|(_, id)| library.take(&path, *id)) {
                Some(build) => drop(found.insert(*build)),
                None if builds.is_empty() => {}
                None => other_builds.push(path),
            }
        }
        // A stripped module adds nothing to one with debug info.
        done.extend(found);
    }
}

fn is_module(path: &Path) -> bool {
    let name = path.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
    [".ko", ".ko.debug", ".ko.xz", ".ko.gz", ".ko.zst"].iter().any(|end| name.ends_with(end))
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Root(PathBuf);

    impl Root {
        fn new(name: &str) -> Root {
            let root = Root(std::env::temp_dir().join(format!("kstack-local-{name}-{}", std::process::id())));
            let _ = std::fs::remove_dir_all(&root.0);
            root
        }
        fn file(&self, path: &str, fixture: &str) {
            let to = self.0.join(path);
            std::fs::create_dir_all(to.parent().unwrap()).unwrap();
            let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/symbols/linux").join(fixture);
            std::fs::copy(from, to).unwrap();
        }
        fn search(&self, wanted: &Wanted) -> (Library, Vec<Note>) {
            let (mut library, mut notes) = (Library::default(), Vec::new());
            search(&mut library, &self.0, wanted, &mut notes);
            (library, notes)
        }
    }

    impl Drop for Root {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    fn id_of(fixture: &str) -> ImageId {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/symbols/linux").join(fixture);
        super::super::open(&path, &mut Vec::new()).unwrap()[0].info().id.expect("the fixture has a build id")
    }

    fn wanted(id: Option<ImageId>) -> Wanted {
        Wanted { release: Some("6.1-test".into()), modules: vec![("unit".into(), id)], ..Wanted::default() }
    }

    #[test]
    fn nothing_installed_is_nothing_found() {
        let root = Root::new("none");
        let (library, notes) = root.search(&Wanted { kernel: true, ..wanted(None) });
        assert!(library.local().is_empty() && notes.is_empty());
    }

    #[test]
    fn modules_are_found_by_name_and_release() {
        let root = Root::new("name");
        root.file("lib/modules/6.1-test/extra/unit.ko", "unit.ko");
        root.file("lib/modules/6.1-test/extra/other.ko", "unit.ko");
        root.file("lib/modules/6.2-test/extra/unit.ko", "unit.ko");
        let (library, notes) = root.search(&wanted(None));
        assert_eq!(library.local(), [root.0.join("lib/modules/6.1-test/extra/unit.ko")]);
        assert!(notes.is_empty() && library.by_name("unit", None).len() == 1);
        let climbing = Wanted { release: Some("../modules/6.1-test".into()), ..wanted(None) };
        assert!(root.search(&climbing).0.local().is_empty());
    }

    #[test]
    fn the_places_are_those_that_are_searched() {
        let paths = |wanted: &Wanted, module| places(Path::new("/"), wanted, module).into_iter().map(|place| (place.kind, place.path));
        let id = ImageId::build(&[0xab; 20]);
        let by_id = Path::new("/usr/lib/debug/.build-id/ab").join(format!("{}.debug", "ab".repeat(19)));
        let module: Vec<_> = paths(&wanted(id), Some("unit")).collect();
        assert_eq!((module.len(), &module[0]), (4, &("build-id", by_id)));
        assert_eq!(module[3], ("modules", PathBuf::from("/lib/modules/6.1-test")));
        let kernel: Vec<_> = paths(&wanted(None), None).collect();
        assert_eq!((kernel.len(), kernel[6].clone()), (7, ("boot", PathBuf::from("/boot/vmlinux-6.1-test"))));
        assert_eq!(paths(&Wanted { release: Some("../x".into()), ..wanted(None) }, None).count(), 0);
    }

    #[test]
    fn of_several_builds_the_one_that_is_installed_is_found() {
        let root = Root::new("several");
        let id = id_of("unit.ko");
        root.file("lib/modules/6.1-test/unit.ko", "unit.ko");
        let modules = [ImageId::build(&[1; 20]), Some(id)].map(|id| ("unit".to_string(), id)).to_vec();
        let (library, notes) = root.search(&Wanted { modules, ..wanted(None) });
        assert!(library.by_id(id).is_some() && notes.is_empty(), "{notes:?}");
    }

    #[test]
    fn another_build_is_named_and_not_taken() {
        let root = Root::new("id");
        let id = id_of("unit.ko");
        root.file("lib/modules/6.1-test/unit.ko", "unit.ko");
        let (library, notes) = root.search(&wanted(ImageId::build(&[1; 20])));
        assert!(library.local().is_empty() && notes.len() == 1 && notes[0].text.contains("of another build"), "{notes:?}");
        let (library, notes) = root.search(&wanted(Some(id)));
        assert!(library.by_id(id).is_some() && notes.is_empty());
        // By build id without any release, and checked all the same.
        root.file(&format!("usr/lib/debug/.build-id/{}", place_of(id).display()), "unit.ko");
        let (library, _) = root.search(&Wanted { release: None, ..wanted(Some(id)) });
        assert!(library.by_id(id).is_some());
        let lie = ImageId::build(&[2; 20]).unwrap();
        root.file(&format!("usr/lib/debug/.build-id/{}", place_of(lie).display()), "unit.ko");
        assert!(root.search(&Wanted { release: None, ..wanted(Some(lie)) }).0.local().is_empty());
    }
}
