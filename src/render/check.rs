//! What the symbol files of a report can do, what they lack, and the one command that mends it: `kstack modules --check`.

use serde::Serialize;

use crate::model::capture::{Capture, Os};
use crate::model::image::ImageId;
use crate::place::{Image, Layout};
use crate::symbols::check::{Facts, Unwinding};
use crate::symbols::parts::{self, PartKind};
use crate::symbols::{self, FileInfo, FileKind};

/// One symbol file of an image.
#[derive(Serialize)]
pub struct Check {
    /// Name of the image.
    pub image: String,
    /// The file; `None` where the image has none.
    pub file: Option<String>,
    /// Functions in its symbol table.
    functions: Option<usize>,
    /// Version of DWARF; `None` without debug info.
    dwarf: Option<u16>,
    lines: bool,
    inlines: bool,
    /// `zlib` or `zstd`.
    compressed: Option<&'static str>,
    unwinding: Option<&'static str>,
    ctf_types: Option<u32>,
    ctf_limit: Option<u32>,
    btf: bool,
    /// What is wrong.
    pub problems: Vec<String>,
    /// What mends it on the report's system.
    pub remedy: Option<String>,
}

/// Looks into every file of every image of a report. `capture` says which system it is of.
pub fn checks(layout: &Layout, capture: Option<&Capture>) -> Vec<Check> {
    layout.images.iter().flat_map(|image| of_image(image, capture)).collect()
}

fn of_image(image: &Image, capture: Option<&Capture>) -> Vec<Check> {
    let Some(program) = &image.program else {
        let problem = match &image.refused {
            Some(refused) => format!("{} is of another build: {}", refused.path.display(), refused.why),
            None => "no symbol file".to_string(),
        };
        return vec![Check { remedy: remedy(image, capture), problems: vec![problem], ..Check::of(image, None, &Facts::default()) }];
    };
    let lines_elsewhere = |info: &FileInfo| program.has_debug_info() && !info.has_debug_info;
    program.infos().map(|info| of_file(image, info, lines_elsewhere(info), capture)).collect()
}

fn of_file(image: &Image, info: &FileInfo, lines_elsewhere: bool, capture: Option<&Capture>) -> Check {
    let facts = match symbols::check::of(info) {
        Ok(facts) => facts,
        Err(what) => return Check { problems: vec![what], ..Check::of(image, Some(info), &Facts::default()) },
    };
    let mut check = Check::of(image, Some(info), &facts);
    check.functions = Some(facts.functions);
    check.unwinding = Some(facts.unwinding.name()).filter(|_| info.kind != FileKind::Dsym);
    if facts.functions < 4 {
        check.problems.push("stripped: hardly any function has a name".to_string());
    }
    if facts.dwarf.is_none() && !lines_elsewhere {
        check.problems.push("no debug info: names, but neither lines nor inlined calls".to_string());
        check.remedy = remedy(image, capture);
    } else if facts.dwarf.is_some() && !facts.lines {
        check.problems.push("debug info without line tables".to_string());
    }
    check.problems.extend(ctf_problem(&facts));
    if info.has_debug_info {
        check.parts(image, facts.split);
    }
    let guessed = facts.unwinding == Unwinding::None && info.kind == FileKind::Kernel && capture.is_some_and(|c| c.os == Some(Os::Linux));
    if guessed {
        check
            .problems
            .push("neither ORC tables nor frame pointers: stacks in this code are guessed, with `?` frames among them".to_string());
        check.remedy.get_or_insert("build the kernel with CONFIG_UNWINDER_ORC=y or CONFIG_UNWINDER_FRAME_POINTER=y".to_string());
    }
    check
}

fn ctf_problem(facts: &Facts) -> Option<String> {
    match facts.ctf.as_ref()? {
        Err(what) => Some(format!("its CTF section {what}")),
        Ok(types) if types.count >= types.limit => Some(format!(
            "{} CTF types, but ids of version {} end at {}: dtrace and mdb misread what lies behind; leave types out (ctfmerge of fewer \
             objects) or use version 3",
            types.count, types.version, types.limit
        )),
        Ok(types) if u64::from(types.count) * 10 >= u64::from(types.limit) * 9 => {
            Some(format!("{} CTF types of at most {}: nearly full", types.count, types.limit))
        }
        Ok(_) => None,
    }
}

impl Check {
    fn of(image: &Image, info: Option<&FileInfo>, facts: &Facts) -> Check {
        let ctf = facts.ctf.as_ref().and_then(|ctf| ctf.as_ref().ok());
        Check {
            image: image.name.clone(),
            file: info.map(|info| info.path.display().to_string()),
            functions: None,
            dwarf: facts.dwarf,
            lines: facts.lines,
            inlines: facts.inlines,
            compressed: facts.compressed,
            unwinding: None,
            ctf_types: ctf.map(|ctf| ctf.count),
            ctf_limit: ctf.map(|ctf| ctf.limit),
            btf: facts.btf,
            problems: Vec::new(),
            remedy: None,
        }
    }

    /// Looks for the parts of debug info that lie in other files.
    fn parts(&mut self, image: &Image, split: bool) {
        let missing = image.program.as_ref().map_or_else(Vec::new, |program| program.missing_parts(true));
        let first = |kind| missing.iter().find(|part| part.kind == kind);
        self.problems.extend([PartKind::Supplementary, PartKind::Split].into_iter().filter_map(|kind| parts::said(&missing, kind)));
        // What inlined calls there are, the parts tell.
        self.inlines |= split && first(PartKind::Split).is_none();
        let fetch = first(PartKind::Supplementary).map(|part| match part.id {
            Some(id) => {
                format!("debuginfod-find debuginfo {id} (what kstack … --debuginfod runs), or install the package that has {}", part.name)
            }
            None => format!("get {} from where the file was built, and lay it beside the file", part.name),
        });
        let pack = |_| {
            "dwp -e FILE -o FILE.dwp where it was built, and lay FILE.dwp beside it; or -S, --source-map for the .dwo files".to_string()
        };
        self.remedy = self.remedy.take().or(fetch).or(first(PartKind::Split).map(pack));
    }

