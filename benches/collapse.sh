#!/usr/bin/env bash
# Times `kstack flame` on perf script text against inferno-collapse-perf, in one run, and compares what they write.
# KSTACK_PERF_KIND=distinct makes a profile in which no address recurs.
# usage: [KSTACK_PERF_MB=100] [RUNS=5] benches/collapse.sh   (inferno-collapse-perf has to be on PATH: cargo install inferno)
set -euo pipefail
here=$(cd "$(dirname "$0")/.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
[[ -n ${KSTACK:-} ]] || cargo build --release --quiet --manifest-path "$here/Cargo.toml"
kstack=${KSTACK:-${CARGO_TARGET_DIR:-$here/target}/release/kstack}
"$here/benches/make-perf.py" "${KSTACK_PERF_MB:-100}" ${KSTACK_PERF_KIND:+"$KSTACK_PERF_KIND"} >"$work/perf.txt"
echo "$(stat -c %s "$work/perf.txt") bytes, $(grep -c cpu-clock "$work/perf.txt") samples"

"$kstack" flame "$work/perf.txt" >"$work/ours"
inferno-collapse-perf "$work/perf.txt" >"$work/theirs"
cmp "$work/ours" "$work/theirs"
echo "same output: $(wc -l <"$work/ours") lines, $(stat -c %s "$work/ours") bytes"

# shellcheck source=benches/best.sh
. "$here/benches/best.sh"
best "kstack flame, file" /dev/null "$kstack" flame "$work/perf.txt"
best "inferno-collapse-perf, file" /dev/null inferno-collapse-perf "$work/perf.txt"
best "inferno-collapse-perf -n 1, file" /dev/null inferno-collapse-perf -n 1 "$work/perf.txt"
best "kstack flame, standard input" "$work/perf.txt" "$kstack" flame
best "inferno-collapse-perf, standard input" "$work/perf.txt" inferno-collapse-perf
