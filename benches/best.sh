# shellcheck shell=bash
# Sourced by the benchmarks. best NAME INPUT COMMAND...: best wall time of RUNS and the highest memory of any; a failing command counts
# only with TOLERATE=1.
best() {
	local name=$1 input=$2
	shift 2
	command -v "$1" >/dev/null || { echo "$name: $1 is not installed"; return 0; }
	python3 - "$name" "$input" "${RUNS:-5}" "$@" <<'PY'
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
        assert status == 0 or os.environ.get("TOLERATE"), (command[:3], status)
print(f"{name:52} {min(times) * 1000:9.1f} ms {peak / 1024:7.1f} MiB")
PY
}
