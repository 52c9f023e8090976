//! What the machine has on which kstack runs: its kernel and modules, for reports that name no symbol files and for questions without any.

use std::collections::BTreeSet;
use std::path::Path;

use super::inputs::{Input, Inputs};
use super::options::SymbolArgs;
use crate::input;
use crate::model::capture::{Capture, Os};
use crate::model::image::{Basis, ImageClaim, ImageId};
use crate::parse::linux_tree::Tree;
use crate::parse::{self, Holds};
use crate::place::{self, Layout};
use crate::symbols::local::{self, Wanted};

impl Inputs {
    /// Looks for what is still missing where this machine has it installed; with `all`, for every module that a load map lists.
    pub fn local(&mut self, args: &SymbolArgs, all: bool) {
        if args.is_local_off() {
            return;
        }
        let empty = Capture::default();
        let (mut wanted, mut each): (Vec<(Wanted, bool)>, Vec<usize>) = Default::default();
        let reports = self.reports.iter().map(|input| (&*input.source.name, &input.capture, &*input.source.data));
        for (name, capture, text) in reports.chain(self.reports.is_empty().then_some(("", &empty, &b""[..]))) {
            let mut one = place::wanted(capture, text, &self.maps, all);
            if one.release.is_none() {
                one.release = self.release_of(name, &args.local_root);
            }
            one.kernel &= !self.library.has_kernel(one.kernel_id);
            one.modules.retain(|(name, id)| !self.library.has(name, *id));
            let unknown = one.release.is_none() && one.kernel_id.is_none() && (one.kernel || !one.modules.is_empty());
            if unknown {
                (one.release, one.kernel_id) = running(&args.local_root);
            }
            let one = (one, unknown);
            let at = wanted.iter().position(|known| *known == one).unwrap_or(wanted.len());
            each.push(at);
            if at == wanted.len() {
                wanted.push(one);
            }
        }
        // What a report asks for is no guess for another.
        for (one, _) in wanted.iter().filter(|(_, unknown)| !unknown) {
            local::search(&mut self.library, &args.local_root, one, &mut self.notes);
        }
        for (one, _) in wanted.iter().filter(|(_, unknown)| *unknown) {
            local::guess(&mut self.library, &args.local_root, one);
        }
        self.local = (wanted.into_iter().map(|(one, _)| one).collect(), each);
    }

    /// Looks for the kernel of this machine and the modules `names`, for questions that come without any file or load map; with
    /// `addresses`, also where they are loaded, as far as the kernel tells.
    pub fn this_machine(&mut self, args: &SymbolArgs, names: &BTreeSet<String>, addresses: bool) {
        if args.is_local_off() {
            return;
        }
        let mut tree = tree_of(&args.local_root, &["sys/kernel/notes", "proc/version"]);
        for name in names.iter().filter(|name| !name.contains('/')) {
            let notes = format!("sys/module/{name}/notes/.note.gnu.build-id");
            tree.take(&notes, &std::fs::read(args.local_root.join(&notes)).unwrap_or_default());
        }
        if addresses {
            for path in ["proc/kallsyms", "proc/modules"].map(|path| args.local_root.join(path)) {
                self.running_map(&path);
            }
        }
        self.tree("this machine", tree);
        let asked = |name: &String| ImageClaim { name: name.clone(), basis: Basis::Runtime, ..ImageClaim::default() };
        let images: Vec<ImageClaim> = names.iter().map(asked).collect();
        self.maps.push(("the question".to_string(), Capture { os: Some(Os::Linux), images, ..Capture::default() }));
        let told = |map: &Capture, kernel: bool, name: &str| {
            let claim = map.images.iter().find(|claim| claim.kernel == kernel && (kernel || claim.name == name))?;
            claim.id
        };
        let id = |kernel: bool, name: &str| self.maps.iter().find_map(|(_, map)| told(map, kernel, name));
        let listed = self.maps.iter().flat_map(|(_, map)| &map.images).filter(|claim| addresses && !claim.kernel).map(|claim| &claim.name);
        let modules: BTreeSet<&String> = names.iter().chain(listed).collect();
        let wanted = Wanted {
            release: running(&args.local_root).0,
            kernel: true,
            kernel_id: id(true, ""),
            modules: modules.into_iter().map(|name| (name.clone(), id(false, name))).collect(),
        };
        local::search(&mut self.library, &args.local_root, &wanted, &mut self.notes);
        self.local = (vec![wanted], vec![0]);
    }

