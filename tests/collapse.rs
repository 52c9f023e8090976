//! `kstack flame` against inferno's collapsers with their default options: the same bytes, over generated profiles and those at hand.

mod common;

use common::{run_with, stderr, stdout};
use inferno::collapse::{Collapse, dtrace, guess, perf};
use kstack::collapse;
use proptest::prelude::*;

fn theirs(format: &str, text: &[u8]) -> String {
    let mut out = Vec::new();
    let done = match format {
        "perf-script" => perf::Folder::default().collapse(text, &mut out),
        _ => dtrace::Folder::default().collapse(text, &mut out),
    };
    done.unwrap_or_else(|error| panic!("inferno: {error}"));
    String::from_utf8(out).unwrap()
}

fn ours(format: &str, text: &[u8]) -> String {
    let counts = collapse::of(format, text).map(|collapse| collapse(text, None)).unwrap_or_default();
    counts.iter().map(|(stack, count)| format!("{stack} {count}\n")).collect()
}

/// Names as kernels, C++, Rust, Go and Java have them, and what could be mistaken for syntax.
fn name() -> impl Strategy<Value = String> {
    let whole = [
        "zio_wait",
        "[unknown]",
        "std::vector<int (*)(char), a>::push_back(int const&)",
        "(anonymous namespace)::run(int)",
        "net/http.(*Client).Do",
        "_$LT$core..iter..Map$LT$I$C$F$GT$$u20$as$u20$core$GT$::fold::h30ecedc997ad7e32",
        "core::ops::function::FnOnce::call_once{{vtable.shim}}::h0123456789abcdef",
        "a.b..c$SP$d$xx$e::h0123456789abcdef",
        "h0123456789abcdef",
        "Lorg/mozilla/javascript/MemberBox;.<init>(Ljava/lang/reflect/Method;)V",
        "a->b->Lc/d;e",
        "f+0x",
        "f+0xzz",
        "operator()",
        "(swapper)",
        "two words",
        "x;y",
        "Lü",
        "asm_sysvec+0x12_[i]->g",
        ")))(f",
        "f_[k]",
    ];
    prop_oneof![4 => "[a-z_]{1,12}", 4 => proptest::sample::select(whole.to_vec()).prop_map(str::to_string), 1 => "[a-zA-Z.:<>(){}$;>+` -]{1,16}"]
}

fn perf_frame() -> impl Strategy<Value = String> {
    let modules =
        ["[kernel.kallsyms]", "[zfs]", "[unknown]", "/lib/x86_64-linux-gnu/libc-2.31.so", "/tmp/perf-19982.map", "", "inlined", "a b"];
    let offset = prop_oneof![Just(String::new()), "\\+0x[0-9a-f]{1,6}"];
    let frame = (name(), offset, "[0-9a-f]{1,16}", proptest::sample::select(modules.to_vec()));
    prop_oneof![
        12 => frame.prop_map(|(name, offset, address, module)| format!("\t{address:>16} {name}{offset} ({module})")),
        1 => Just("\t    7f1e2215d058  (/lib/libc-2.15.so)".to_string()),
        1 => Just("# a comment".to_string()),
        1 => Just("    not a frame".to_string()),
    ]
}

fn perf_heading() -> impl Strategy<Value = String> {
    let commands = ["swapper", "txg sync", "V8 Worker 2a", "java", "kworker/0:1-ev", ":257", "12 monkeys", "a/b", "ü", ""];
    let ids = prop_oneof!["[1-9][0-9]{0,5}", "[1-9][0-9]{0,4}/[1-9][0-9]{0,5}"];
    let cpus = prop_oneof![Just(""), Just(" [001]"), Just("  [000]")];
    let periods = prop_oneof![2 => Just(String::new()), 3 => "[ ]{1,4}[0-9]{1,7}"];
    let events = [
        "cycles:",
        "cycles:",
        "cycles:ppp:",
        "cpu-clock:pppH: ",
        "instructions:u:",
        "cycles:u:  ffffffff9aa3c8de [unknown] ([unknown])",
        "sched:sched_switch: prev_comm=x",
        "",
    ];
    let parts = (proptest::sample::select(commands.to_vec()), ids, cpus, periods, proptest::sample::select(events.to_vec()));
    prop_oneof![
        20 => parts.prop_map(|(command, ids, cpu, period, event)| format!("{command:>8} {ids}{cpu} 4794564.109216:{period} {event}")),
        1 => Just("no heading".to_string()),
    ]
}

/// inferno asks for an event in the first sample and panics without one.
fn perf_text() -> impl Strategy<Value = String> {
    let sample =
        (perf_heading(), prop::collection::vec(perf_frame(), 0..8)).prop_map(|(head, frames)| [vec![head], frames].concat().join("\n"));
    let ends = prop_oneof![Just(""), Just("\n"), Just("\n\n"), Just("\n\n\n")];
    let first = "# header\nswapper     0 [000] 1.5: 7 cycles:\n\tffffffff8103ce3b first ([kernel.kallsyms])\n\n";
    // Samples that recur are not read twice.
    (prop::collection::vec(sample, 0..12), ends, any::<bool>(), 1usize..4).prop_map(move |(samples, end, crlf, times)| {
        let text = format!("{first}{}{end}", vec![samples.join("\n\n"); times].join("\n\n"));
        if crlf { text.replace('\n', "\r\n") } else { text }
    })
}

