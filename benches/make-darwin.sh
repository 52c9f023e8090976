#!/usr/bin/env bash
# Makes what the end-to-end benchmark reads: 40 kexts with dSYMs, one large kext, and a stackshot of THREADS threads with FRAMES
# kernel frames each over the shipped kernel and the 40 kexts.
# usage: make-darwin.sh OUTDIR [THREADS FRAMES]     needs clang, ld64.lld, dsymutil (Debian: clang-14 lld-14 llvm-14), python3
set -euo pipefail
v=${LLVM_VERSION--14}
if [[ $1 == --compile ]]; then
	for c in "${@:2}"; do
		"clang$v" --target=x86_64-apple-macosx12 -g -gdwarf-4 -fstandalone-debug -O1 -fno-omit-frame-pointer -mkernel -ffreestanding -c "$c" -o "${c%.c}.o"
	done
	exit
fi
out=$1 threads=${2:-5000} frames=${3:-20}
here=$(cd "$(dirname "$0")/.." && pwd)
for tool in "clang$v" "ld64.lld$v" "dsymutil$v" python3; do
	command -v "$tool" >/dev/null || { echo "$tool is missing: apt-get install clang-14 lld-14 llvm-14" >&2; exit 2; }
done
mkdir -p "$out"
tbd=$out/kpi.tbd
printf -- '--- !tapi-tbd\ntbd-version: 4\ntargets: [ x86_64-macos ]\ninstall-name: /usr/lib/libSystem.B.dylib\nexports:\n  - targets: [ x86_64-macos ]\n    symbols: [ dyld_stub_binder ]\n...\n' >"$tbd"

