//! `binaryImages` of a JSON report: what the indices in its frames mean.
//!
//! ```text
//! ["da335ed2-3002-30ef-9272-4e9928ffe6d8",18446741874803916800,"T"]       UUID, address, type; more may follow
//! {"uuid":"DA335ED2-…","base":"0xfffffe000702c000","source":"T","name":"…"}
//! ```
//! Types: T the kernel's or a kext's `__TEXT_EXEC`, K kernel or kext, U kernel cache, A no image but absolute addresses, P program, S shared
//! cache, C library in it (names of blacktop/ipsw). Addresses on the kernel's side have the slide taken off.

use rustc_hash::FxHashSet;

use super::json_text::Number;
use super::json_walk::Json;
use crate::model::addr::{Arch, Avma};
use crate::model::image::{Basis, ImageClaim, ImageId};
use crate::note::Note;

/// The images in their order.
#[derive(Default)]
pub struct Images {
    /// Where each begins; `None` where the text does not say it exactly.
    bases: Vec<Option<u64>>,
    /// What is said about those that are images.
    pub claims: Vec<ImageClaim>,
    /// Indices of images without an exact address.
    inexact: Vec<usize>,
    /// UUIDs of user space that are claimed already: a library is in many programs, at another address in each.
    users: FxHashSet<ImageId>,
}

/// One entry as it stands there.
#[derive(Default)]
struct Entry {
    id: Option<ImageId>,
    address: Option<Number>,
    kind: Option<String>,
    name: Option<String>,
    size: Option<u64>,
}

/// Where the kernel's half of the address space begins.
const KERNEL_HALF: u64 = 0xffff_0000_0000_0000;

impl Images {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.bases.is_empty()
    }

    /// Where image `index` begins: `None` without such an image, `Some(None)` when its address is not known.
    pub fn base(&self, index: u64) -> Option<Option<u64>> {
        self.bases.get(usize::try_from(index).ok()?).copied()
    }

    /// Reads the list.
    pub fn read(&mut self, json: &mut Json<'_>) {
        json.items(|json| {
            let line = json.line().0;
            let before = json.stopped();
            let entry = Entry::read(json);
            // The last entry of a cut list may have lost its end.
            if json.stopped() == before {
                self.push(entry, line);
            }
        });
    }

    fn push(&mut self, entry: Entry, line: u32) {
        let index = self.bases.len();
        let kind = entry.kind.as_deref().unwrap_or_default();
        let base = entry.address.and_then(|number| exact(number, index));
        self.bases.push(base.or(Some(0).filter(|_| kind == "A")));
        if kind == "A" {
            return;
        }
        if base.is_none() {
            self.inexact.push(index);
        }
        let user = match kind {
            "P" | "S" | "C" => true,
            "T" | "K" | "U" => false,
            _ => base.is_none_or(|base| base < KERNEL_HALF),
        };
        if user && entry.id.is_some_and(|id| !self.users.insert(id)) {
            return;
        }
        let printed = entry.id.map(|id| id.to_string());
        let address = base.map(Avma);
        let (load, exec) = if kind == "T" { (None, address) } else { (address, None) };
        let (size, exec_size) = if kind == "T" { (None, entry.size) } else { (entry.size, None) };
        let collection = kind == "U";
        let name = entry.name.or(collection.then(|| "kernelcache".to_string())).or(printed).unwrap_or_else(|| format!("image {index}"));
        let id = entry.id;
        self.claims.push(ImageClaim {
            name,
            id,
            load,
            size,
            exec,
            exec_size,
            collection,
            user,
            basis: Basis::Unslid,
            line,
            ..ImageClaim::default()
        });
    }

    /// What is wrong with them.
    pub fn notes(&self) -> Option<Note> {
        let first = self.inexact.first()?;
        let more = if self.inexact.len() > 1 { format!(" and {} more", self.inexact.len() - 1) } else { String::new() };
        let text = format!(
            "image {first}{more} of binaryImages has no exact address (none, or a rounded floating-point number): frames in it have no address"
        );
        Some(Note::warning("", text))
    }
}

/// The address, if it is certain. A rounded one is off by up to 1024 bytes, unless it has to lie on a page: on x86_64 all images do (4 KB),
/// on arm64 the kernel does (16 KB), which is the first image because the first stack is one of its own.
fn exact(number: Number, index: usize) -> Option<u64> {
    let Number::Rounded(value) = number else { return number.exact() };
    let rounded = value as u64;
    let page = match Arch::of_darwin_address(Avma(rounded)) {
        Some(Arch::X86_64) => 0x1000,
        Some(Arch::Arm64) if index == 0 => 0x4000,
        _ => return number.exact(),
    };
    Some(rounded).filter(|rounded| rounded % page == 0)
}

impl Entry {
    fn read(json: &mut Json<'_>) -> Entry {
        let mut entry = Entry::default();
        match json.peek() {
            Some(b'{') => json.members(|json, key| entry.member(json, key)),
            Some(b'[') => json.items(|json| entry.item(json)),
            _ => {}
        }
        entry
    }

    fn member(&mut self, json: &mut Json<'_>, key: &str) {
        match key.to_ascii_lowercase().as_str() {
            "uuid" | "imageuuid" => self.id = json.string().and_then(|text| ImageId::parse(text.trim())),
            "address" | "base" | "loadaddress" | "imageloadaddress" | "load_address" => self.address = json.number(),
            "type" | "source" | "kind" => self.kind = json.string().map(|text| text.into_owned()),
            "name" => self.name = json.string().filter(|name| !name.is_empty()).map(|name| name.into_owned()),
            "path" => self.name = self.name.take().or(json.string().and_then(|path| file_name(&path))),
            "size" => self.size = json.whole(),
            _ => {}
        }
    }

    /// An element of the list form, told by what it looks like.
    fn item(&mut self, json: &mut Json<'_>) {
        if self.address.is_none()
            && let Some(number) = json.number()
        {
            self.address = Some(number);
        } else if let Some(text) = json.string() {
            match ImageId::parse(text.trim()) {
                Some(id) if self.id.is_none() => self.id = Some(id),
                _ if text.len() == 1 && self.kind.is_none() => self.kind = Some(text.into_owned()),
                _ => self.name = self.name.take().or(file_name(&text)),
            }
        }
    }
}

fn file_name(path: &str) -> Option<String> {
    path.rsplit('/').next().filter(|name| !name.is_empty()).map(str::to_string)
}
