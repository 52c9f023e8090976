#!/usr/bin/env bash
# Times kstack against llvm-symbolizer on the same look-ups, in one run. Best of RUNS; wall clock and peak resident memory.
# usage: end_to_end.sh [WORKDIR]      (default: target/bench)     RUNS=5
set -euo pipefail
here=$(cd "$(dirname "$0")/.." && pwd)
work=${1:-$here/target/bench}
peer=$(command -v llvm-symbolizer-14 || command -v llvm-symbolizer) || { echo "llvm-symbolizer is missing" >&2; exit 2; }
cargo build --release --quiet --manifest-path "$here/Cargo.toml"
"$here/benches/make-darwin.sh" "$work"
kstack=${CARGO_TARGET_DIR:-$here/target}/release/kstack
modules=()
for ((k = 0; k < 40; k++)); do modules+=(-m "$work/bench$k.kext"); done
kernel=(-k "$here/fixtures/symbols/darwin/legacy/mach_kernel")

# shellcheck source=benches/best.sh
. "$here/benches/best.sh"

# The same look-ups at load addresses, for `lookup`.
python3 - "$work" <<'PY'
import re, sys
work, base = sys.argv[1], {"mach_kernel": 0}
for line in open(f"{work}/kextstat.txt"):
    found = re.search(r"(0x\w+).*net\.example\.(\w+)", line)
    if found:
        base[found[2]] = int(found[1], 16)
with open(f"{work}/lookups.txt", "w") as out:
    for line in open(f"{work}/peer.txt"):
        path, at = line.rsplit(" ", 1)
        out.write(f"{base[path.strip(chr(34)).rsplit('/', 1)[1]] + int(at, 16):#x}\n")
PY

echo "stackshot: $(wc -c <"$work/stackshot.txt") bytes, $(wc -l <"$work/peer.txt") distinct look-ups"
best "kstack symbolicate (text)" /dev/null "$kstack" symbolicate "$work/stackshot.txt" "${kernel[@]}" "${modules[@]}" -l "$work/kextstat.txt"
best "kstack symbolicate --format json" /dev/null "$kstack" symbolicate --format json "$work/stackshot.txt" "${kernel[@]}" "${modules[@]}" -l "$work/kextstat.txt"
best "$(basename "$peer"), the same look-ups once each" "$work/peer.txt" "$peer" --inlines
best "kstack lookup, the same look-ups" "$work/lookups.txt" "$kstack" lookup "${kernel[@]}" "${modules[@]}" -l "$work/kextstat.txt"
best "kstack lookup, one address in the large dSYM" /dev/null "$kstack" lookup "$(cat "$work/large.txt")" -m "$work/large.kext@0"
best "$(basename "$peer"), the same" "$work/large.txt" "$peer" --inlines "--obj=$work/large.kext.dSYM/Contents/Resources/DWARF/large"
