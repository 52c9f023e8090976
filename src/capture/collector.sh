#!/bin/sh
# Collects what kstack reads from a running machine on which kstack is not installed, into one file.
# Usage, as root: sh collector.sh [FILE.tar.gz]
# Linux, FreeBSD, NetBSD, illumos, macOS. Needs a POSIX shell; without tar the result is a directory.
# What does not answer within a few seconds is left out and named in collector.log.

system=auto
limit=5
samples=1
# Where proc, sys and dev are; another place than / is for tests.
root=${KSTACK_ROOT:-}

umask 077
LC_ALL=C
export LC_ALL
[ "$system" = auto ] && system=$(uname -s)
case $1 in
-h | --help)
	echo "usage: $0 [FILE.tar.gz]"
	exit 0
	;;
esac
result=${1:-kstack-$(uname -n)-$(date -u +%Y%m%d-%H%M%S).tar.gz}
work=${TMPDIR:-/tmp}/kstack-collect-$$
out=$work/capture
child=

cleanup() {
	[ -n "$child" ] && kill -9 "$child" 2>/dev/null
	rm -rf "$work" "$result.part"
}
trap 'cleanup; trap - EXIT; exit 130' INT
trap 'cleanup; trap - EXIT; exit 143' TERM HUP
trap cleanup EXIT

if ! mkdir "$work" || ! mkdir "$out"; then
	echo "$0: $work cannot be made; set TMPDIR" >&2
	exit 1
fi

note() {
	printf '%s\n' "$*" >>"$out/collector.log"
}

# run SECONDS MEMBER COMMAND...: the output of a command as a member; whatever takes longer is killed, and what it said is kept.
run() {
	seconds=$1
	member=$2
	shift 2
	if ! command -v "$1" >/dev/null 2>&1; then
		note "$member: no command $1"
		return
	fi
	"$@" >"$out/$member" 2>"$work/errors" </dev/null &
	child=$!
	while kill -0 "$child" 2>/dev/null; do
		if [ "$seconds" -le 0 ]; then
			kill -9 "$child" 2>/dev/null
			note "$member: $* did not end in time"
			child=
			return
		fi
		# Short commands need not wait for a whole second, where sleep takes fractions.
		sleep 0.05 2>/dev/null || sleep 1
		tick=$((tick + 1))
		[ $((tick % 20)) -eq 0 ] && seconds=$((seconds - 1))
	done
	wait "$child" || note "$member: $* ended with status $?"
	child=
	[ -s "$work/errors" ] && note "$member: $(head -n 3 "$work/errors")"
	[ -s "$out/$member" ] || rm -f "$out/$member"
}
tick=0

# copy FROM TO: without another process, since there are many of them. What was read of a file that went away is removed.
copy() {
	if { while IFS= read -r line || [ -n "$line" ]; do printf '%s\n' "$line"; done <"$1"; } >"$2" 2>/dev/null && [ -s "$2" ]; then
		return 0
	fi
	rm -f "$2"
	return 1
}

# threads FIRST: copies the files of all threads of the list from number FIRST on, and says in a file where it is.
threads() {
	number=0
	last=
	while read -r pid tid; do
		number=$((number + 1))
		[ "$number" -lt "$1" ] && continue
		if [ "$pid" != "$last" ]; then
			last=$pid
			mkdir -p "$out/$sample/proc/$pid/task"
			# Names there are numbers. One process makes the folders of all threads.
			# shellcheck disable=SC2011
			(cd "$out/$sample/proc/$pid/task" && ls "$root/proc/$pid/task" 2>/dev/null | xargs mkdir 2>/dev/null)
			printf '%s cmdline\n' "$number" >"$work/progress"
			cat "$root/proc/$pid/cmdline" >"$out/$sample/proc/$pid/cmdline" 2>/dev/null
			printf '%s cgroup\n' "$number" >"$work/progress"
			copy "$root/proc/$pid/cgroup" "$out/$sample/proc/$pid/cgroup"
		fi
		from=$root/proc/$pid/task/$tid
		to=$out/$sample/proc/$pid/task/$tid
		[ -d "$to" ] || continue
		printf '%s stat\n' "$number" >"$work/progress"
		# Most threads that have ended are met here.
		[ -r "$from/stat" ] || continue
		copy "$from/stat" "$to/stat" || continue
		printf '%s stack\n' "$number" >"$work/progress"
		if [ -r "$from/stack" ]; then copy "$from/stack" "$to/stack"; fi
		printf '%s wchan\n' "$number" >"$work/progress"
		copy "$from/wchan" "$to/wchan"
		printf '%s comm\n' "$number" >"$work/progress"
		copy "$from/comm" "$to/comm"
	done <"$work/list"
	echo end >"$work/progress"
}

