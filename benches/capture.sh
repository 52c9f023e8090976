#!/usr/bin/env bash
# Captures this machine with 20,000 more threads: time, memory and size. As root, on Linux, after `cargo build --release`.
# Then 100 times under a load that creates and ends processes: every one must succeed and be readable.
set -euo pipefail
cd "$(dirname "$0")/.."
kstack=$PWD/target/release/kstack threads=${1:-20000} times=${2:-100} out=$(mktemp -d)
helpers=()
trap 'kill "${helpers[@]}" 2>/dev/null || true; wait 2>/dev/null || true; rm -rf "$out"' EXIT

# 100 processes of sleeping threads: nothing but what the kernel needs for them.
for n in $(seq 100); do
	python3 -c '
import sys, threading
threading.stack_size(65536)
stop = threading.Event()
for _ in range(int(sys.argv[1]) - 1):
    threading.Thread(target=stop.wait, daemon=True).start()
print("ready", flush=True)
stop.wait()' $((threads / 100)) >"$out/ready.$n" &
	helpers+=($!)
done
until [ "$(cat "$out"/ready.* | wc -l)" -ge 100 ]; do sleep 0.2; done

for _ in 1 2 3; do
	python3 - "$kstack" "$out/big.tar.zst" <<-'END'
	import os, resource, subprocess, sys, time
	begin = time.time()
	subprocess.run([sys.argv[1], "capture", "-o", sys.argv[2]], check=True)
	took = time.time() - begin
	used = resource.getrusage(resource.RUSAGE_CHILDREN)
	size = os.path.getsize(sys.argv[2]) / 1e6
	print(f"wall {took:.2f} s, user {used.ru_utime:.2f} s, system {used.ru_stime:.2f} s, peak {used.ru_maxrss / 1024:.0f} MiB, file {size:.2f} MB")
	END
done
time "$kstack" group -q --no-local "$out/big.tar.zst" 2>/dev/null | head -n 1
kill "${helpers[@]}"
wait 2>/dev/null || true
helpers=()

# Processes that live for some milliseconds, begun in the same rhythm as they end.
(trap 'exit 0' TERM; while :; do for _ in 1 2 3 4 5 6 7 8; do sleep 0.01 & done; wait; done) 2>/dev/null &
helpers+=($!)
failed=0 vanished=0
for _ in $(seq "$times"); do
	"$kstack" capture -q -o "$out/load.tar.zst" || failed=$((failed + 1))
	zstd -dqf "$out/load.tar.zst" -o "$out/load.tar" && tar tf "$out/load.tar" >/dev/null || failed=$((failed + 1))
	count=$(tar xOf "$out/load.tar" manifest.json | python3 -c 'import json, sys; print(json.load(sys.stdin)["samples"][0]["vanished"])')
	vanished=$((vanished + count))
done
echo "$times captures under load: $failed failures, $vanished threads ended while they were read"