    /// Reads a list of the running kernel, unless it hides all addresses.
    fn running_map(&mut self, path: &Path) {
        let Ok(source) = input::open(path) else { return };
        let Some(format) = parse::detect(&source.data).filter(|format| format.holds() == Holds::LoadMap) else { return };
        let map = format.parse(&source.data);
        if map.images.iter().any(|claim| claim.load.is_some() || !claim.anchors.is_empty()) {
            self.maps.push((source.name, map));
        }
    }

    /// What this machine's own folders were searched for on behalf of a report, counted from 0; `None` where they were not to be.
    pub fn searched_for(&self, report: usize) -> Option<&Wanted> {
        self.local.0.get(*self.local.1.get(report)?)
    }

    /// The release of the kernel that a report without one is of: this machine's, where it is read from `/proc` itself, else the only one
    /// that the other reports of this run are of.
    fn release_of(&self, name: &str, root: &Path) -> Option<String> {
        if name.starts_with("/proc/") {
            return std::fs::read_to_string(root.join("proc/sys/kernel/osrelease")).ok().map(|text| text.trim().to_string());
        }
        let told = self.reports.iter().filter_map(|input| input.capture.kernel_version.as_deref()?.split_whitespace().next());
        let all: BTreeSet<&str> = told.chain(self.releases.iter().map(String::as_str)).collect();
        all.first().filter(|_| all.len() == 1).map(|release| release.to_string())
    }

    /// Places reports again without those files of the running kernel that they do not prove.
    pub(super) fn prove(&mut self, layouts: &mut [Layout], options: place::PlaceOptions) {
        for (layout, at) in layouts.iter_mut().zip(0..) {
            let (mut aside, mut doubts) = (Vec::new(), Vec::new());
            // Without one file, another may lose what proved it; every round leaves one out, and there is an end to them.
            loop {
                let doubtful = layout.images.iter().filter(|image| image.file().is_some_and(|path| self.library.is_guess(path)));
                let found = doubtful.filter_map(|image| {
                    let (why, path) = (place::proof::doubt(image)?, image.file()?.to_path_buf());
                    Some((image.name.clone(), place::Refused { path, found: None, why }))
                });
                let found: Vec<(String, place::Refused)> = found.collect();
                if found.is_empty() {
                    break;
                }
                let paths: Vec<_> = found.iter().map(|(_, guess)| guess.path.clone()).collect();
                aside.push(self.library.set_aside(&paths));
                doubts.extend(found);
                let input: &Input = &self.reports[at];
                *layout = place::place(&input.capture, &input.source.data, &self.maps, &self.library, options);
            }
            aside.into_iter().for_each(|aside| self.library.put_back(aside));
            for (name, guess) in doubts {
                if let Some(image) = layout.images.iter_mut().find(|image| image.name == name) {
                    image.guess = Some(guess);
                }
            }
        }
    }
}

/// Some files of a machine, read as a tree of them is.
fn tree_of(root: &Path, paths: &[&str]) -> Tree {
    let mut tree = Tree::default();
    paths.iter().for_each(|path| tree.take(path, &std::fs::read(root.join(path)).unwrap_or_default()));
    tree
}

/// Release and build id of the running kernel.
fn running(root: &Path) -> (Option<String>, Option<ImageId>) {
    let release = std::fs::read_to_string(root.join("proc/sys/kernel/osrelease")).unwrap_or_default();
    let id = tree_of(root, &["sys/kernel/notes"]).map().and_then(|map| map.images.iter().find(|claim| claim.kernel)?.id);
    (Some(release.trim().to_string()).filter(|release| !release.is_empty()), id)
}