    /// What the file has, as one line.
    fn has(&self) -> String {
        let mut words: Vec<String> = self.functions.map(|count| format!("{count} functions")).into_iter().collect();
        if let Some(version) = self.dwarf {
            let parts =
                [(self.lines, "lines"), (self.inlines, "inlined calls")].into_iter().filter(|(there, _)| *there).map(|(_, name)| name);
            let packed = self.compressed.map(|how| format!("packed with {how}"));
            let parts: Vec<String> = parts.map(str::to_string).chain(packed).collect();
            words.push(if parts.is_empty() { format!("DWARF {version}") } else { format!("DWARF {version} ({})", parts.join(", ")) });
        }
        words.extend(self.unwinding.map(|how| format!("unwinding: {how}")));
        words.extend(self.ctf_types.zip(self.ctf_limit).map(|(count, limit)| format!("{count} of at most {limit} CTF types")));
        words.extend(self.btf.then(|| "BTF".to_string()));
        words.join(", ")
    }
}

/// The checks as text, an image after the other; and below, what the report itself lacks.
pub fn text(checks: &[Check], capture: Option<&Capture>) -> String {
    let mut out = String::new();
    for check in checks {
        out.push_str(&format!("{}: {}\n", check.image, check.file.as_deref().unwrap_or("-")));
        let has = check.has();
        if !has.is_empty() {
            out.push_str(&format!("    has {has}\n"));
        }
        check.problems.iter().for_each(|problem| out.push_str(&format!("    {problem}\n")));
        out.extend(check.remedy.iter().map(|remedy| format!("    -> {remedy}\n")));
    }
    out.extend(capture.and_then(hint).map(|hint| format!("report: {hint}\n")));
    out
}

/// What the reporter's system hid from the report, and how to get it the next time.
pub fn hint(capture: &Capture) -> Option<String> {
    let frames = || capture.stacks.iter().flat_map(|stack| &stack.frames);
    let some = frames().next().is_some();
    match capture.os? {
        Os::Linux if some && frames().all(|frame| frame.address.is_none_or(|address| address.0 == 0) && frame.symbol.is_empty()) => {
            Some("the kernel hid every address -> sysctl kernel.kptr_restrict=0, and read as root".to_string())
        }
        Os::Darwin if some && capture.format == "darwin-panic" && frames().all(|frame| frame.symbol.is_empty()) => {
            Some("the panic names no symbols -> sudo nvram boot-args=\"keepsyms=1\", for the next one".to_string())
        }
        _ => None,
    }
}

/// The one command that gets debug info for an image on the report's system.
pub fn remedy(image: &Image, capture: Option<&Capture>) -> Option<String> {
    let capture = capture?;
    let id = image.wanted.or(image.program.as_ref().and_then(|program| program.id()));
    match capture.os? {
        Os::Linux => Some(on_linux(image, capture.kernel_version.as_deref().unwrap_or_default(), id)),
        Os::Darwin if image.kernel || image.name.starts_with("com.apple.") => {
            let build = capture.os_build.as_deref().map_or("its build".to_string(), |build| format!("build {build}"));
            Some(format!("install Apple's Kernel Debug Kit of {build}, then -S /Library/Developer/KDKs"))
        }
        Os::Darwin => {
            Some("dsymutil KEXT.kext/Contents/MacOS/KEXT on the machine that built it, then -S the folder with the .dSYM".to_string())
        }
        _ => None,
    }
}

/// How the kernel releases of distributions look, and what installs their debug info. `{}` is the release.
const DISTRIBUTIONS: &[(&str, &str)] = &[
    (".fc", "dnf debuginfo-install kernel-{}"),
    (".el", "dnf debuginfo-install kernel-{}"),
    (".amzn", "dnf debuginfo-install kernel-{}"),
    ("-default", "zypper install kernel-default-debuginfo"),
    ("-arch", "DEBUGINFOD_URLS=https://debuginfod.archlinux.org kstack … --debuginfod"),
    // Ubuntu's flavour before Debian's: both end in an architecture or flavour.
    ("-generic", "apt install linux-image-{}-dbgsym (from ddebs.ubuntu.com)"),
    ("-lowlatency", "apt install linux-image-{}-dbgsym (from ddebs.ubuntu.com)"),
    ("-amd64", "apt install linux-image-{}-dbg"),
    ("-arm64", "apt install linux-image-{}-dbg"),
];

fn on_linux(image: &Image, version: &str, id: Option<ImageId>) -> String {
    let release = version.split_whitespace().find(|word| word.starts_with(|c: char| c.is_ascii_digit())).unwrap_or_default();
    let known = DISTRIBUTIONS.iter().find(|(mark, _)| release.contains(mark)).map(|(_, command)| command.replace("{}", release));
    let own = !image.kernel && image.program.is_some();
    match known {
        Some(command) if !own => command,
        _ if id.is_some() => "kstack … --debuginfod, if a server of the distribution has it".to_string(),
        _ if image.kernel => "build the kernel with CONFIG_DEBUG_INFO_DWARF_TOOLCHAIN_DEFAULT=y and keep its vmlinux".to_string(),
        _ => "keep the module as built, before `make modules_install` or DKMS strips it (dkms.conf: STRIP=\"no\")".to_string(),
    }
}
