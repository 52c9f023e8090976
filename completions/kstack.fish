# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_kstack_global_optspecs
    string join \n h/help V/version
end

function __fish_kstack_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_kstack_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_kstack_using_subcommand
    set -l cmd (__fish_kstack_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c kstack -n "__fish_kstack_needs_command" -s h -l help -d 'Print help'
complete -c kstack -n "__fish_kstack_needs_command" -s V -l version -d 'Print version'
complete -c kstack -n "__fish_kstack_needs_command" -f -a "symbolicate" -d 'Print the report again with every kernel frame named'
complete -c kstack -n "__fish_kstack_needs_command" -f -a "sym" -d 'Print the report again with every kernel frame named'
complete -c kstack -n "__fish_kstack_needs_command" -f -a "group" -d 'Show the distinct stacks, most frequent first'
complete -c kstack -n "__fish_kstack_needs_command" -f -a "diff" -d 'Compare two captures of one machine: what is stuck, what moves'
complete -c kstack -n "__fish_kstack_needs_command" -f -a "top" -d 'Count in how many stacks each function occurs'
complete -c kstack -n "__fish_kstack_needs_command" -f -a "flame" -d 'Write folded stacks, or draw a flame graph'
complete -c kstack -n "__fish_kstack_needs_command" -f -a "report" -d 'Write one HTML page with everything: groups, flame graph, images, the report\'s text'
complete -c kstack -n "__fish_kstack_needs_command" -f -a "modules" -d 'List every image with its load address, UUID and symbol file'
complete -c kstack -n "__fish_kstack_needs_command" -f -a "lookup" -d 'Resolve single addresses, or SYMBOL+OFFSET, in a whole kernel'
complete -c kstack -n "__fish_kstack_needs_command" -f -a "script" -d 'Write a script that loads every symbol file at its address in a debugger'
complete -c kstack -n "__fish_kstack_needs_command" -f -a "capture" -d 'Collect everything that the other commands need from this Linux machine into one file'
complete -c kstack -n "__fish_kstack_needs_command" -f -a "formats" -d 'List the formats, symbol files and outputs that are known'
complete -c kstack -n "__fish_kstack_needs_command" -f -a "completions" -d 'Print a completion script for a shell'
complete -c kstack -n "__fish_kstack_needs_command" -f -a "man" -d 'Print the manual page, or write all pages to a directory'
complete -c kstack -n "__fish_kstack_needs_command" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c kstack -n "__fish_kstack_using_subcommand symbolicate" -l format-in -d 'Read every report as this format instead of detecting it (see `kstack formats`)' -r -f -a "kstack-json\t''
darwin-stackshot-json\t''
darwin-kcdata\t''
darwin-panic\t''
darwin-stackshot-text\t''
darwin-spindump\t''
darwin-showallstacks\t''
darwin-zone-log\t''
darwin-zprint\t''
darwin-kextstat\t''
darwin-kextutil-info\t''
darwin-gdb-showallkmods\t''
darwin-lldb-showallkexts\t''
freebsd-kldstat\t''
netbsd-modstat\t''
linux-proc-modules\t''
linux-kallsyms\t''
linux-crash-mod\t''
crash-bt\t''
sdb-stacks\t''
drgn-bt\t''
gdb-bt\t''
lldb-bt\t''
illumos-modinfo\t''
illumos-stacks\t''
perf-script\t''
dtrace\t''
bpftrace\t''
bcc\t''
systemtap\t''
ftrace-stack\t''
linux-proc-stack\t''
freebsd\t''
netbsd\t''
openbsd\t''
kmemleak\t''
page-owner\t''
slub-traces\t''
fuchsia\t''
linux-log\t''
go-trace\t''
folded\t''
addresses\t''"
complete -c kstack -n "__fish_kstack_using_subcommand symbolicate" -s k -l kernel -d 'The kernel\'s symbol file: Mach-O, vmlinux, System.map or kallsyms; ADDR is where its __TEXT lies in memory' -r
complete -c kstack -n "__fish_kstack_using_subcommand symbolicate" -s m -l module -d 'One kext or module: a .kext or .dSYM bundle, a Mach-O or .sym file, a .ko, packed or not' -r
complete -c kstack -n "__fish_kstack_using_subcommand symbolicate" -s l -l load-map -d 'Load addresses: kextstat, kmutil showloaded, showallkmods, /proc/modules, kallsyms, a tree of /sys/module; kind detected' -r -F
complete -c kstack -n "__fish_kstack_using_subcommand symbolicate" -s S -l symbols -d 'Look for symbol files below this directory, by UUID first and by name second' -r -F
complete -c kstack -n "__fish_kstack_using_subcommand symbolicate" -l slide -d 'The kernel slide, or `auto`: from the report, else from frames that name both a symbol and an address' -r
complete -c kstack -n "__fish_kstack_using_subcommand symbolicate" -l local-root -d 'Where /usr/lib/debug, /lib/modules and /boot are, for tests' -r -F
complete -c kstack -n "__fish_kstack_using_subcommand symbolicate" -l debuginfod -d 'Fetch missing debug info by build id through debuginfod-find: always (the meaning without WHEN), never (without this option), or auto: when DEBUGINFOD_URLS is set' -r -f -a "always\t''
auto\t''
never\t''"
complete -c kstack -n "__fish_kstack_using_subcommand symbolicate" -l debuginfod-timeout -d 'Give up on one file after this many seconds' -r
complete -c kstack -n "__fish_kstack_using_subcommand symbolicate" -l in-module -d 'Stacks with a frame in this module or image, `kernel` for the kernel itself; the same as --module with a bare name' -r
complete -c kstack -n "__fish_kstack_using_subcommand symbolicate" -l caller -d 'Stacks that run through this function, with +0xOFFSET through that very call' -r
complete -c kstack -n "__fish_kstack_using_subcommand symbolicate" -l frame -l called-from -d 'Stacks with a frame, written `function [module]`, that matches' -r
complete -c kstack -n "__fish_kstack_using_subcommand symbolicate" -l task -d 'Stacks whose process or thread name matches' -r
complete -c kstack -n "__fish_kstack_using_subcommand symbolicate" -l pid -d 'Stacks of this process id' -r
complete -c kstack -n "__fish_kstack_using_subcommand symbolicate" -l tid -d 'Stacks of this thread id' -r
complete -c kstack -n "__fish_kstack_using_subcommand symbolicate" -l state -d 'Stacks in this state, or with this flag in it: D, TH_UNINT' -r
complete -c kstack -n "__fish_kstack_using_subcommand symbolicate" -l wchan -d 'Stacks whose wait channel matches' -r
complete -c kstack -n "__fish_kstack_using_subcommand symbolicate" -l kind -d 'Stacks of this kind: thread, crash, irq, alloc, free, lock, sample' -r
complete -c kstack -n "__fish_kstack_using_subcommand symbolicate" -l min-count -d 'Stacks that at least this many threads share, by their functions' -r
complete -c kstack -n "__fish_kstack_using_subcommand symbolicate" -l skip-list -d 'Functions and files that are never guilty of a crash, besides those that kstack knows' -r -F
complete -c kstack -n "__fish_kstack_using_subcommand symbolicate" -l source -d 'Show the source of each location, N lines above and below it, where the file is found' -r
complete -c kstack -n "__fish_kstack_using_subcommand symbolicate" -l source-map -d 'Where sources lie: TO instead of FROM at the beginning of a path; without FROM, a checkout to look in' -r
complete -c kstack -n "__fish_kstack_using_subcommand symbolicate" -l links -d 'Make locations links to their source files, for terminals that know OSC 8' -r -f -a "auto\t''
always\t''
never\t''"
complete -c kstack -n "__fish_kstack_using_subcommand symbolicate" -s o -l output -d 'Write to FILE, which appears whole or not at all' -r -F
complete -c kstack -n "__fish_kstack_using_subcommand symbolicate" -l color -d 'Colour' -r -f -a "auto\t''
always\t''
never\t''"
complete -c kstack -n "__fish_kstack_using_subcommand symbolicate" -l format -d 'Form of the output' -r -f -a "text\t''
json\t''
ndjson\t''"
complete -c kstack -n "__fish_kstack_using_subcommand symbolicate" -l frames -d 'Idiom of the frames in text; by default that of the report\'s system' -r -f -a "atos\t''
linux\t''
gnu\t''
full\t''"
complete -c kstack -n "__fish_kstack_using_subcommand symbolicate" -l no-local -d 'Do not look for what this machine has installed for the report\'s kernel (/usr/lib/debug, /lib/modules, /boot); as KSTACK_NO_LOCAL=1 does'
complete -c kstack -n "__fish_kstack_using_subcommand symbolicate" -l allow-mismatch -d 'Use a symbol file although its UUID or the report\'s own frames say that it is another build'
complete -c kstack -n "__fish_kstack_using_subcommand symbolicate" -s q -l quiet -d 'Say nothing on standard error but errors'
complete -c kstack -n "__fish_kstack_using_subcommand symbolicate" -l no-demangle -d 'Leave C++ and Rust names as they are in the symbol file'
complete -c kstack -n "__fish_kstack_using_subcommand symbolicate" -l code -d 'Disassemble the `Code:` lines of an oops, as scripts/decodecode does: below each line in text, with the stack in JSON'
complete -c kstack -n "__fish_kstack_using_subcommand symbolicate" -l no-explain -d 'Put nothing below lines with registers and codes (trap numbers, error codes, ESR), which are explained in words otherwise'
complete -c kstack -n "__fish_kstack_using_subcommand symbolicate" -l strict -d 'Exit with status 3 when a kernel frame stayed unresolved or unverified'
complete -c kstack -n "__fish_kstack_using_subcommand symbolicate" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c kstack -n "__fish_kstack_using_subcommand sym" -l format-in -d 'Read every report as this format instead of detecting it (see `kstack formats`)' -r -f -a "kstack-json\t''
darwin-stackshot-json\t''
darwin-kcdata\t''
darwin-panic\t''
darwin-stackshot-text\t''
darwin-spindump\t''
darwin-showallstacks\t''
darwin-zone-log\t''
darwin-zprint\t''
darwin-kextstat\t''
darwin-kextutil-info\t''
darwin-gdb-showallkmods\t''
darwin-lldb-showallkexts\t''
freebsd-kldstat\t''
netbsd-modstat\t''
linux-proc-modules\t''
linux-kallsyms\t''
linux-crash-mod\t''
crash-bt\t''
sdb-stacks\t''
drgn-bt\t''
gdb-bt\t''
lldb-bt\t''
illumos-modinfo\t''
illumos-stacks\t''
perf-script\t''
dtrace\t''
bpftrace\t''
bcc\t''
systemtap\t''
ftrace-stack\t''
linux-proc-stack\t''
freebsd\t''
netbsd\t''
openbsd\t''
kmemleak\t''
page-owner\t''
slub-traces\t''
fuchsia\t''
linux-log\t''
go-trace\t''
folded\t''
addresses\t''"
complete -c kstack -n "__fish_kstack_using_subcommand sym" -s k -l kernel -d 'The kernel\'s symbol file: Mach-O, vmlinux, System.map or kallsyms; ADDR is where its __TEXT lies in memory' -r
complete -c kstack -n "__fish_kstack_using_subcommand sym" -s m -l module -d 'One kext or module: a .kext or .dSYM bundle, a Mach-O or .sym file, a .ko, packed or not' -r
complete -c kstack -n "__fish_kstack_using_subcommand sym" -s l -l load-map -d 'Load addresses: kextstat, kmutil showloaded, showallkmods, /proc/modules, kallsyms, a tree of /sys/module; kind detected' -r -F
complete -c kstack -n "__fish_kstack_using_subcommand sym" -s S -l symbols -d 'Look for symbol files below this directory, by UUID first and by name second' -r -F
complete -c kstack -n "__fish_kstack_using_subcommand sym" -l slide -d 'The kernel slide, or `auto`: from the report, else from frames that name both a symbol and an address' -r
complete -c kstack -n "__fish_kstack_using_subcommand sym" -l local-root -d 'Where /usr/lib/debug, /lib/modules and /boot are, for tests' -r -F
complete -c kstack -n "__fish_kstack_using_subcommand sym" -l debuginfod -d 'Fetch missing debug info by build id through debuginfod-find: always (the meaning without WHEN), never (without this option), or auto: when DEBUGINFOD_URLS is set' -r -f -a "always\t''
auto\t''
never\t''"
complete -c kstack -n "__fish_kstack_using_subcommand sym" -l debuginfod-timeout -d 'Give up on one file after this many seconds' -r
complete -c kstack -n "__fish_kstack_using_subcommand sym" -l in-module -d 'Stacks with a frame in this module or image, `kernel` for the kernel itself; the same as --module with a bare name' -r
complete -c kstack -n "__fish_kstack_using_subcommand sym" -l caller -d 'Stacks that run through this function, with +0xOFFSET through that very call' -r
complete -c kstack -n "__fish_kstack_using_subcommand sym" -l frame -l called-from -d 'Stacks with a frame, written `function [module]`, that matches' -r
complete -c kstack -n "__fish_kstack_using_subcommand sym" -l task -d 'Stacks whose process or thread name matches' -r
complete -c kstack -n "__fish_kstack_using_subcommand sym" -l pid -d 'Stacks of this process id' -r
complete -c kstack -n "__fish_kstack_using_subcommand sym" -l tid -d 'Stacks of this thread id' -r
complete -c kstack -n "__fish_kstack_using_subcommand sym" -l state -d 'Stacks in this state, or with this flag in it: D, TH_UNINT' -r
complete -c kstack -n "__fish_kstack_using_subcommand sym" -l wchan -d 'Stacks whose wait channel matches' -r
complete -c kstack -n "__fish_kstack_using_subcommand sym" -l kind -d 'Stacks of this kind: thread, crash, irq, alloc, free, lock, sample' -r
complete -c kstack -n "__fish_kstack_using_subcommand sym" -l min-count -d 'Stacks that at least this many threads share, by their functions' -r
complete -c kstack -n "__fish_kstack_using_subcommand sym" -l skip-list -d 'Functions and files that are never guilty of a crash, besides those that kstack knows' -r -F
complete -c kstack -n "__fish_kstack_using_subcommand sym" -l source -d 'Show the source of each location, N lines above and below it, where the file is found' -r
complete -c kstack -n "__fish_kstack_using_subcommand sym" -l source-map -d 'Where sources lie: TO instead of FROM at the beginning of a path; without FROM, a checkout to look in' -r
complete -c kstack -n "__fish_kstack_using_subcommand sym" -l links -d 'Make locations links to their source files, for terminals that know OSC 8' -r -f -a "auto\t''
always\t''
never\t''"
complete -c kstack -n "__fish_kstack_using_subcommand sym" -s o -l output -d 'Write to FILE, which appears whole or not at all' -r -F
complete -c kstack -n "__fish_kstack_using_subcommand sym" -l color -d 'Colour' -r -f -a "auto\t''
always\t''
never\t''"
complete -c kstack -n "__fish_kstack_using_subcommand sym" -l format -d 'Form of the output' -r -f -a "text\t''
json\t''
ndjson\t''"
complete -c kstack -n "__fish_kstack_using_subcommand sym" -l frames -d 'Idiom of the frames in text; by default that of the report\'s system' -r -f -a "atos\t''
linux\t''
gnu\t''
full\t''"
complete -c kstack -n "__fish_kstack_using_subcommand sym" -l no-local -d 'Do not look for what this machine has installed for the report\'s kernel (/usr/lib/debug, /lib/modules, /boot); as KSTACK_NO_LOCAL=1 does'
complete -c kstack -n "__fish_kstack_using_subcommand sym" -l allow-mismatch -d 'Use a symbol file although its UUID or the report\'s own frames say that it is another build'
complete -c kstack -n "__fish_kstack_using_subcommand sym" -s q -l quiet -d 'Say nothing on standard error but errors'
complete -c kstack -n "__fish_kstack_using_subcommand sym" -l no-demangle -d 'Leave C++ and Rust names as they are in the symbol file'
complete -c kstack -n "__fish_kstack_using_subcommand sym" -l code -d 'Disassemble the `Code:` lines of an oops, as scripts/decodecode does: below each line in text, with the stack in JSON'
complete -c kstack -n "__fish_kstack_using_subcommand sym" -l no-explain -d 'Put nothing below lines with registers and codes (trap numbers, error codes, ESR), which are explained in words otherwise'
complete -c kstack -n "__fish_kstack_using_subcommand sym" -l strict -d 'Exit with status 3 when a kernel frame stayed unresolved or unverified'
complete -c kstack -n "__fish_kstack_using_subcommand sym" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c kstack -n "__fish_kstack_using_subcommand group" -l format-in -d 'Read every report as this format instead of detecting it (see `kstack formats`)' -r -f -a "kstack-json\t''
darwin-stackshot-json\t''
darwin-kcdata\t''
darwin-panic\t''
darwin-stackshot-text\t''
darwin-spindump\t''
darwin-showallstacks\t''
darwin-zone-log\t''
darwin-zprint\t''
darwin-kextstat\t''
darwin-kextutil-info\t''
darwin-gdb-showallkmods\t''
darwin-lldb-showallkexts\t''
freebsd-kldstat\t''
netbsd-modstat\t''
linux-proc-modules\t''
linux-kallsyms\t''
linux-crash-mod\t''
crash-bt\t''
sdb-stacks\t''
drgn-bt\t''
gdb-bt\t''
lldb-bt\t''
illumos-modinfo\t''
illumos-stacks\t''
perf-script\t''
dtrace\t''
bpftrace\t''
bcc\t''
systemtap\t''
ftrace-stack\t''
linux-proc-stack\t''
freebsd\t''
netbsd\t''
openbsd\t''
kmemleak\t''
page-owner\t''
slub-traces\t''
fuchsia\t''
linux-log\t''
go-trace\t''
folded\t''
addresses\t''"
complete -c kstack -n "__fish_kstack_using_subcommand group" -s k -l kernel -d 'The kernel\'s symbol file: Mach-O, vmlinux, System.map or kallsyms; ADDR is where its __TEXT lies in memory' -r
complete -c kstack -n "__fish_kstack_using_subcommand group" -s m -l module -d 'One kext or module: a .kext or .dSYM bundle, a Mach-O or .sym file, a .ko, packed or not' -r
complete -c kstack -n "__fish_kstack_using_subcommand group" -s l -l load-map -d 'Load addresses: kextstat, kmutil showloaded, showallkmods, /proc/modules, kallsyms, a tree of /sys/module; kind detected' -r -F
complete -c kstack -n "__fish_kstack_using_subcommand group" -s S -l symbols -d 'Look for symbol files below this directory, by UUID first and by name second' -r -F
complete -c kstack -n "__fish_kstack_using_subcommand group" -l slide -d 'The kernel slide, or `auto`: from the report, else from frames that name both a symbol and an address' -r
complete -c kstack -n "__fish_kstack_using_subcommand group" -l local-root -d 'Where /usr/lib/debug, /lib/modules and /boot are, for tests' -r -F
complete -c kstack -n "__fish_kstack_using_subcommand group" -l debuginfod -d 'Fetch missing debug info by build id through debuginfod-find: always (the meaning without WHEN), never (without this option), or auto: when DEBUGINFOD_URLS is set' -r -f -a "always\t''
auto\t''
never\t''"
complete -c kstack -n "__fish_kstack_using_subcommand group" -l debuginfod-timeout -d 'Give up on one file after this many seconds' -r
complete -c kstack -n "__fish_kstack_using_subcommand group" -l in-module -d 'Stacks with a frame in this module or image, `kernel` for the kernel itself; the same as --module with a bare name' -r
complete -c kstack -n "__fish_kstack_using_subcommand group" -l caller -d 'Stacks that run through this function, with +0xOFFSET through that very call' -r
complete -c kstack -n "__fish_kstack_using_subcommand group" -l frame -l called-from -d 'Stacks with a frame, written `function [module]`, that matches' -r
complete -c kstack -n "__fish_kstack_using_subcommand group" -l task -d 'Stacks whose process or thread name matches' -r
complete -c kstack -n "__fish_kstack_using_subcommand group" -l pid -d 'Stacks of this process id' -r
complete -c kstack -n "__fish_kstack_using_subcommand group" -l tid -d 'Stacks of this thread id' -r
complete -c kstack -n "__fish_kstack_using_subcommand group" -l state -d 'Stacks in this state, or with this flag in it: D, TH_UNINT' -r
complete -c kstack -n "__fish_kstack_using_subcommand group" -l wchan -d 'Stacks whose wait channel matches' -r
complete -c kstack -n "__fish_kstack_using_subcommand group" -l kind -d 'Stacks of this kind: thread, crash, irq, alloc, free, lock, sample' -r
complete -c kstack -n "__fish_kstack_using_subcommand group" -l min-count -d 'Stacks that at least this many threads share, by their functions' -r
complete -c kstack -n "__fish_kstack_using_subcommand group" -l skip-list -d 'Functions and files that are never guilty of a crash, besides those that kstack knows' -r -F
complete -c kstack -n "__fish_kstack_using_subcommand group" -l source -d 'Show the source of each location, N lines above and below it, where the file is found' -r
complete -c kstack -n "__fish_kstack_using_subcommand group" -l source-map -d 'Where sources lie: TO instead of FROM at the beginning of a path; without FROM, a checkout to look in' -r
complete -c kstack -n "__fish_kstack_using_subcommand group" -l links -d 'Make locations links to their source files, for terminals that know OSC 8' -r -f -a "auto\t''
always\t''
never\t''"
complete -c kstack -n "__fish_kstack_using_subcommand group" -l weight -d 'What stacks count for: count (threads, samples, records, objects) or bytes, in reports of memory' -r
complete -c kstack -n "__fish_kstack_using_subcommand group" -s o -l output -d 'Write to FILE, which appears whole or not at all' -r -F
complete -c kstack -n "__fish_kstack_using_subcommand group" -l color -d 'Colour' -r -f -a "auto\t''
always\t''
never\t''"
complete -c kstack -n "__fish_kstack_using_subcommand group" -l by -d 'What makes stacks the same: functions, stack (offsets too), module, top:N functions from the interesting one on, wchan, state, process' -r
complete -c kstack -n "__fish_kstack_using_subcommand group" -l format -d 'Form of the output' -r -f -a "text\t''
table\t''
json\t''
ndjson\t''
markdown\t''
csv\t''"
complete -c kstack -n "__fish_kstack_using_subcommand group" -l plumbing -d 'Functions that only stand for waiting, one a line, instead of the list that is built in' -r -F
complete -c kstack -n "__fish_kstack_using_subcommand group" -l no-local -d 'Do not look for what this machine has installed for the report\'s kernel (/usr/lib/debug, /lib/modules, /boot); as KSTACK_NO_LOCAL=1 does'
complete -c kstack -n "__fish_kstack_using_subcommand group" -l allow-mismatch -d 'Use a symbol file although its UUID or the report\'s own frames say that it is another build'
complete -c kstack -n "__fish_kstack_using_subcommand group" -l all-samples -d 'Count the threads of every sample of a capture; without it those of the last one, so that each thread counts once'
complete -c kstack -n "__fish_kstack_using_subcommand group" -s q -l quiet -d 'Say nothing on standard error but errors'
complete -c kstack -n "__fish_kstack_using_subcommand group" -l all-members -d 'List every member of a group, not the first few'
complete -c kstack -n "__fish_kstack_using_subcommand group" -l all-frames -d 'Show the frames of waiting and the unreliable ones too'
complete -c kstack -n "__fish_kstack_using_subcommand group" -l triage -d 'Say what the report looks like (crash, lockup, deadlock, storage, userspace) and on which lines that rests'
complete -c kstack -n "__fish_kstack_using_subcommand group" -l dot -d 'Write who waits for whom as a graph for Graphviz, a deadlock in red, and nothing else'
complete -c kstack -n "__fish_kstack_using_subcommand group" -l similar -d 'Put groups that differ in one or two frames under one heading, the differing frames marked'
complete -c kstack -n "__fish_kstack_using_subcommand group" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c kstack -n "__fish_kstack_using_subcommand diff" -l format-in -d 'Read both as this format instead of detecting it (see `kstack formats`)' -r -f -a "kstack-json\t''
darwin-stackshot-json\t''
darwin-kcdata\t''
darwin-panic\t''
darwin-stackshot-text\t''
darwin-spindump\t''
darwin-showallstacks\t''
darwin-zone-log\t''
darwin-zprint\t''
darwin-kextstat\t''
darwin-kextutil-info\t''
darwin-gdb-showallkmods\t''
darwin-lldb-showallkexts\t''
freebsd-kldstat\t''
netbsd-modstat\t''
linux-proc-modules\t''
linux-kallsyms\t''
linux-crash-mod\t''
crash-bt\t''
sdb-stacks\t''
drgn-bt\t''
gdb-bt\t''
lldb-bt\t''
illumos-modinfo\t''
illumos-stacks\t''
perf-script\t''
dtrace\t''
bpftrace\t''
bcc\t''
systemtap\t''
ftrace-stack\t''
linux-proc-stack\t''
freebsd\t''
netbsd\t''
openbsd\t''
kmemleak\t''
page-owner\t''
slub-traces\t''
fuchsia\t''
linux-log\t''
go-trace\t''
folded\t''
addresses\t''"
complete -c kstack -n "__fish_kstack_using_subcommand diff" -s k -l kernel -d 'The kernel\'s symbol file: Mach-O, vmlinux, System.map or kallsyms; ADDR is where its __TEXT lies in memory' -r
complete -c kstack -n "__fish_kstack_using_subcommand diff" -s m -l module -d 'One kext or module: a .kext or .dSYM bundle, a Mach-O or .sym file, a .ko, packed or not' -r
complete -c kstack -n "__fish_kstack_using_subcommand diff" -s l -l load-map -d 'Load addresses: kextstat, kmutil showloaded, showallkmods, /proc/modules, kallsyms, a tree of /sys/module; kind detected' -r -F
complete -c kstack -n "__fish_kstack_using_subcommand diff" -s S -l symbols -d 'Look for symbol files below this directory, by UUID first and by name second' -r -F
complete -c kstack -n "__fish_kstack_using_subcommand diff" -l slide -d 'The kernel slide, or `auto`: from the report, else from frames that name both a symbol and an address' -r
complete -c kstack -n "__fish_kstack_using_subcommand diff" -l local-root -d 'Where /usr/lib/debug, /lib/modules and /boot are, for tests' -r -F
complete -c kstack -n "__fish_kstack_using_subcommand diff" -l debuginfod -d 'Fetch missing debug info by build id through debuginfod-find: always (the meaning without WHEN), never (without this option), or auto: when DEBUGINFOD_URLS is set' -r -f -a "always\t''
auto\t''
never\t''"
complete -c kstack -n "__fish_kstack_using_subcommand diff" -l debuginfod-timeout -d 'Give up on one file after this many seconds' -r
complete -c kstack -n "__fish_kstack_using_subcommand diff" -l in-module -d 'Stacks with a frame in this module or image, `kernel` for the kernel itself; the same as --module with a bare name' -r
complete -c kstack -n "__fish_kstack_using_subcommand diff" -l caller -d 'Stacks that run through this function, with +0xOFFSET through that very call' -r
complete -c kstack -n "__fish_kstack_using_subcommand diff" -l frame -l called-from -d 'Stacks with a frame, written `function [module]`, that matches' -r
complete -c kstack -n "__fish_kstack_using_subcommand diff" -l task -d 'Stacks whose process or thread name matches' -r
complete -c kstack -n "__fish_kstack_using_subcommand diff" -l pid -d 'Stacks of this process id' -r
complete -c kstack -n "__fish_kstack_using_subcommand diff" -l tid -d 'Stacks of this thread id' -r
complete -c kstack -n "__fish_kstack_using_subcommand diff" -l state -d 'Stacks in this state, or with this flag in it: D, TH_UNINT' -r
complete -c kstack -n "__fish_kstack_using_subcommand diff" -l wchan -d 'Stacks whose wait channel matches' -r
complete -c kstack -n "__fish_kstack_using_subcommand diff" -l kind -d 'Stacks of this kind: thread, crash, irq, alloc, free, lock, sample' -r
complete -c kstack -n "__fish_kstack_using_subcommand diff" -l min-count -d 'Stacks that at least this many threads share, by their functions' -r
complete -c kstack -n "__fish_kstack_using_subcommand diff" -l skip-list -d 'Functions and files that are never guilty of a crash, besides those that kstack knows' -r -F
complete -c kstack -n "__fish_kstack_using_subcommand diff" -s o -l output -d 'Write to FILE, which appears whole or not at all' -r -F
complete -c kstack -n "__fish_kstack_using_subcommand diff" -l color -d 'Colour' -r -f -a "auto\t''
always\t''
never\t''"
complete -c kstack -n "__fish_kstack_using_subcommand diff" -l format -d 'Form of the output' -r -f -a "text\t''
json\t''"
complete -c kstack -n "__fish_kstack_using_subcommand diff" -l no-local -d 'Do not look for what this machine has installed for the report\'s kernel (/usr/lib/debug, /lib/modules, /boot); as KSTACK_NO_LOCAL=1 does'
complete -c kstack -n "__fish_kstack_using_subcommand diff" -l allow-mismatch -d 'Use a symbol file although its UUID or the report\'s own frames say that it is another build'
complete -c kstack -n "__fish_kstack_using_subcommand diff" -s q -l quiet -d 'Say nothing on standard error but errors'
complete -c kstack -n "__fish_kstack_using_subcommand diff" -l all-members -d 'Name every thread, not the first few of each place'
complete -c kstack -n "__fish_kstack_using_subcommand diff" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c kstack -n "__fish_kstack_using_subcommand top" -l format-in -d 'Read every report as this format instead of detecting it (see `kstack formats`)' -r -f -a "kstack-json\t''
darwin-stackshot-json\t''
darwin-kcdata\t''
darwin-panic\t''
darwin-stackshot-text\t''
darwin-spindump\t''
darwin-showallstacks\t''
darwin-zone-log\t''
darwin-zprint\t''
darwin-kextstat\t''
darwin-kextutil-info\t''
darwin-gdb-showallkmods\t''
darwin-lldb-showallkexts\t''
freebsd-kldstat\t''
netbsd-modstat\t''
linux-proc-modules\t''
linux-kallsyms\t''
linux-crash-mod\t''
crash-bt\t''
sdb-stacks\t''
drgn-bt\t''
gdb-bt\t''
lldb-bt\t''
illumos-modinfo\t''
illumos-stacks\t''
perf-script\t''
dtrace\t''
bpftrace\t''
bcc\t''
systemtap\t''
ftrace-stack\t''
linux-proc-stack\t''
freebsd\t''
netbsd\t''
openbsd\t''
kmemleak\t''
page-owner\t''
slub-traces\t''
fuchsia\t''
linux-log\t''
go-trace\t''
folded\t''
addresses\t''"
complete -c kstack -n "__fish_kstack_using_subcommand top" -s k -l kernel -d 'The kernel\'s symbol file: Mach-O, vmlinux, System.map or kallsyms; ADDR is where its __TEXT lies in memory' -r
complete -c kstack -n "__fish_kstack_using_subcommand top" -s m -l module -d 'One kext or module: a .kext or .dSYM bundle, a Mach-O or .sym file, a .ko, packed or not' -r
complete -c kstack -n "__fish_kstack_using_subcommand top" -s l -l load-map -d 'Load addresses: kextstat, kmutil showloaded, showallkmods, /proc/modules, kallsyms, a tree of /sys/module; kind detected' -r -F
complete -c kstack -n "__fish_kstack_using_subcommand top" -s S -l symbols -d 'Look for symbol files below this directory, by UUID first and by name second' -r -F
complete -c kstack -n "__fish_kstack_using_subcommand top" -l slide -d 'The kernel slide, or `auto`: from the report, else from frames that name both a symbol and an address' -r
complete -c kstack -n "__fish_kstack_using_subcommand top" -l local-root -d 'Where /usr/lib/debug, /lib/modules and /boot are, for tests' -r -F
complete -c kstack -n "__fish_kstack_using_subcommand top" -l debuginfod -d 'Fetch missing debug info by build id through debuginfod-find: always (the meaning without WHEN), never (without this option), or auto: when DEBUGINFOD_URLS is set' -r -f -a "always\t''
auto\t''
never\t''"
complete -c kstack -n "__fish_kstack_using_subcommand top" -l debuginfod-timeout -d 'Give up on one file after this many seconds' -r
complete -c kstack -n "__fish_kstack_using_subcommand top" -l in-module -d 'Stacks with a frame in this module or image, `kernel` for the kernel itself; the same as --module with a bare name' -r
complete -c kstack -n "__fish_kstack_using_subcommand top" -l caller -d 'Stacks that run through this function, with +0xOFFSET through that very call' -r
complete -c kstack -n "__fish_kstack_using_subcommand top" -l frame -l called-from -d 'Stacks with a frame, written `function [module]`, that matches' -r
complete -c kstack -n "__fish_kstack_using_subcommand top" -l task -d 'Stacks whose process or thread name matches' -r
complete -c kstack -n "__fish_kstack_using_subcommand top" -l pid -d 'Stacks of this process id' -r
complete -c kstack -n "__fish_kstack_using_subcommand top" -l tid -d 'Stacks of this thread id' -r
complete -c kstack -n "__fish_kstack_using_subcommand top" -l state -d 'Stacks in this state, or with this flag in it: D, TH_UNINT' -r
complete -c kstack -n "__fish_kstack_using_subcommand top" -l wchan -d 'Stacks whose wait channel matches' -r
complete -c kstack -n "__fish_kstack_using_subcommand top" -l kind -d 'Stacks of this kind: thread, crash, irq, alloc, free, lock, sample' -r
complete -c kstack -n "__fish_kstack_using_subcommand top" -l min-count -d 'Stacks that at least this many threads share, by their functions' -r
complete -c kstack -n "__fish_kstack_using_subcommand top" -l skip-list -d 'Functions and files that are never guilty of a crash, besides those that kstack knows' -r -F
complete -c kstack -n "__fish_kstack_using_subcommand top" -l weight -d 'What stacks count for: count (threads, samples, records, objects) or bytes, in reports of memory' -r
complete -c kstack -n "__fish_kstack_using_subcommand top" -s o -l output -d 'Write to FILE, which appears whole or not at all' -r -F
complete -c kstack -n "__fish_kstack_using_subcommand top" -l color -d 'Colour' -r -f -a "auto\t''
always\t''
never\t''"
complete -c kstack -n "__fish_kstack_using_subcommand top" -l pc -d 'Say only in how many stacks this address occurs' -r
complete -c kstack -n "__fish_kstack_using_subcommand top" -l function -d 'Say only in how many stacks this function occurs; NAME, or `NAME [MODULE]`' -r
complete -c kstack -n "__fish_kstack_using_subcommand top" -s n -l rows -d 'Rows of the table; 0 for all' -r
complete -c kstack -n "__fish_kstack_using_subcommand top" -l format -d 'Form of the output' -r -f -a "text\t''
json\t''
ndjson\t''
markdown\t''
csv\t''"
complete -c kstack -n "__fish_kstack_using_subcommand top" -l no-local -d 'Do not look for what this machine has installed for the report\'s kernel (/usr/lib/debug, /lib/modules, /boot); as KSTACK_NO_LOCAL=1 does'
complete -c kstack -n "__fish_kstack_using_subcommand top" -l allow-mismatch -d 'Use a symbol file although its UUID or the report\'s own frames say that it is another build'
complete -c kstack -n "__fish_kstack_using_subcommand top" -l all-samples -d 'Count the threads of every sample of a capture; without it those of the last one, so that each thread counts once'
complete -c kstack -n "__fish_kstack_using_subcommand top" -s q -l quiet -d 'Say nothing on standard error but errors'
complete -c kstack -n "__fish_kstack_using_subcommand top" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c kstack -n "__fish_kstack_using_subcommand flame" -l format-in -d 'Read every report as this format instead of detecting it (see `kstack formats`)' -r -f -a "kstack-json\t''
darwin-stackshot-json\t''
darwin-kcdata\t''
darwin-panic\t''
darwin-stackshot-text\t''
darwin-spindump\t''
darwin-showallstacks\t''
darwin-zone-log\t''
darwin-zprint\t''
darwin-kextstat\t''
darwin-kextutil-info\t''
darwin-gdb-showallkmods\t''
darwin-lldb-showallkexts\t''
freebsd-kldstat\t''
netbsd-modstat\t''
linux-proc-modules\t''
linux-kallsyms\t''
linux-crash-mod\t''
crash-bt\t''
sdb-stacks\t''
drgn-bt\t''
gdb-bt\t''
lldb-bt\t''
illumos-modinfo\t''
illumos-stacks\t''
perf-script\t''
dtrace\t''
bpftrace\t''
bcc\t''
systemtap\t''
ftrace-stack\t''
linux-proc-stack\t''
freebsd\t''
netbsd\t''
openbsd\t''
kmemleak\t''
page-owner\t''
slub-traces\t''
fuchsia\t''
linux-log\t''
go-trace\t''
folded\t''
addresses\t''"
complete -c kstack -n "__fish_kstack_using_subcommand flame" -s k -l kernel -d 'The kernel\'s symbol file: Mach-O, vmlinux, System.map or kallsyms; ADDR is where its __TEXT lies in memory' -r
complete -c kstack -n "__fish_kstack_using_subcommand flame" -s m -l module -d 'One kext or module: a .kext or .dSYM bundle, a Mach-O or .sym file, a .ko, packed or not' -r
complete -c kstack -n "__fish_kstack_using_subcommand flame" -s l -l load-map -d 'Load addresses: kextstat, kmutil showloaded, showallkmods, /proc/modules, kallsyms, a tree of /sys/module; kind detected' -r -F
complete -c kstack -n "__fish_kstack_using_subcommand flame" -s S -l symbols -d 'Look for symbol files below this directory, by UUID first and by name second' -r -F
complete -c kstack -n "__fish_kstack_using_subcommand flame" -l slide -d 'The kernel slide, or `auto`: from the report, else from frames that name both a symbol and an address' -r
complete -c kstack -n "__fish_kstack_using_subcommand flame" -l local-root -d 'Where /usr/lib/debug, /lib/modules and /boot are, for tests' -r -F
complete -c kstack -n "__fish_kstack_using_subcommand flame" -l debuginfod -d 'Fetch missing debug info by build id through debuginfod-find: always (the meaning without WHEN), never (without this option), or auto: when DEBUGINFOD_URLS is set' -r -f -a "always\t''
auto\t''
never\t''"
complete -c kstack -n "__fish_kstack_using_subcommand flame" -l debuginfod-timeout -d 'Give up on one file after this many seconds' -r
complete -c kstack -n "__fish_kstack_using_subcommand flame" -l in-module -d 'Stacks with a frame in this module or image, `kernel` for the kernel itself; the same as --module with a bare name' -r
complete -c kstack -n "__fish_kstack_using_subcommand flame" -l caller -d 'Stacks that run through this function, with +0xOFFSET through that very call' -r
complete -c kstack -n "__fish_kstack_using_subcommand flame" -l frame -l called-from -d 'Stacks with a frame, written `function [module]`, that matches' -r
complete -c kstack -n "__fish_kstack_using_subcommand flame" -l task -d 'Stacks whose process or thread name matches' -r
complete -c kstack -n "__fish_kstack_using_subcommand flame" -l pid -d 'Stacks of this process id' -r
complete -c kstack -n "__fish_kstack_using_subcommand flame" -l tid -d 'Stacks of this thread id' -r
complete -c kstack -n "__fish_kstack_using_subcommand flame" -l state -d 'Stacks in this state, or with this flag in it: D, TH_UNINT' -r
complete -c kstack -n "__fish_kstack_using_subcommand flame" -l wchan -d 'Stacks whose wait channel matches' -r
complete -c kstack -n "__fish_kstack_using_subcommand flame" -l kind -d 'Stacks of this kind: thread, crash, irq, alloc, free, lock, sample' -r
complete -c kstack -n "__fish_kstack_using_subcommand flame" -l min-count -d 'Stacks that at least this many threads share, by their functions' -r
complete -c kstack -n "__fish_kstack_using_subcommand flame" -l skip-list -d 'Functions and files that are never guilty of a crash, besides those that kstack knows' -r -F
complete -c kstack -n "__fish_kstack_using_subcommand flame" -l weight -d 'What stacks count for: count (threads, samples, records, objects) or bytes, in reports of memory' -r
complete -c kstack -n "__fish_kstack_using_subcommand flame" -s o -l output -d 'Write to FILE, which appears whole or not at all' -r -F
complete -c kstack -n "__fish_kstack_using_subcommand flame" -l color -d 'Colour' -r -f -a "auto\t''
always\t''
never\t''"
complete -c kstack -n "__fish_kstack_using_subcommand flame" -l format -d 'Form of the output: lines for flamegraph.pl, inferno or speedscope, or the graph itself; svg when -o names a .svg file, else folded' -r -f -a "folded\t''
svg\t''"
complete -c kstack -n "__fish_kstack_using_subcommand flame" -l frames -d 'How frames are written: zio_wait_[k], zfs`zio_wait, or zio_wait; by default the first, and for profiles as their collapsers do' -r -f -a "perf\t''
dtrace\t''
plain\t''"
complete -c kstack -n "__fish_kstack_using_subcommand flame" -l only -d 'Keep the stacks that run through this function, inlined or not; repeatable, one is enough' -r
complete -c kstack -n "__fish_kstack_using_subcommand flame" -l diff -d 'Compare with this report: two counts for each stack, or a graph whose red frames grew and whose blue ones shrank' -r -F
complete -c kstack -n "__fish_kstack_using_subcommand flame" -l title -d 'Heading of the graph' -r
complete -c kstack -n "__fish_kstack_using_subcommand flame" -l no-local -d 'Do not look for what this machine has installed for the report\'s kernel (/usr/lib/debug, /lib/modules, /boot); as KSTACK_NO_LOCAL=1 does'
complete -c kstack -n "__fish_kstack_using_subcommand flame" -l allow-mismatch -d 'Use a symbol file although its UUID or the report\'s own frames say that it is another build'
complete -c kstack -n "__fish_kstack_using_subcommand flame" -s q -l quiet -d 'Say nothing on standard error but errors'
complete -c kstack -n "__fish_kstack_using_subcommand flame" -l by-thread -d 'Put the thread\'s name, or its process\'s, below its stacks as their root'
complete -c kstack -n "__fish_kstack_using_subcommand flame" -l no-inline -d 'Leave out the inlined calls that debug info knows'
complete -c kstack -n "__fish_kstack_using_subcommand flame" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c kstack -n "__fish_kstack_using_subcommand report" -l format-in -d 'Read every report as this format instead of detecting it (see `kstack formats`)' -r -f -a "kstack-json\t''
darwin-stackshot-json\t''
darwin-kcdata\t''
darwin-panic\t''
darwin-stackshot-text\t''
darwin-spindump\t''
darwin-showallstacks\t''
darwin-zone-log\t''
darwin-zprint\t''
darwin-kextstat\t''
darwin-kextutil-info\t''
darwin-gdb-showallkmods\t''
darwin-lldb-showallkexts\t''
freebsd-kldstat\t''
netbsd-modstat\t''
linux-proc-modules\t''
linux-kallsyms\t''
linux-crash-mod\t''
crash-bt\t''
sdb-stacks\t''
drgn-bt\t''
gdb-bt\t''
lldb-bt\t''
illumos-modinfo\t''
illumos-stacks\t''
perf-script\t''
dtrace\t''
bpftrace\t''
bcc\t''
systemtap\t''
ftrace-stack\t''
linux-proc-stack\t''
freebsd\t''
netbsd\t''
openbsd\t''
kmemleak\t''
page-owner\t''
slub-traces\t''
fuchsia\t''
linux-log\t''
go-trace\t''
folded\t''
addresses\t''"
complete -c kstack -n "__fish_kstack_using_subcommand report" -s k -l kernel -d 'The kernel\'s symbol file: Mach-O, vmlinux, System.map or kallsyms; ADDR is where its __TEXT lies in memory' -r
complete -c kstack -n "__fish_kstack_using_subcommand report" -s m -l module -d 'One kext or module: a .kext or .dSYM bundle, a Mach-O or .sym file, a .ko, packed or not' -r
complete -c kstack -n "__fish_kstack_using_subcommand report" -s l -l load-map -d 'Load addresses: kextstat, kmutil showloaded, showallkmods, /proc/modules, kallsyms, a tree of /sys/module; kind detected' -r -F
complete -c kstack -n "__fish_kstack_using_subcommand report" -s S -l symbols -d 'Look for symbol files below this directory, by UUID first and by name second' -r -F
complete -c kstack -n "__fish_kstack_using_subcommand report" -l slide -d 'The kernel slide, or `auto`: from the report, else from frames that name both a symbol and an address' -r
complete -c kstack -n "__fish_kstack_using_subcommand report" -l local-root -d 'Where /usr/lib/debug, /lib/modules and /boot are, for tests' -r -F
complete -c kstack -n "__fish_kstack_using_subcommand report" -l debuginfod -d 'Fetch missing debug info by build id through debuginfod-find: always (the meaning without WHEN), never (without this option), or auto: when DEBUGINFOD_URLS is set' -r -f -a "always\t''
auto\t''
never\t''"
complete -c kstack -n "__fish_kstack_using_subcommand report" -l debuginfod-timeout -d 'Give up on one file after this many seconds' -r
complete -c kstack -n "__fish_kstack_using_subcommand report" -l in-module -d 'Stacks with a frame in this module or image, `kernel` for the kernel itself; the same as --module with a bare name' -r
complete -c kstack -n "__fish_kstack_using_subcommand report" -l caller -d 'Stacks that run through this function, with +0xOFFSET through that very call' -r
complete -c kstack -n "__fish_kstack_using_subcommand report" -l frame -l called-from -d 'Stacks with a frame, written `function [module]`, that matches' -r
complete -c kstack -n "__fish_kstack_using_subcommand report" -l task -d 'Stacks whose process or thread name matches' -r
complete -c kstack -n "__fish_kstack_using_subcommand report" -l pid -d 'Stacks of this process id' -r
complete -c kstack -n "__fish_kstack_using_subcommand report" -l tid -d 'Stacks of this thread id' -r
complete -c kstack -n "__fish_kstack_using_subcommand report" -l state -d 'Stacks in this state, or with this flag in it: D, TH_UNINT' -r
complete -c kstack -n "__fish_kstack_using_subcommand report" -l wchan -d 'Stacks whose wait channel matches' -r
complete -c kstack -n "__fish_kstack_using_subcommand report" -l kind -d 'Stacks of this kind: thread, crash, irq, alloc, free, lock, sample' -r
complete -c kstack -n "__fish_kstack_using_subcommand report" -l min-count -d 'Stacks that at least this many threads share, by their functions' -r
complete -c kstack -n "__fish_kstack_using_subcommand report" -l skip-list -d 'Functions and files that are never guilty of a crash, besides those that kstack knows' -r -F
complete -c kstack -n "__fish_kstack_using_subcommand report" -s o -l output -d 'Write to FILE, which appears whole or not at all' -r -F
complete -c kstack -n "__fish_kstack_using_subcommand report" -l color -d 'Colour' -r -f -a "auto\t''
always\t''
never\t''"
complete -c kstack -n "__fish_kstack_using_subcommand report" -l by -d 'What makes stacks the same: functions, stack (offsets too), module, top:N functions from the interesting one on, wchan, state, process' -r
complete -c kstack -n "__fish_kstack_using_subcommand report" -l plumbing -d 'Functions that only stand for waiting, one a line, instead of the list that is built in' -r -F
complete -c kstack -n "__fish_kstack_using_subcommand report" -l no-local -d 'Do not look for what this machine has installed for the report\'s kernel (/usr/lib/debug, /lib/modules, /boot); as KSTACK_NO_LOCAL=1 does'
complete -c kstack -n "__fish_kstack_using_subcommand report" -l allow-mismatch -d 'Use a symbol file although its UUID or the report\'s own frames say that it is another build'
complete -c kstack -n "__fish_kstack_using_subcommand report" -s q -l quiet -d 'Say nothing on standard error but errors'
complete -c kstack -n "__fish_kstack_using_subcommand report" -l code -d 'Disassemble the `Code:` lines of an oops, each in the note at its line'
complete -c kstack -n "__fish_kstack_using_subcommand report" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c kstack -n "__fish_kstack_using_subcommand modules" -l format-in -d 'Read every report as this format instead of detecting it (see `kstack formats`)' -r -f -a "kstack-json\t''
darwin-stackshot-json\t''
darwin-kcdata\t''
darwin-panic\t''
darwin-stackshot-text\t''
darwin-spindump\t''
darwin-showallstacks\t''
darwin-zone-log\t''
darwin-zprint\t''
darwin-kextstat\t''
darwin-kextutil-info\t''
darwin-gdb-showallkmods\t''
darwin-lldb-showallkexts\t''
freebsd-kldstat\t''
netbsd-modstat\t''
linux-proc-modules\t''
linux-kallsyms\t''
linux-crash-mod\t''
crash-bt\t''
sdb-stacks\t''
drgn-bt\t''
gdb-bt\t''
lldb-bt\t''
illumos-modinfo\t''
illumos-stacks\t''
perf-script\t''
dtrace\t''
bpftrace\t''
bcc\t''
systemtap\t''
ftrace-stack\t''
linux-proc-stack\t''
freebsd\t''
netbsd\t''
openbsd\t''
kmemleak\t''
page-owner\t''
slub-traces\t''
fuchsia\t''
linux-log\t''
go-trace\t''
folded\t''
addresses\t''"
complete -c kstack -n "__fish_kstack_using_subcommand modules" -s k -l kernel -d 'The kernel\'s symbol file: Mach-O, vmlinux, System.map or kallsyms; ADDR is where its __TEXT lies in memory' -r
complete -c kstack -n "__fish_kstack_using_subcommand modules" -s m -l module -d 'One kext or module: a .kext or .dSYM bundle, a Mach-O or .sym file, a .ko, packed or not' -r
complete -c kstack -n "__fish_kstack_using_subcommand modules" -s l -l load-map -d 'Load addresses: kextstat, kmutil showloaded, showallkmods, /proc/modules, kallsyms, a tree of /sys/module; kind detected' -r -F
complete -c kstack -n "__fish_kstack_using_subcommand modules" -s S -l symbols -d 'Look for symbol files below this directory, by UUID first and by name second' -r -F
complete -c kstack -n "__fish_kstack_using_subcommand modules" -l slide -d 'The kernel slide, or `auto`: from the report, else from frames that name both a symbol and an address' -r
complete -c kstack -n "__fish_kstack_using_subcommand modules" -l local-root -d 'Where /usr/lib/debug, /lib/modules and /boot are, for tests' -r -F
complete -c kstack -n "__fish_kstack_using_subcommand modules" -l debuginfod -d 'Fetch missing debug info by build id through debuginfod-find: always (the meaning without WHEN), never (without this option), or auto: when DEBUGINFOD_URLS is set' -r -f -a "always\t''
auto\t''
never\t''"
complete -c kstack -n "__fish_kstack_using_subcommand modules" -l debuginfod-timeout -d 'Give up on one file after this many seconds' -r
complete -c kstack -n "__fish_kstack_using_subcommand modules" -l in-module -d 'Stacks with a frame in this module or image, `kernel` for the kernel itself; the same as --module with a bare name' -r
complete -c kstack -n "__fish_kstack_using_subcommand modules" -l caller -d 'Stacks that run through this function, with +0xOFFSET through that very call' -r
complete -c kstack -n "__fish_kstack_using_subcommand modules" -l frame -l called-from -d 'Stacks with a frame, written `function [module]`, that matches' -r
complete -c kstack -n "__fish_kstack_using_subcommand modules" -l task -d 'Stacks whose process or thread name matches' -r
complete -c kstack -n "__fish_kstack_using_subcommand modules" -l pid -d 'Stacks of this process id' -r
complete -c kstack -n "__fish_kstack_using_subcommand modules" -l tid -d 'Stacks of this thread id' -r
complete -c kstack -n "__fish_kstack_using_subcommand modules" -l state -d 'Stacks in this state, or with this flag in it: D, TH_UNINT' -r
complete -c kstack -n "__fish_kstack_using_subcommand modules" -l wchan -d 'Stacks whose wait channel matches' -r
complete -c kstack -n "__fish_kstack_using_subcommand modules" -l kind -d 'Stacks of this kind: thread, crash, irq, alloc, free, lock, sample' -r
complete -c kstack -n "__fish_kstack_using_subcommand modules" -l min-count -d 'Stacks that at least this many threads share, by their functions' -r
complete -c kstack -n "__fish_kstack_using_subcommand modules" -s o -l output -d 'Write to FILE, which appears whole or not at all' -r -F
complete -c kstack -n "__fish_kstack_using_subcommand modules" -l color -d 'Colour' -r -f -a "auto\t''
always\t''
never\t''"
complete -c kstack -n "__fish_kstack_using_subcommand modules" -l format -d 'Form of the output' -r -f -a "text\t''
json\t''
ndjson\t''
markdown\t''
csv\t''"
complete -c kstack -n "__fish_kstack_using_subcommand modules" -l no-local -d 'Do not look for what this machine has installed for the report\'s kernel (/usr/lib/debug, /lib/modules, /boot); as KSTACK_NO_LOCAL=1 does'
complete -c kstack -n "__fish_kstack_using_subcommand modules" -l allow-mismatch -d 'Use a symbol file although its UUID or the report\'s own frames say that it is another build'
complete -c kstack -n "__fish_kstack_using_subcommand modules" -s q -l quiet -d 'Say nothing on standard error but errors'
complete -c kstack -n "__fish_kstack_using_subcommand modules" -s v -l verbose -d 'Say below the table by what rule each image is placed, every place where its file was looked for and why one was refused; list user space too'
complete -c kstack -n "__fish_kstack_using_subcommand modules" -l check -d 'Look into each symbol file: stripped or not, DWARF, lines, inlined calls, unwinding, CTF types; and say what mends what is missing'
complete -c kstack -n "__fish_kstack_using_subcommand modules" -l strict -d 'Exit with status 3 when an image has no verified symbol file'
complete -c kstack -n "__fish_kstack_using_subcommand modules" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c kstack -n "__fish_kstack_using_subcommand lookup" -s k -l kernel -d 'The kernel\'s symbol file: Mach-O, vmlinux, System.map or kallsyms; ADDR is where its __TEXT lies in memory' -r
complete -c kstack -n "__fish_kstack_using_subcommand lookup" -s m -l module -d 'One kext or module: a .kext or .dSYM bundle, a Mach-O or .sym file, a .ko, packed or not' -r
complete -c kstack -n "__fish_kstack_using_subcommand lookup" -s l -l load-map -d 'Load addresses: kextstat, kmutil showloaded, showallkmods, /proc/modules, kallsyms, a tree of /sys/module; kind detected' -r -F
complete -c kstack -n "__fish_kstack_using_subcommand lookup" -s S -l symbols -d 'Look for symbol files below this directory, by UUID first and by name second' -r -F
complete -c kstack -n "__fish_kstack_using_subcommand lookup" -l slide -d 'The kernel slide, or `auto`: from the report, else from frames that name both a symbol and an address' -r
complete -c kstack -n "__fish_kstack_using_subcommand lookup" -l local-root -d 'Where /usr/lib/debug, /lib/modules and /boot are, for tests' -r -F
complete -c kstack -n "__fish_kstack_using_subcommand lookup" -l debuginfod -d 'Fetch missing debug info by build id through debuginfod-find: always (the meaning without WHEN), never (without this option), or auto: when DEBUGINFOD_URLS is set' -r -f -a "always\t''
auto\t''
never\t''"
complete -c kstack -n "__fish_kstack_using_subcommand lookup" -l debuginfod-timeout -d 'Give up on one file after this many seconds' -r
complete -c kstack -n "__fish_kstack_using_subcommand lookup" -l source -d 'Show the source of each location, N lines above and below it, where the file is found' -r
complete -c kstack -n "__fish_kstack_using_subcommand lookup" -l source-map -d 'Where sources lie: TO instead of FROM at the beginning of a path; without FROM, a checkout to look in' -r
complete -c kstack -n "__fish_kstack_using_subcommand lookup" -l links -d 'Make locations links to their source files, for terminals that know OSC 8' -r -f -a "auto\t''
always\t''
never\t''"
complete -c kstack -n "__fish_kstack_using_subcommand lookup" -s o -l output -d 'Write to FILE, which appears whole or not at all' -r -F
complete -c kstack -n "__fish_kstack_using_subcommand lookup" -l color -d 'Colour' -r -f -a "auto\t''
always\t''
never\t''"
complete -c kstack -n "__fish_kstack_using_subcommand lookup" -l format -d 'Form of the output' -r -f -a "text\t''
json\t''
ndjson\t''"
complete -c kstack -n "__fish_kstack_using_subcommand lookup" -l image -d 'Queries are offsets into this image (`+0x12cc`), by bundle identifier or its last part' -r
complete -c kstack -n "__fish_kstack_using_subcommand lookup" -l arch -d 'Architecture of the queries, where a symbol file is for several and no address tells' -r -f -a "x86_64\t''
i386\t''
arm64\t''
arm64e\t''
arm\t''
ppc\t''
ppc64\t''
s390x\t''
riscv64\t''
mips\t''
loongarch64\t''"
complete -c kstack -n "__fish_kstack_using_subcommand lookup" -l frames -d 'Idiom of the frames in text; by default that of the system that the symbol files are of' -r -f -a "atos\t''
linux\t''
gnu\t''
full\t''"
complete -c kstack -n "__fish_kstack_using_subcommand lookup" -l no-local -d 'Do not look for what this machine has installed for the report\'s kernel (/usr/lib/debug, /lib/modules, /boot); as KSTACK_NO_LOCAL=1 does'
complete -c kstack -n "__fish_kstack_using_subcommand lookup" -l allow-mismatch -d 'Use a symbol file although its UUID or the report\'s own frames say that it is another build'
complete -c kstack -n "__fish_kstack_using_subcommand lookup" -s q -l quiet -d 'Say nothing on standard error but errors'
complete -c kstack -n "__fish_kstack_using_subcommand lookup" -s r -l return-address -d 'The addresses come from stacks: look up the call before each, as symbolicate does'
complete -c kstack -n "__fish_kstack_using_subcommand lookup" -l no-demangle -d 'Leave C++ and Rust names as they are in the symbol file'
complete -c kstack -n "__fish_kstack_using_subcommand lookup" -l strict -d 'Exit with status 3 when a query stayed unresolved or unverified'
complete -c kstack -n "__fish_kstack_using_subcommand lookup" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c kstack -n "__fish_kstack_using_subcommand script" -l format-in -d 'Read every report as this format instead of detecting it (see `kstack formats`)' -r -f -a "kstack-json\t''
darwin-stackshot-json\t''
darwin-kcdata\t''
darwin-panic\t''
darwin-stackshot-text\t''
darwin-spindump\t''
darwin-showallstacks\t''
darwin-zone-log\t''
darwin-zprint\t''
darwin-kextstat\t''
darwin-kextutil-info\t''
darwin-gdb-showallkmods\t''
darwin-lldb-showallkexts\t''
freebsd-kldstat\t''
netbsd-modstat\t''
linux-proc-modules\t''
linux-kallsyms\t''
linux-crash-mod\t''
crash-bt\t''
sdb-stacks\t''
drgn-bt\t''
gdb-bt\t''
lldb-bt\t''
illumos-modinfo\t''
illumos-stacks\t''
perf-script\t''
dtrace\t''
bpftrace\t''
bcc\t''
systemtap\t''
ftrace-stack\t''
linux-proc-stack\t''
freebsd\t''
netbsd\t''
openbsd\t''
kmemleak\t''
page-owner\t''
slub-traces\t''
fuchsia\t''
linux-log\t''
go-trace\t''
folded\t''
addresses\t''"
complete -c kstack -n "__fish_kstack_using_subcommand script" -s k -l kernel -d 'The kernel\'s symbol file: Mach-O, vmlinux, System.map or kallsyms; ADDR is where its __TEXT lies in memory' -r
complete -c kstack -n "__fish_kstack_using_subcommand script" -s m -l module -d 'One kext or module: a .kext or .dSYM bundle, a Mach-O or .sym file, a .ko, packed or not' -r
complete -c kstack -n "__fish_kstack_using_subcommand script" -s l -l load-map -d 'Load addresses: kextstat, kmutil showloaded, showallkmods, /proc/modules, kallsyms, a tree of /sys/module; kind detected' -r -F
complete -c kstack -n "__fish_kstack_using_subcommand script" -s S -l symbols -d 'Look for symbol files below this directory, by UUID first and by name second' -r -F
complete -c kstack -n "__fish_kstack_using_subcommand script" -l slide -d 'The kernel slide, or `auto`: from the report, else from frames that name both a symbol and an address' -r
complete -c kstack -n "__fish_kstack_using_subcommand script" -l local-root -d 'Where /usr/lib/debug, /lib/modules and /boot are, for tests' -r -F
complete -c kstack -n "__fish_kstack_using_subcommand script" -l debuginfod -d 'Fetch missing debug info by build id through debuginfod-find: always (the meaning without WHEN), never (without this option), or auto: when DEBUGINFOD_URLS is set' -r -f -a "always\t''
auto\t''
never\t''"
complete -c kstack -n "__fish_kstack_using_subcommand script" -l debuginfod-timeout -d 'Give up on one file after this many seconds' -r
complete -c kstack -n "__fish_kstack_using_subcommand script" -l in-module -d 'Stacks with a frame in this module or image, `kernel` for the kernel itself; the same as --module with a bare name' -r
complete -c kstack -n "__fish_kstack_using_subcommand script" -l caller -d 'Stacks that run through this function, with +0xOFFSET through that very call' -r
complete -c kstack -n "__fish_kstack_using_subcommand script" -l frame -l called-from -d 'Stacks with a frame, written `function [module]`, that matches' -r
complete -c kstack -n "__fish_kstack_using_subcommand script" -l task -d 'Stacks whose process or thread name matches' -r
complete -c kstack -n "__fish_kstack_using_subcommand script" -l pid -d 'Stacks of this process id' -r
complete -c kstack -n "__fish_kstack_using_subcommand script" -l tid -d 'Stacks of this thread id' -r
complete -c kstack -n "__fish_kstack_using_subcommand script" -l state -d 'Stacks in this state, or with this flag in it: D, TH_UNINT' -r
complete -c kstack -n "__fish_kstack_using_subcommand script" -l wchan -d 'Stacks whose wait channel matches' -r
complete -c kstack -n "__fish_kstack_using_subcommand script" -l kind -d 'Stacks of this kind: thread, crash, irq, alloc, free, lock, sample' -r
complete -c kstack -n "__fish_kstack_using_subcommand script" -l min-count -d 'Stacks that at least this many threads share, by their functions' -r
complete -c kstack -n "__fish_kstack_using_subcommand script" -s o -l output -d 'Write to FILE, which appears whole or not at all' -r -F
complete -c kstack -n "__fish_kstack_using_subcommand script" -l color -d 'Colour' -r -f -a "auto\t''
always\t''
never\t''"
complete -c kstack -n "__fish_kstack_using_subcommand script" -l stack -d 'Look up every frame of stack N of the first report too, counted from 0 as in the JSON form; with filters, of the stacks that are left' -r
complete -c kstack -n "__fish_kstack_using_subcommand script" -l breakpoints -d 'gdb, lldb: stop in every function of these names, with commas between them' -r
complete -c kstack -n "__fish_kstack_using_subcommand script" -l unpack -d 'Unpack symbol files for the debugger, which reads no packed ones, into this directory' -r -F
complete -c kstack -n "__fish_kstack_using_subcommand script" -l format -d 'Form of the output: the script, or what it says as JSON' -r -f -a "text\t''
json\t''"
complete -c kstack -n "__fish_kstack_using_subcommand script" -l no-local -d 'Do not look for what this machine has installed for the report\'s kernel (/usr/lib/debug, /lib/modules, /boot); as KSTACK_NO_LOCAL=1 does'
complete -c kstack -n "__fish_kstack_using_subcommand script" -l allow-mismatch -d 'Use a symbol file although its UUID or the report\'s own frames say that it is another build'
complete -c kstack -n "__fish_kstack_using_subcommand script" -s q -l quiet -d 'Say nothing on standard error but errors'
complete -c kstack -n "__fish_kstack_using_subcommand script" -l apple -d 'gdb: write for Apple\'s gdb of Mac OS X, with add-kext and add-dsym'
complete -c kstack -n "__fish_kstack_using_subcommand script" -l xnu -d 'lldb: use the macros that come with xnu, with addkext -F'
complete -c kstack -n "__fish_kstack_using_subcommand script" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c kstack -n "__fish_kstack_using_subcommand capture" -s o -l output -d 'Write to FILE, which appears whole or not at all; kstack-HOST-TIME.tar.zst unless named, - for standard output' -r -F
complete -c kstack -n "__fish_kstack_using_subcommand capture" -l samples -d 'Read the threads this often; `kstack diff FILE` compares the first and the last sample' -r
complete -c kstack -n "__fish_kstack_using_subcommand capture" -l interval -d 'Seconds from the beginning of one sample to that of the next' -r
complete -c kstack -n "__fish_kstack_using_subcommand capture" -l timeout -d 'Read nothing more after so many seconds, and end the archive with what is there; the time that samples need is added' -r
complete -c kstack -n "__fish_kstack_using_subcommand capture" -l file-timeout -d 'Leave out a file that does not answer for so many seconds' -r
complete -c kstack -n "__fish_kstack_using_subcommand capture" -l print-script -d 'Print a POSIX shell script that collects the same where kstack is not installed' -r -f -a "auto\t''
linux\t''
freebsd\t''
netbsd\t''
illumos\t''
macos\t''"
complete -c kstack -n "__fish_kstack_using_subcommand capture" -l root -d 'Read DIR/proc, DIR/sys and DIR/dev instead of those of this machine' -r -F
complete -c kstack -n "__fish_kstack_using_subcommand capture" -l stdout -d 'Write to standard output: `kstack capture --stdout | ssh HOST \'cat > capture.tar.zst\'` when no disk can be trusted'
complete -c kstack -n "__fish_kstack_using_subcommand capture" -l redact -d 'Hash names and command lines of processes, cgroups and the host\'s name; leave out log, mounts and boot command line'
complete -c kstack -n "__fish_kstack_using_subcommand capture" -s q -l quiet -d 'Say nothing on standard error but errors'
complete -c kstack -n "__fish_kstack_using_subcommand capture" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c kstack -n "__fish_kstack_using_subcommand formats" -s h -l help -d 'Print help'
complete -c kstack -n "__fish_kstack_using_subcommand completions" -s h -l help -d 'Print help'
complete -c kstack -n "__fish_kstack_using_subcommand man" -s h -l help -d 'Print help'
complete -c kstack -n "__fish_kstack_using_subcommand help; and not __fish_seen_subcommand_from symbolicate group diff top flame report modules lookup script capture formats completions man help" -f -a "symbolicate" -d 'Print the report again with every kernel frame named'
complete -c kstack -n "__fish_kstack_using_subcommand help; and not __fish_seen_subcommand_from symbolicate group diff top flame report modules lookup script capture formats completions man help" -f -a "group" -d 'Show the distinct stacks, most frequent first'
complete -c kstack -n "__fish_kstack_using_subcommand help; and not __fish_seen_subcommand_from symbolicate group diff top flame report modules lookup script capture formats completions man help" -f -a "diff" -d 'Compare two captures of one machine: what is stuck, what moves'
complete -c kstack -n "__fish_kstack_using_subcommand help; and not __fish_seen_subcommand_from symbolicate group diff top flame report modules lookup script capture formats completions man help" -f -a "top" -d 'Count in how many stacks each function occurs'
complete -c kstack -n "__fish_kstack_using_subcommand help; and not __fish_seen_subcommand_from symbolicate group diff top flame report modules lookup script capture formats completions man help" -f -a "flame" -d 'Write folded stacks, or draw a flame graph'
complete -c kstack -n "__fish_kstack_using_subcommand help; and not __fish_seen_subcommand_from symbolicate group diff top flame report modules lookup script capture formats completions man help" -f -a "report" -d 'Write one HTML page with everything: groups, flame graph, images, the report\'s text'
complete -c kstack -n "__fish_kstack_using_subcommand help; and not __fish_seen_subcommand_from symbolicate group diff top flame report modules lookup script capture formats completions man help" -f -a "modules" -d 'List every image with its load address, UUID and symbol file'
complete -c kstack -n "__fish_kstack_using_subcommand help; and not __fish_seen_subcommand_from symbolicate group diff top flame report modules lookup script capture formats completions man help" -f -a "lookup" -d 'Resolve single addresses, or SYMBOL+OFFSET, in a whole kernel'
complete -c kstack -n "__fish_kstack_using_subcommand help; and not __fish_seen_subcommand_from symbolicate group diff top flame report modules lookup script capture formats completions man help" -f -a "script" -d 'Write a script that loads every symbol file at its address in a debugger'
complete -c kstack -n "__fish_kstack_using_subcommand help; and not __fish_seen_subcommand_from symbolicate group diff top flame report modules lookup script capture formats completions man help" -f -a "capture" -d 'Collect everything that the other commands need from this Linux machine into one file'
complete -c kstack -n "__fish_kstack_using_subcommand help; and not __fish_seen_subcommand_from symbolicate group diff top flame report modules lookup script capture formats completions man help" -f -a "formats" -d 'List the formats, symbol files and outputs that are known'
complete -c kstack -n "__fish_kstack_using_subcommand help; and not __fish_seen_subcommand_from symbolicate group diff top flame report modules lookup script capture formats completions man help" -f -a "completions" -d 'Print a completion script for a shell'
complete -c kstack -n "__fish_kstack_using_subcommand help; and not __fish_seen_subcommand_from symbolicate group diff top flame report modules lookup script capture formats completions man help" -f -a "man" -d 'Print the manual page, or write all pages to a directory'
complete -c kstack -n "__fish_kstack_using_subcommand help; and not __fish_seen_subcommand_from symbolicate group diff top flame report modules lookup script capture formats completions man help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
