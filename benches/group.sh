#!/usr/bin/env bash
# Times grouping against the pipeline that people use, in one run; best of RUNS, wall clock and peak resident memory, and how many
# groups each finds.
# usage: KSTACK_PROC=DIR [KSTACK_DUMP=FILE] benches/group.sh
# KSTACK_PROC holds PID/task/TID/stack files as /proc does, KSTACK_DUMP is a sysrq-t dump of the same tasks.
set -euo pipefail
here=$(cd "$(dirname "$0")/.." && pwd)
proc=${KSTACK_PROC:?give a folder with PID/task/TID/stack in KSTACK_PROC}
cargo build --release --quiet --manifest-path "$here/Cargo.toml"
kstack=${CARGO_TARGET_DIR:-$here/target}/release/kstack
# shellcheck source=benches/best.sh
. "$here/benches/best.sh"

# shellcheck disable=SC2016 # the inner shell's own $0
pipeline='find "$0" -name stack -print0 | xargs -0 md5sum | sort | uniq -w32 -c | sort -rn'
groups() { "$kstack" group -q --format csv "$@" | tail -n +2 | wc -l; }

best "md5sum | sort | uniq, tree" /dev/null bash -c "$pipeline" "$proc"
best "kstack group, tree" /dev/null "$kstack" group -q "$proc"
[[ -z ${KSTACK_DUMP:-} ]] || best "kstack group, dump" /dev/null "$kstack" group -q "$KSTACK_DUMP"
printf 'groups: md5sum %s, kstack --by stack %s, kstack %s\n' "$(bash -c "$pipeline" "$proc" | wc -l)" \
	"$(groups --by stack "$proc")" "$(groups "$proc")"
[[ -z ${KSTACK_DUMP:-} ]] || printf 'groups in the dump: %s\n' "$(groups "$KSTACK_DUMP")"
printf 'grouping alone, parsed stacks of 20 frames (benches/group.rs):\n'
cargo bench --quiet --manifest-path "$here/Cargo.toml" --bench group
