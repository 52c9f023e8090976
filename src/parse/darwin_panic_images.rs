//! The lines about kexts in a macOS panic, whole, wrapped or damaged.

use super::darwin_panic_join::joined;
use super::darwin_panic_kext::{self as kexts, Last};
use super::darwin_panic_log::{Log, Section};
use super::darwin_panic_view::View;
use crate::model::image::{Basis, ImageClaim};

impl Log<'_> {
    /// A line about kexts; gives back whether the next one belongs to it.
    pub(super) fn kext(&mut self, view: &View<'_>, next: Option<&View<'_>>) -> bool {
        let body = view.body;
        if body.starts_with(b"Kernel Extensions in backtrace") || body.starts_with(b"Kernel loadable modules in backtrace") {
            self.close_head();
            self.section = Section::Ranges;
            return false;
        }
        if let Some(last) = kexts::last(body, &self.shape) {
            return self.last_kext(view, last, next);
        }
        if let Some(rest) = body.strip_prefix(b"loaded kexts:") {
            self.section = if rest.is_empty() { Section::List } else { Section::Any };
            return false;
        }
        if let Some(claim) = kexts::range(body, &self.shape) {
            let end = next.filter(|next| claim.size.or(claim.exec_size).is_none() && next.body.starts_with(b"->"));
            let whole = end.and_then(|_| kexts::range(&joined(view, end, false).bytes, &self.shape));
            let taken = whole.is_some();
            let mut claim = whole.unwrap_or(claim);
            if body.starts_with(b"dependency") {
                claim.needed_by.clone_from(&self.listed_kext);
            } else {
                self.listed_kext = Some(claim.name.clone());
            }
            self.claim(claim, view.number);
            return taken;
        }
        if self.section == Section::List {
            return self.listed(view);
        }
        self.torn_range(view, next)
    }

    fn last_kext(&mut self, view: &View<'_>, last: Last, next: Option<&View<'_>>) -> bool {
        match last {
            Last::Loaded(claim) => self.claim(*claim, view.number),
            Last::Gone => {}
            Last::Damaged => {
                for blank in [true, false] {
                    let both = joined(view, next, blank);
                    if let Some(Last::Loaded(claim)) = kexts::last(&both.bytes, &self.shape).filter(|_| next.is_some()) {
                        self.claim(*claim, view.number);
                        return true;
                    }
                }
                self.broken.push(view.number);
            }
        }
        false
    }

    /// A row of the list of all kexts.
    fn listed(&mut self, view: &View<'_>) -> bool {
        let Some((name, version)) = kexts::name_and_version(view.body) else {
            self.section = Section::Any;
            return false;
        };
        if !self.capture.images.iter().any(|claim| claim.name == name) {
            let claim = ImageClaim { name, version: Some(version), basis: Basis::Runtime, ..ImageClaim::default() };
            self.claim(claim, view.number);
        }
        false
    }

    /// Where the line of that number stands among the views.
    fn index(&self, number: u32) -> usize {
        self.views.partition_point(|view| view.number < number)
    }

    /// A kext's range that was broken: whole again with the next line, or refused.
    fn torn_range(&mut self, view: &View<'_>, next: Option<&View<'_>>) -> bool {
        let like = kexts::is_like_range(view.body) || (self.section == Section::Ranges && kexts::is_id(view.body));
        if !like {
            self.section = Section::Any;
            return false;
        }
        if let Some(next) = next.filter(|next| kexts::range(next.body, &self.shape).is_none_or(|_| kexts::is_id(view.body))) {
            let ways = [false, true].map(|blank| joined(view, Some(next), blank));
            if let Some(claim) = ways.iter().find_map(|both| kexts::range(&both.bytes, &self.shape)) {
                self.claim(claim, view.number);
                return true;
            }
            // Names and UUIDs are long: three lines of a narrow mail.
            let third = self.views.iter().skip(self.index(next.number) + 1).take(1).find(|third| !kexts::is_like_range(third.body));
            let mut all = joined(view, Some(next), false);
            if let Some(third) = third {
                all.push(third, false);
            }
            if let Some(claim) = kexts::range(&all.bytes, &self.shape) {
                self.claim(claim, view.number);
                self.skip = 1;
                return true;
            }
        }
        if kexts::is_like_range(view.body) {
            self.broken.push(view.number);
        }
        false
    }

    fn claim(&mut self, claim: ImageClaim, line: u32) {
        let same = |other: &ImageClaim| {
            (&other.name, &other.version, other.id, other.load, other.size, other.exec, other.exec_size)
                == (&claim.name, &claim.version, claim.id, claim.load, claim.size, claim.exec, claim.exec_size)
        };
        if !self.capture.images.iter().any(same) {
            self.capture.images.push(ImageClaim { line, ..claim });
        }
    }
}