# kext NAME UNITS FUNCTIONS: UNITS files of FUNCTIONS functions, each calling the one before through two inlined levels.
kext() {
	local name=$1 units=$2 functions=$3 dir=$out/build/$1 objects=()
	[[ -e $out/$name.kext.dSYM/Contents/Resources/DWARF/$name ]] && return
	mkdir -p "$dir" "$out/$name.kext/Contents/MacOS"
	for ((u = 0; u < units; u++)); do
		python3 - "$name" "$u" "$functions" >"$dir/$u.c" <<'PY'
import sys
name, unit, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
print("static volatile int state;")
# A kernel's headers: types that every unit's debug info carries along.
for t in range(150):
    print(f"struct type{t} {{ int count; unsigned long flags; struct type{(t * 7 + 3) % 150} *link; struct type{max(t - 1, 0)} *prev; char name[{8 + t % 24}]; union {{ long number; void *pointer; }} value; int (*call)(struct type{t} *, int); }};")
print("static struct type149 *root;")
print("static inline __attribute__((always_inline)) int level2(int (*f)(int), int x) {\n\tstate += x;\n\treturn f(x + 1) + state;\n}")
print("static inline __attribute__((always_inline)) int level1(int (*f)(int), int x) {\n\tint r = level2(f, x ^ 3);\n\treturn r + state;\n}")
print(f"__attribute__((noinline)) static int leaf(int x) {{\n\tstate ^= x;\n\treturn state;\n}}")
last = "leaf"
for n in range(count):
    kind = "" if n % 3 else "static "
    print(f"__attribute__((noinline)) {kind}int {name}_{unit}_{n}(int x) {{\n\tstruct type{n % 150} *here = (struct type{n % 150} *)root->link;\n\tint before = here->count;\n\tint r = level1({last}, x + {n});\n\tif (before != here->count)\n\t\there->flags |= (unsigned long)r;\n\tstate -= r;\n\treturn r + {n};\n}}")
    last = f"{name}_{unit}_{n}"
print(f"int {name}_{unit}_entry(int x) {{ return {last}(x); }}")
PY
		objects+=("$dir/$u.o")
	done
	printf '%s\n' "$dir"/*.c | xargs -P2 -n4 "$0" --compile
	"ld64.lld$v" -arch x86_64 -platform_version macos 12.0 12.0 -bundle -headerpad 0x400 -undefined dynamic_lookup "${objects[@]}" "$tbd" -o "$dir/$name" 2>/dev/null
	"dsymutil$v" "$dir/$name" -o "$out/$name.kext.dSYM" 2>/dev/null
	# A bundle (8) becomes a kext (11).
	cp "$dir/$name" "$out/$name.kext/Contents/MacOS/$name"
	printf '\x0b' | dd of="$out/$name.kext/Contents/MacOS/$name" bs=1 seek=12 conv=notrunc status=none
	cat >"$out/$name.kext/Contents/Info.plist" <<PLIST
<?xml version="1.0" encoding="UTF-8"?>
<plist version="1.0"><dict><key>CFBundleIdentifier</key><string>net.example.$name</string><key>CFBundleExecutable</key><string>$name</string></dict></plist>
PLIST
	rm -rf "$dir"
}

for ((k = 0; k < 40; k++)); do kext "bench$k" 6 60; done
kext large 400 120

python3 - "$out" "$here/fixtures" "$threads" "$frames" <<'PY'
import random, struct, subprocess, sys
out, fixtures, threads, frames = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
random.seed(1)


def functions(path):
    """Link-time start and end of every function: symbols of __text in order."""
    d = open(path, "rb").read()
    n, o, syms, text = struct.unpack("<I", d[16:20])[0], 32, [], None
    for _ in range(n):
        c, z = struct.unpack("<2I", d[o:o + 8])
        if c == 0x19:
            for s in range(struct.unpack("<I", d[o + 64:o + 68])[0]):
                h = o + 72 + 80 * s
                if d[h:h + 16].rstrip(b"\0") == b"__text":
                    text = struct.unpack("<2Q", d[h + 32:h + 48])
        elif c == 2:
            so, k = struct.unpack("<2I", d[o + 8:o + 16])
            for i in range(k):
                strx, t, sect, _, value = struct.unpack("<IBBHQ", d[so + 16 * i:so + 16 * i + 16])
                if not t & 0xE0 and t & 0xE == 0xE:
                    syms.append(value)
        o += z
    starts = sorted({s for s in syms if text[0] <= s < text[0] + text[1]}) + [text[0] + text[1]]
    return list(zip(starts, starts[1:]))


images = [("kernel", f"{fixtures}/symbols/darwin/legacy/mach_kernel", f"{fixtures}/symbols/darwin/legacy/mach_kernel.dSYM/Contents/Resources/DWARF/mach_kernel", 0)]
base, rows = 0xFFFFFF7F80A00000, []
for k in range(40):
    path = f"{out}/bench{k}.kext/Contents/MacOS/bench{k}"
    images.append((f"net.example.bench{k}", path, f"{out}/bench{k}.kext.dSYM/Contents/Resources/DWARF/bench{k}", base))
    rows.append(f"{k + 1:5d} {0:4d} {base:<#18x} {0x80000:<#10x} {0x80000:<#10x} net.example.bench{k} (1.0)\n")
    base += 0x100000
open(f"{out}/kextstat.txt", "w").write("Index Refs Address            Size       Wired      Name (Version) <Linked Against>\n" + "".join(rows))
spots = []
for name, path, dsym, base in images:
    for start, end in functions(path):
        spots += [(base + a, dsym, a) for a in {random.randrange(start + 1, end) for _ in range(2)} if end - start > 8]
asked = {}
with open(f"{out}/stackshot.txt", "w") as log:
    for t in range(threads):
        if t % 50 == 0:
            log.write(f"PID: {t // 50}\n    Process: process{t // 50}\n")
        log.write(f"    Thread ID: {t:#x}\n    Thread state: 0x9 == TH_WAIT |TH_UNINT \n    Thread wait_event: 0xffffff80069ce638\n    Kernel stack: \n")
        for n in range(frames):
            addr, dsym, at = random.choice(spots)
            asked.setdefault((dsym, at - (n > 0)), None)
            log.write(" " * (4 + 2 * n) + f"{addr:#x} ({addr:#x})\n")
        log.write("\n")
# The same distinct look-ups, for a peer that knows neither images nor load addresses.
with open(f"{out}/peer.txt", "w") as peer:
    for dsym, at in sorted(asked):
        peer.write(f'"{dsym}" {at:#x}\n')
large = random.choice(functions(f"{out}/large.kext/Contents/MacOS/large")[:-1])
open(f"{out}/large.txt", "w").write(f"{large[0] + 9:#x}\n")
print(f"{threads} threads, {threads * frames} frames, {len(asked)} distinct look-ups in {len(images)} images")
PY
ls -l "$out/large.kext.dSYM/Contents/Resources/DWARF/large"
