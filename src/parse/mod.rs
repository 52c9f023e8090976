//! Readers of reports and load maps. Every reader is total: any bytes give a [`Capture`], damage becomes notes.
//!
//! A new format is one file that implements [`Format`] and one line in [`FORMATS`].

pub mod addresses;
pub mod atos;
pub mod bcc;
mod bcc_events;
mod bcc_frame;
mod bcc_owner;
mod bcc_waking;
pub mod blocks;
mod blocks_marks;
mod blocks_move;
mod blocks_quote;
pub mod bpftrace;
mod bpftrace_json;
mod bsd_frame;
mod bsd_frame_ports;
mod bsd_heading;
mod bsd_joined;
mod bsd_log;
pub mod bsd_maps;
pub mod crash_bt;
pub mod crash_session;
pub mod darwin_bases;
pub mod darwin_binary_images;
pub mod darwin_ips;
mod darwin_ips_images;
mod darwin_ips_threads;
pub mod darwin_kcdata;
mod darwin_kcdata_items;
pub mod darwin_kexts;
pub mod darwin_loadinfo;
pub mod darwin_panic;
mod darwin_panic_explain;
mod darwin_panic_fields;
mod darwin_panic_frame;
mod darwin_panic_head;
mod darwin_panic_images;
mod darwin_panic_join;
mod darwin_panic_kext;
mod darwin_panic_lines;
mod darwin_panic_log;
mod darwin_panic_rows;
mod darwin_panic_stack;
mod darwin_panic_view;
mod darwin_panic_words;
pub mod darwin_showallstacks;
pub mod darwin_spindump;
pub mod darwin_stackshot;
pub mod darwin_thread_heading;
pub mod darwin_tree;
pub mod darwin_tree_line;
mod darwin_waits;
pub mod darwin_zone_log;
pub mod darwin_zprint;
mod debugger_parts;
pub mod drgn_bt;
pub mod dtrace;
mod dtrace_quiet;
pub mod folded;
pub mod freebsd;
mod freebsd_procstat;
pub mod ftrace_stack;
pub mod fuchsia;
mod fuchsia_frame;
pub mod fuchsia_lines;
mod fuchsia_maps;
pub mod gdb_bt;
mod gdb_frame;
mod go_lines;
pub mod go_trace;
mod illumos_line;
pub mod illumos_modinfo;
mod illumos_panic;
pub mod illumos_stacks;
mod json_text;
mod json_walk;
mod kstack_code;
mod kstack_crash;
mod kstack_document;
pub mod kstack_json;
mod kstack_locks;
mod kstack_zones;
pub mod lex;
mod linux_bases;
pub mod linux_code;
pub mod linux_context;
mod linux_decoded;
mod linux_doubled;
mod linux_facts;
mod linux_fault;
pub mod linux_frame;
pub mod linux_headings;
mod linux_json;
pub mod linux_kmemleak;
pub mod linux_locks;
pub mod linux_log;
pub mod linux_modules;
pub mod linux_owners;
pub mod linux_page_owner;
pub mod linux_parts;
pub mod linux_pc;
pub mod linux_prefix;
pub mod linux_proc_stack;
pub mod linux_proc_task;
pub mod linux_slub;
mod linux_stamp;
pub mod linux_symbol;
mod linux_syslog;
pub mod linux_task;
pub mod linux_tree;
pub mod linux_vendor;
pub mod lldb_bt;
pub mod sdb_stacks;

pub mod netbsd;
pub mod openbsd;
pub mod perf_line;
pub mod perf_script;
pub mod samples;
pub mod systemtap;

use crate::model::capture::Capture;

/// How sure a format is that an input is its own.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Confidence {
    /// Not this format.
    No,
    /// Readable as this format if nothing better claims it.
    Fallback,
    /// Lines of this format were seen, without its heading.
    Likely,
    /// Its heading or unmistakable lines were seen.
    Certain,
}

/// What an input of a format holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Holds {
    /// Stacks.
    Stacks,
    /// Load addresses of images.
    LoadMap,
}

/// One input format.
pub trait Format: Sync {
    /// The name that `--format-in` takes and JSON output gives.
    fn id(&self) -> &'static str;
    /// One line for `kstack formats`.
    fn about(&self) -> &'static str;
    /// Whether inputs of this format hold stacks or load addresses.
    fn holds(&self) -> Holds;
    /// How sure the format is, from the first [`SNIFF_BYTES`] of an input.
    fn sniff(&self, head: &[u8]) -> Confidence;
    /// Reads the whole input. Line numbers and offsets refer to `text`.
    fn parse(&self, text: &[u8]) -> Capture;
    /// Reads an input that may hold the reports of several sources.
    fn parts(&self, text: &[u8]) -> Vec<Part> {
        vec![Part { capture: self.parse(text), ..Part::default() }]
    }
    /// Words in a line with which a block of this format can begin in a text of other kinds, see [`blocks`]. Without any, such a block is
    /// not looked for.
    fn marks(&self) -> &'static [&'static [u8]] {
        &[]
    }
    /// Whether a block of this format begins, or goes on, with the first line of `rest`: a line with one of the marks and a few below it.
    /// `above` is all that stands before that line.
    fn begins(&self, _above: &[u8], rest: &[u8]) -> bool {
        self.sniff(rest) == Confidence::Certain
    }
    /// Where in `above`, the text before `rest`, the block begins of which `rest` begins with the first mark; its end, for most formats.
    fn begins_above(&self, above: &[u8], _rest: &[u8]) -> usize {
        above.len()
    }
    /// For a reader that takes lines of other text for its own: how much of `rest`, a block and what stands below it, it is given, and
    /// nothing above it. `None` for a reader that passes over what it does not know, and learns from headings.
    fn reach(&self, _rest: &[u8]) -> Option<usize> {
        None
    }
    /// Takes what the text above a block, `above`, says of the whole session in which the block, `text`, stands.
    fn session(&self, _above: &[u8], _text: &[u8], _block: &mut Capture) {}
    /// Ids of formats whose blocks this reader takes in with its own: a session has several commands.
    fn takes_in(&self) -> &'static [&'static str] {
        &[]
    }
    /// Whether this reader sees through the `> ` of a quotation itself.
    fn reads_quotations(&self) -> bool {
        false
    }
    /// Whether an input of this format is one document, in which nothing else can stand.
    fn is_document(&self) -> bool {
        false
    }
}

