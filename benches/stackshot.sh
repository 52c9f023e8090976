#!/usr/bin/env bash
# Times kstack on JSON stackshots of 80 MB and on a panic-full of 600 threads. Best of RUNS; wall clock and peak resident memory, which
# should stay below 1 s, three times the input's size, and 100 ms.
# usage: stackshot.sh [WORKDIR]      (default: target/bench)     RUNS=5     needs python3, GNU time
set -euo pipefail
here=$(cd "$(dirname "$0")/.." && pwd)
work=${1:-$here/target/bench}
cargo build --release --quiet --manifest-path "$here/Cargo.toml"
kstack=${CARGO_TARGET_DIR:-$here/target}/release/kstack
mkdir -p "$work"

# NAME BYTES THREADS DISTINCT USER: up to BYTES or THREADS, kernel stacks from DISTINCT different ones, USER user frames of its own for each.
python3 - "$work" <<'PY'
import json, random, sys
work = sys.argv[1]
random.seed(6)
images = [[f"da335ed2-3002-30ef-9272-{n:012x}", 0xfffffe000702c000 + n * 0x400000, "T"] for n in range(40)]
images += [[f"{n:08x}-7cde-372f-984e-93a80d8c9f8a", 0x100000000 + n * 0x10000000, "P"] for n in range(800)] + [["0" * 8 + "-0000-0000-0000-000000000000", 0, "A"]]
panic = "panic(cpu 0 caller 0xfffffe0024af6ed4): watchdog timeout\nDebugger message: panic\nOS version: 23C71\n"
def make(name, size, threads, distinct, user):
    stacks = [[[random.randrange(40), random.randrange(0x300000)] for _ in range(random.randrange(6, 24))] + [[840, 0]] for _ in range(distinct)]
    tid = 1000
    with open(f"{work}/{name}", "w") as out:
        out.write('{"bug_type":"210","os_version":"macOS 14.2 (23C71)"}\n')
        head = {"build": "macOS 14.2 (23C71)", "kernel": "Darwin Kernel Version 23.2.0: x; root:xnu-10002.61.3~2/RELEASE_ARM64_T6000", "panicString": panic, "binaryImages": images}
        out.write(json.dumps(head)[:-1] + ', "processByPid": {')
        pid = 0
        while out.tell() < size and tid - 1000 < threads:
            byid = {}
            for _ in range(min(50, threads - (tid - 1000))):
                tid += 1
                byid[tid] = {"id": tid, "state": ["TH_WAIT", "TH_UNINT"], "basePriority": 31, "schedPriority": 31, "snapshotFlags": ["kKernel64_p"], "waitEvent": [840, random.getrandbits(64)], "system_usec": 4940, "user_usec": 0, "userTime": 0, "systemTime": 0.00494, "kernelFrames": random.choice(stacks)}
                if user:
                    byid[tid]["userFrames"] = [[40 + random.randrange(800), random.randrange(0x100000)] for _ in range(user)]
            out.write((", " if pid else "") + f'"{pid}": ' + json.dumps({"pid": pid, "procname": f"process{pid % 300}", "threadById": byid}))
            pid += 1
        out.write("}}\n")
make("stackshot-80M.ips", 80 << 20, 10**9, 400, 0)
make("stackshot-80M-user.ips", 80 << 20, 10**9, 400, 12)
make("panic-full-600.ips", 80 << 20, 600, 100, 12)
PY

# shellcheck source=benches/best.sh
. "$here/benches/best.sh"
ls -l "$work"/*.ips
for input in stackshot-80M stackshot-80M-user; do
	best "kstack group -q, $input" /dev/null "$kstack" group -q "$work/$input.ips"
	best "kstack symbolicate -q, $input" /dev/null "$kstack" symbolicate -q "$work/$input.ips"
done
best "kstack symbolicate --format json, 600 threads" /dev/null "$kstack" symbolicate -q --format json "$work/panic-full-600.ips"