fn dtrace_text() -> impl Strategy<Value = String> {
    let offset = prop_oneof![Just(String::new()), "\\+0x[0-9a-f]{1,4}"];
    let named = ("[a-z_.]{1,8}", name(), offset).prop_map(|(module, name, offset)| format!("              {module}`{name}{offset}"));
    let frame = prop_oneof![8 => named, 1 => "              0x[0-9a-f]{1,16}", 1 => Just("   +".to_string())];
    let stack = (prop::collection::vec(frame, 1..8), 0u64..1000);
    let stack = stack.prop_map(|(frames, count)| format!("{}\n{count:>17}\n", frames.join("\n")));
    let heading =
        prop_oneof![Just("\n"), Just("CPU     ID                    FUNCTION:NAME\n  1  75195                      :tick-60s\n\n\n")];
    (heading, prop::collection::vec(stack, 0..12)).prop_map(|(heading, stacks)| format!("{heading}{}", stacks.join("\n")))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn perf_scripts_fold_alike(text in perf_text()) {
        prop_assert_eq!(ours("perf-script", text.as_bytes()), theirs("perf-script", text.as_bytes()));
    }

    #[test]
    fn dtrace_stacks_fold_alike(text in dtrace_text()) {
        prop_assert_eq!(ours("dtrace", text.as_bytes()), theirs("dtrace", text.as_bytes()));
    }

    #[test]
    fn bytes_that_are_no_text_fold_alike(text in perf_text(), at in any::<prop::sample::Index>()) {
        let mut bytes = text.into_bytes();
        let place = at.index(bytes.len()).max(90).min(bytes.len());
        bytes.splice(place..place, [0xff, 0xe2, 0x80]);
        // inferno looks for the hash of a Rust name without asking where characters begin, and panics.
        let lossy = String::from_utf8_lossy(&bytes);
        let safe = |name: &str| name.len() < 17 || name.is_char_boundary(name.len() - 17);
        let frames = lossy.lines().filter_map(|line| kstack::parse::perf_line::frame(line.trim_end()));
        let single = lossy.lines().filter_map(|line| kstack::parse::perf_line::heading(line.trim_end())?.frame);
        let mut frames = frames.chain(single.filter_map(kstack::parse::perf_line::frame));
        prop_assume!(frames.all(|frame| safe(frame.function())));
        prop_assert_eq!(ours("perf-script", &bytes), theirs("perf-script", &bytes));
    }
}

/// Large enough to be cut into pieces.
#[test]
fn pieces_add_up() {
    let sample = |n: u64| {
        let frames: String = (0..n % 7 + 1)
            .map(|depth| format!("\tffffffff81{:06x} function_{}+0x{depth:x} ([kernel.kallsyms])\n", n, (n * depth) % 31))
            .collect();
        format!("worker {} {n}/{n} [000] 1.{n:06}: {} cycles:\n{frames}\n", n % 3, n % 5)
    };
    let text: String = (0..40_000).map(sample).collect();
    assert!(text.len() > 4 << 20);
    assert_eq!(ours("perf-script", text.as_bytes()), theirs("perf-script", text.as_bytes()));
    let stack = |n: u64| format!("\n              unix`f{}+0x1\n              zfs`g{}\n{:>17}\n", n % 13, n % 7, n % 4);
    let text: String = std::iter::once("\n".to_string()).chain((0..60_000).map(stack)).collect();
    assert_eq!(ours("dtrace", text.as_bytes()), theirs("dtrace", text.as_bytes()));
}

/// The program itself, which detects what it is given, as inferno's guesser does.
#[test]
fn flame_writes_what_inferno_guesses() {
    for input in ["perf-script/zfs/input.txt", "dtrace/illumos/input.txt", "dtrace/darwin/input.txt"] {
        let text = std::fs::read(common::fixtures().join(input)).unwrap();
        let mut guessed = Vec::new();
        guess::Folder::default().collapse(&text[..], &mut guessed).unwrap();
        let output = run_with(&["flame"], &text);
        assert_eq!(stdout(&output), String::from_utf8(guessed).unwrap(), "{input}: {}", stderr(&output));
        assert!(!output.stdout.is_empty(), "{input}");
        // Read in full, it says the same.
        let read = run_with(&["flame", "--kind", "sample"], &text);
        assert_eq!(stdout(&read), stdout(&output), "{input}: {}", stderr(&read));
        // What was folded comes out as it is.
        assert_eq!(stdout(&run_with(&["flame"], &output.stdout)), stdout(&output), "{input}");
    }
}