/// One of the reports that an input holds.
#[derive(Debug, Default)]
pub struct Part {
    /// Where it came from; `None` for the input itself.
    pub source: Option<String>,
    /// The text that lines and spans of `capture` refer to, where it was packed in the input (a JSON string); `None` for the input's own.
    pub text: Option<Vec<u8>>,
    /// What it says.
    pub capture: Capture,
}

/// How much of an input [`detect`] shows to the formats, in bytes.
pub const SNIFF_BYTES: usize = 64 << 10;

/// Every format that kstack reads. The first of equally sure ones wins.
pub static FORMATS: &[&dyn Format] = &[
    &kstack_json::KstackJson,
    &darwin_ips::DarwinIps,
    &darwin_kcdata::DarwinKcdata,
    &darwin_panic::DarwinPanic,
    &darwin_stackshot::DarwinStackshot,
    &darwin_spindump::DarwinSpindump,
    &darwin_showallstacks::DarwinShowallstacks,
    &darwin_zone_log::DarwinZoneLog,
    &darwin_zprint::DarwinZprint,
    &darwin_kexts::Kextstat,
    &darwin_loadinfo::KextutilInfo,
    &darwin_kexts::GdbKmods,
    &darwin_kexts::LldbKexts,
    &bsd_maps::Kldstat,
    &bsd_maps::Modstat,
    &linux_modules::ProcModules,
    &linux_modules::Kallsyms,
    &linux_modules::CrashMod,
    &crash_bt::CrashBt,
    &sdb_stacks::SdbStacks,
    &drgn_bt::DrgnBt,
    &gdb_bt::GdbBt,
    &lldb_bt::LldbBt,
    &illumos_modinfo::IllumosModinfo,
    &illumos_stacks::IllumosStacks,
    &perf_script::PerfScript,
    &dtrace::Dtrace,
    &bpftrace::Bpftrace,
    &bcc::Bcc,
    &systemtap::SystemTap,
    &ftrace_stack::FtraceStack,
    &linux_proc_stack::LinuxProcStack,
    &freebsd::FreeBsd,
    &netbsd::NetBsd,
    &openbsd::OpenBsd,
    &linux_kmemleak::Kmemleak,
    &linux_page_owner::PageOwner,
    &linux_slub::SlubTraces,
    &fuchsia::Fuchsia,
    &linux_log::LinuxLog,
    &go_trace::GoTrace,
    &folded::Folded,
    &addresses::Addresses,
];

/// How many pieces of an input [`detect`] shows to the formats, when none of them is sure of the first.
const SNIFFED_PIECES: usize = 64;

/// The format that is surest of `text`, from its content alone. A log can begin with much that is not the kernel's.
pub fn detect(text: &[u8]) -> Option<&'static dyn Format> {
    surest(text).map(|(_, format)| format)
}

/// As [`detect`], with how sure the format is.
fn surest(text: &[u8]) -> Option<(Confidence, &'static dyn Format)> {
    let mut best: Option<(Confidence, &'static dyn Format)> = None;
    for piece in text.chunks(SNIFF_BYTES).take(SNIFFED_PIECES) {
        for format in FORMATS {
            let sure = format.sniff(piece);
            if sure > best.map_or(Confidence::No, |(sure, _)| sure) {
                best = Some((sure, *format));
            }
        }
        if best.is_some_and(|(sure, _)| sure >= Confidence::Likely) {
            break;
        }
    }
    best
}

/// The first line of `text`.
fn first_line(text: &[u8]) -> &[u8] {
    &text[..memchr::memchr(b'\n', text).unwrap_or(text.len())]
}

/// The format of that id.
pub fn by_id(id: &str) -> Option<&'static dyn Format> {
    FORMATS.iter().copied().find(|format| format.id() == id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_unique_and_nothing_claims_an_empty_input() {
        for (at, format) in FORMATS.iter().enumerate() {
            assert!(FORMATS[..at].iter().all(|other| other.id() != format.id()));
            assert!(by_id(format.id()).is_some());
        }
        assert!(detect(b"").is_none());
        assert!(detect(b"\x00\xff\n\n").is_none());
    }

    #[test]
    fn what_stands_before_a_report_does_not_hide_it() {
        let text = [&b"executing program\n".repeat(5_000)[..], b"Call Trace:\n f+0x1/0x2\n"].concat();
        assert_eq!(detect(&text).map(|format| format.id()), Some("linux-log"));
    }
}
