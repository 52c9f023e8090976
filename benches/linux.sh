#!/usr/bin/env bash
# Times kstack on a real kernel against its peers, in one run; best of RUNS, wall clock and peak resident memory.
# usage: KSTACK_VMLINUX=/usr/lib/debug/boot/vmlinux-REL [KSTACK_MODULES=DIR] [KSTACK_REPORTS="FILE..."] benches/linux.sh
# Peers that are not installed are left out: llvm-symbolizer, addr2line, eu-addr2line, blazecli; and decode_stacktrace.sh of the kernel's
# scripts, which KSTACK_DECODE_STACKTRACE names, because it takes minutes for a dump.
set -euo pipefail
here=$(cd "$(dirname "$0")/.." && pwd)
vmlinux=${KSTACK_VMLINUX:?give the kernel with debug info in KSTACK_VMLINUX}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cargo build --release --quiet --manifest-path "$here/Cargo.toml"
kstack=${CARGO_TARGET_DIR:-$here/target}/release/kstack
symbols=()
[[ -z ${KSTACK_MODULES:-} ]] || symbols=(-S "$KSTACK_MODULES")

nm --defined-only "$vmlinux" | python3 -c '
import random, sys
text = sorted({int(l.split()[0], 16) for l in sys.stdin if l.split()[1] in "tT"})
text = [a for a, b in zip(text, text[1:]) if a >> 63 and b - a > 8]
random.seed(1)
for count in (1, 1000, 10000):
    with open(f"{sys.argv[1]}/{count}", "w") as out:
        out.writelines(f"{random.choice(text) + random.randrange(1, 8):#x}\n" for _ in range(count))
' "$work"

# shellcheck source=benches/best.sh
. "$here/benches/best.sh"

for count in 1 1000 10000; do
	best "kstack lookup, $count" "$work/$count" "$kstack" lookup -k "$vmlinux"
	best "llvm-symbolizer, $count" "$work/$count" llvm-symbolizer --inlines "--obj=$vmlinux"
	best "addr2line, $count" "$work/$count" addr2line -fie "$vmlinux"
	best "eu-addr2line, $count" "$work/$count" eu-addr2line -fie "$vmlinux"
	if command -v blazecli >/dev/null; then
		best "blazecli, $count" "$work/$count" xargs blazecli symbolize elf --path "$vmlinux"
	fi
done
for report in ${KSTACK_REPORTS:-}; do
	best "kstack symbolicate ${report##*/}" /dev/null "$kstack" symbolicate "$report" -k "$vmlinux" "${symbols[@]}"
	best "kstack report ${report##*/}" /dev/null "$kstack" report --quiet "$report" -k "$vmlinux" "${symbols[@]}"
	best "kstack symbolicate ${report##*/}, no symbols" /dev/null "$kstack" symbolicate "$report"
	if [[ -n ${KSTACK_DECODE_STACKTRACE:-} && -f $report ]]; then
		RUNS=1 TOLERATE=1 best "decode_stacktrace.sh ${report##*/}" "$report" bash "$KSTACK_DECODE_STACKTRACE" "$vmlinux" auto "${KSTACK_MODULES:-}"
	fi
done