# all_threads: has a second process copy them. Where it stands still it is left behind, and another goes on with the next thread.
all_threads() {
	for task in "$root"/proc/[0-9]*/task/[0-9]*; do
		tid=${task##*/}
		pid=${task%/task/*}
		pid=${pid##*/}
		[ "$pid" = $$ ] || printf '%s %s\n' "$pid" "$tid"
	done >"$work/list"
	first=1
	while :; do
		echo "$first begin" >"$work/progress"
		threads "$first" 2>/dev/null &
		child=$!
		seen=
		still=0
		while kill -0 "$child" 2>/dev/null; do
			sleep 0.1 2>/dev/null || sleep 1
			tick=$((tick + 1))
			[ $((tick % 10)) -eq 0 ] || continue
			read -r now <"$work/progress"
			if [ "$now" = "$seen" ]; then still=$((still + 1)); else still=0; fi
			seen=$now
			[ "$still" -ge "$limit" ] && break
		done
		read -r now <"$work/progress"
		[ "$now" = end ] && break
		kill -9 "$child" 2>/dev/null
		child=
		first=${now%% *}
		note "$sample: thread $(sed -n "${first}p" "$work/list"): ${now#* } did not answer; its other files are not read"
		first=$((first + 1))
	done
	child=
}

linux() {
	root=${root%/}
	if [ ! -r "$root/proc/version" ]; then
		echo "$0: $root/proc/version cannot be read" >&2
		exit 1
	fi
	[ "$(id -u)" = 0 ] || note "not run by root: kernel stacks and addresses are hidden"
	n=0
	while [ "$n" -lt "$samples" ]; do
		sample=.
		[ "$samples" -gt 1 ] && sample=sample-$n
		all_threads
		n=$((n + 1))
		[ "$n" -lt "$samples" ] && sleep 2
	done
	mkdir -p "$out/proc/sys/kernel" "$out/sys/kernel"
	for file in version modules cmdline loadavg meminfo mounts sys/kernel/tainted; do
		run "$limit" "proc/$file" cat "$root/proc/$file"
	done
	# Symbols of data place nothing; without privilege all addresses are zero.
	run 30 proc/kallsyms grep -E '^0*[1-9a-f][0-9a-f]* [tTwW] ' "$root/proc/kallsyms"
	run "$limit" sys/kernel/notes cat "$root/sys/kernel/notes"
	run "$limit" os-release cat "$root/etc/os-release"
	run "$limit" uname uname -a
	run "$limit" dmesg dmesg -r
	[ -s "$out/dmesg" ] || run "$limit" dmesg dmesg
	run 30 sections.txt modules
	rm -f "$out/sections.txt"
}

# modules: sections and build ids of all modules.
modules() {
	for module in "$root"/sys/module/*; do
		[ -d "$module/sections" ] || [ -f "$module/notes/.note.gnu.build-id" ] || continue
		to=$out/sys/module/${module##*/}
		mkdir -p "$to/sections" "$to/notes"
		for section in "$module"/sections/* "$module"/sections/.[!.]*; do
			[ -f "$section" ] && copy "$section" "$to/sections/${section##*/}"
		done
		[ -f "$module/notes/.note.gnu.build-id" ] && cat "$module/notes/.note.gnu.build-id" >"$to/notes/.note.gnu.build-id"
	done
}

freebsd() {
	run 60 procstat-kk.txt procstat -kk -a
	run "$limit" kldstat.txt kldstat -v
	run "$limit" uname uname -a
	run "$limit" sysctl.txt sysctl kern.version kern.ident kern.bootfile kern.module_path
	run 20 ps.txt ps -axHo pid,lwp,state,wchan,comm
	run "$limit" dmesg dmesg
}

netbsd() {
	run "$limit" modstat.txt modstat
	run "$limit" modstat-k.txt modstat -k
	run "$limit" uname uname -a
	run "$limit" sysctl.txt sysctl kern.version
	run 20 ps.txt ps -axslo pid,lid,stat,wchan,comm
	run "$limit" dmesg dmesg
	# crash takes process numbers as hexadecimal unless 0t stands before them.
	{
		echo ps
		ps -axo pid= | while read -r pid; do echo "bt/t 0t$pid"; done
	} >"$work/commands"
	run 60 crash.txt crash_commands
}

crash_commands() {
	crash <"$work/commands"
}

illumos() {
	run 60 stacks.txt sh -c 'echo ::stacks | mdb -k'
	run 120 threadlist.txt sh -c 'echo ::threadlist -v | mdb -k'
	run 20 status.txt sh -c 'echo ::status | mdb -k'
	run "$limit" modinfo.txt modinfo
	run "$limit" uname uname -a
	run 20 ps.txt ps -efL
	run "$limit" dmesg dmesg
}

macos() {
	run 20 kextstat.txt kextstat
	run 20 kmutil-showloaded.txt kmutil showloaded
	run "$limit" sysctl.txt sysctl kern.version kern.uuid kern.osversion kern.bootsessionuuid hw.machine
	run "$limit" uname uname -a
	run "$limit" sw_vers.txt sw_vers
	# Until 10.9 there is stackshot, then spindump.
	if [ -x /usr/libexec/stackshot ]; then
		run 30 stackshot.err /usr/libexec/stackshot -i -f "$out/stackshot.log"
	else
		run 60 spindump.txt spindump -notarget 2 10 -stdout
	fi
	run 20 ps.txt ps -axM
}

case $system in
Linux | linux) linux ;;
FreeBSD | freebsd) freebsd ;;
NetBSD | netbsd) netbsd ;;
SunOS | illumos) illumos ;;
Darwin | macos) macos ;;
*)
	echo "$0: nothing is known of $system; it can collect on Linux, FreeBSD, NetBSD, illumos and macOS" >&2
	exit 1
	;;
esac
[ "$(id -u)" = 0 ] || echo "$0: not run by root, so that most kernel stacks are missing" >&2

if ! command -v tar >/dev/null 2>&1; then
	mv "$out" "${result%.tar.gz}" && echo "${result%.tar.gz}"
	exit
fi
if command -v gzip >/dev/null 2>&1; then
	(cd "$out" && tar cf - .) | gzip -c >"$result.part" || exit 1
else
	(cd "$out" && tar cf - .) >"$result.part" || exit 1
fi
mv "$result.part" "$result" && echo "$result"
