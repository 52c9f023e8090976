#!/usr/bin/env bash
# Times kstack on a real kernel against its peers, in one run; best of RUNS, wall clock and peak resident memory.
# usage: KSTACK_VMLINUX=/usr/lib/debug/boot/vmlinux-REL [KSTACK_MODULES=DIR] [KSTACK_REPORTS="FILE..."] benches/linux.sh
# Peers that are not installed are left out: llvm-symbolizer, addr2line, eu-addr2line, blazecli.
set -euo pipefail
here=$(cd "$(dirname "$0")/.." && pwd)
runs=${RUNS:-5}
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

# best NAME INPUT COMMAND...
best() {
	local name=$1 input=$2
	shift 2
	command -v "$1" >/dev/null || { echo "$name: $1 is not installed"; return 0; }
	python3 - "$name" "$input" "$runs" "$@" <<'PY'
import os, subprocess, sys, time
name, source, runs, command = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4:]
times, peak = [], 0
for _ in range(runs):
    with open(source) as given, open(os.devnull, "w") as void:
        start = time.monotonic()
        child = subprocess.Popen(command, stdin=given, stdout=void, stderr=void)
        _, status, usage = os.wait4(child.pid, 0)
        times.append(time.monotonic() - start)
        peak = max(peak, usage.ru_maxrss)
print(f"{name:44} {min(times) * 1000:9.1f} ms {peak / 1024:7.1f} MiB")
PY
}

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
	best "kstack symbolicate ${report##*/}, no symbols" /dev/null "$kstack" symbolicate "$report"
done
