
using namespace System.Management.Automation
using namespace System.Management.Automation.Language

Register-ArgumentCompleter -Native -CommandName 'kstack' -ScriptBlock {
    param($wordToComplete, $commandAst, $cursorPosition)

    $commandElements = $commandAst.CommandElements
    $command = @(
        'kstack'
        for ($i = 1; $i -lt $commandElements.Count; $i++) {
            $element = $commandElements[$i]
            if ($element -isnot [StringConstantExpressionAst] -or
                $element.StringConstantType -ne [StringConstantType]::BareWord -or
                $element.Value.StartsWith('-') -or
                $element.Value -eq $wordToComplete) {
                break
        }
        $element.Value
    }) -join ';'

    $completions = @(switch ($command) {
        'kstack' {
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('symbolicate', 'symbolicate', [CompletionResultType]::ParameterValue, 'Print the report again with every kernel frame named')
            [CompletionResult]::new('sym', 'sym', [CompletionResultType]::ParameterValue, 'Print the report again with every kernel frame named')
            [CompletionResult]::new('group', 'group', [CompletionResultType]::ParameterValue, 'Show the distinct stacks, most frequent first')
            [CompletionResult]::new('diff', 'diff', [CompletionResultType]::ParameterValue, 'Compare two captures of one machine: what is stuck, what moves')
            [CompletionResult]::new('top', 'top', [CompletionResultType]::ParameterValue, 'Count in how many stacks each function occurs')
            [CompletionResult]::new('flame', 'flame', [CompletionResultType]::ParameterValue, 'Write folded stacks, or draw a flame graph')
            [CompletionResult]::new('report', 'report', [CompletionResultType]::ParameterValue, 'Write one HTML page with everything: groups, flame graph, images, the report''s text')
            [CompletionResult]::new('modules', 'modules', [CompletionResultType]::ParameterValue, 'List every image with its load address, UUID and symbol file')
            [CompletionResult]::new('lookup', 'lookup', [CompletionResultType]::ParameterValue, 'Resolve single addresses, or SYMBOL+OFFSET, in a whole kernel')
            [CompletionResult]::new('script', 'script', [CompletionResultType]::ParameterValue, 'Write a script that loads every symbol file at its address in a debugger')
            [CompletionResult]::new('capture', 'capture', [CompletionResultType]::ParameterValue, 'Collect everything that the other commands need from this Linux machine into one file')
            [CompletionResult]::new('formats', 'formats', [CompletionResultType]::ParameterValue, 'List the formats, symbol files and outputs that are known')
            [CompletionResult]::new('completions', 'completions', [CompletionResultType]::ParameterValue, 'Print a completion script for a shell')
            [CompletionResult]::new('man', 'man', [CompletionResultType]::ParameterValue, 'Print the manual page, or write all pages to a directory')
            [CompletionResult]::new('help', 'help', [CompletionResultType]::ParameterValue, 'Print this message or the help of the given subcommand(s)')
            break
        }
        'kstack;symbolicate' {
            [CompletionResult]::new('--format-in', '--format-in', [CompletionResultType]::ParameterName, 'Read every report as this format instead of detecting it (see `kstack formats`)')
            [CompletionResult]::new('-k', '-k', [CompletionResultType]::ParameterName, 'The kernel''s symbol file: Mach-O, vmlinux, System.map or kallsyms; ADDR is where its __TEXT lies in memory')
            [CompletionResult]::new('--kernel', '--kernel', [CompletionResultType]::ParameterName, 'The kernel''s symbol file: Mach-O, vmlinux, System.map or kallsyms; ADDR is where its __TEXT lies in memory')
            [CompletionResult]::new('-m', '-m', [CompletionResultType]::ParameterName, 'One kext or module: a .kext or .dSYM bundle, a Mach-O or .sym file, a .ko, packed or not')
            [CompletionResult]::new('--module', '--module', [CompletionResultType]::ParameterName, 'One kext or module: a .kext or .dSYM bundle, a Mach-O or .sym file, a .ko, packed or not')
            [CompletionResult]::new('-l', '-l', [CompletionResultType]::ParameterName, 'Load addresses: kextstat, kmutil showloaded, showallkmods, /proc/modules, kallsyms, a tree of /sys/module; kind detected')
            [CompletionResult]::new('--load-map', '--load-map', [CompletionResultType]::ParameterName, 'Load addresses: kextstat, kmutil showloaded, showallkmods, /proc/modules, kallsyms, a tree of /sys/module; kind detected')
            [CompletionResult]::new('-S', '-S ', [CompletionResultType]::ParameterName, 'Look for symbol files below this directory, by UUID first and by name second')
            [CompletionResult]::new('--symbols', '--symbols', [CompletionResultType]::ParameterName, 'Look for symbol files below this directory, by UUID first and by name second')
            [CompletionResult]::new('--slide', '--slide', [CompletionResultType]::ParameterName, 'The kernel slide, or `auto`: from the report, else from frames that name both a symbol and an address')
            [CompletionResult]::new('--local-root', '--local-root', [CompletionResultType]::ParameterName, 'Where /usr/lib/debug, /lib/modules and /boot are, for tests')
            [CompletionResult]::new('--debuginfod', '--debuginfod', [CompletionResultType]::ParameterName, 'Fetch missing debug info by build id through debuginfod-find: always (the meaning without WHEN), never (without this option), or auto: when DEBUGINFOD_URLS is set')
            [CompletionResult]::new('--debuginfod-timeout', '--debuginfod-timeout', [CompletionResultType]::ParameterName, 'Give up on one file after this many seconds')
            [CompletionResult]::new('--in-module', '--in-module', [CompletionResultType]::ParameterName, 'Stacks with a frame in this module or image, `kernel` for the kernel itself; the same as --module with a bare name')
            [CompletionResult]::new('--caller', '--caller', [CompletionResultType]::ParameterName, 'Stacks that run through this function, with +0xOFFSET through that very call')
            [CompletionResult]::new('--frame', '--frame', [CompletionResultType]::ParameterName, 'Stacks with a frame, written `function [module]`, that matches')
            [CompletionResult]::new('--called-from', '--called-from', [CompletionResultType]::ParameterName, 'Stacks with a frame, written `function [module]`, that matches')
            [CompletionResult]::new('--task', '--task', [CompletionResultType]::ParameterName, 'Stacks whose process or thread name matches')
            [CompletionResult]::new('--pid', '--pid', [CompletionResultType]::ParameterName, 'Stacks of this process id')
            [CompletionResult]::new('--tid', '--tid', [CompletionResultType]::ParameterName, 'Stacks of this thread id')
            [CompletionResult]::new('--state', '--state', [CompletionResultType]::ParameterName, 'Stacks in this state, or with this flag in it: D, TH_UNINT')
            [CompletionResult]::new('--wchan', '--wchan', [CompletionResultType]::ParameterName, 'Stacks whose wait channel matches')
            [CompletionResult]::new('--kind', '--kind', [CompletionResultType]::ParameterName, 'Stacks of this kind: thread, crash, irq, alloc, free, lock, sample')
            [CompletionResult]::new('--min-count', '--min-count', [CompletionResultType]::ParameterName, 'Stacks that at least this many threads share, by their functions')
            [CompletionResult]::new('--skip-list', '--skip-list', [CompletionResultType]::ParameterName, 'Functions and files that are never guilty of a crash, besides those that kstack knows')
            [CompletionResult]::new('--source', '--source', [CompletionResultType]::ParameterName, 'Show the source of each location, N lines above and below it, where the file is found')
            [CompletionResult]::new('--source-map', '--source-map', [CompletionResultType]::ParameterName, 'Where sources lie: TO instead of FROM at the beginning of a path; without FROM, a checkout to look in')
            [CompletionResult]::new('--links', '--links', [CompletionResultType]::ParameterName, 'Make locations links to their source files, for terminals that know OSC 8')
            [CompletionResult]::new('-o', '-o', [CompletionResultType]::ParameterName, 'Write to FILE, which appears whole or not at all')
            [CompletionResult]::new('--output', '--output', [CompletionResultType]::ParameterName, 'Write to FILE, which appears whole or not at all')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'Colour')
            [CompletionResult]::new('--format', '--format', [CompletionResultType]::ParameterName, 'Form of the output')
            [CompletionResult]::new('--frames', '--frames', [CompletionResultType]::ParameterName, 'Idiom of the frames in text; by default that of the report''s system')
            [CompletionResult]::new('--no-local', '--no-local', [CompletionResultType]::ParameterName, 'Do not look for what this machine has installed for the report''s kernel (/usr/lib/debug, /lib/modules, /boot); as KSTACK_NO_LOCAL=1 does')
            [CompletionResult]::new('--allow-mismatch', '--allow-mismatch', [CompletionResultType]::ParameterName, 'Use a symbol file although its UUID or the report''s own frames say that it is another build')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Say nothing on standard error but errors')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Say nothing on standard error but errors')
            [CompletionResult]::new('--no-demangle', '--no-demangle', [CompletionResultType]::ParameterName, 'Leave C++ and Rust names as they are in the symbol file')
            [CompletionResult]::new('--code', '--code', [CompletionResultType]::ParameterName, 'Disassemble the `Code:` lines of an oops, as scripts/decodecode does: below each line in text, with the stack in JSON')
            [CompletionResult]::new('--no-explain', '--no-explain', [CompletionResultType]::ParameterName, 'Put nothing below lines with registers and codes (trap numbers, error codes, ESR), which are explained in words otherwise')
            [CompletionResult]::new('--strict', '--strict', [CompletionResultType]::ParameterName, 'Exit with status 3 when a kernel frame stayed unresolved or unverified')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'kstack;sym' {
            [CompletionResult]::new('--format-in', '--format-in', [CompletionResultType]::ParameterName, 'Read every report as this format instead of detecting it (see `kstack formats`)')
            [CompletionResult]::new('-k', '-k', [CompletionResultType]::ParameterName, 'The kernel''s symbol file: Mach-O, vmlinux, System.map or kallsyms; ADDR is where its __TEXT lies in memory')
            [CompletionResult]::new('--kernel', '--kernel', [CompletionResultType]::ParameterName, 'The kernel''s symbol file: Mach-O, vmlinux, System.map or kallsyms; ADDR is where its __TEXT lies in memory')
            [CompletionResult]::new('-m', '-m', [CompletionResultType]::ParameterName, 'One kext or module: a .kext or .dSYM bundle, a Mach-O or .sym file, a .ko, packed or not')
            [CompletionResult]::new('--module', '--module', [CompletionResultType]::ParameterName, 'One kext or module: a .kext or .dSYM bundle, a Mach-O or .sym file, a .ko, packed or not')
            [CompletionResult]::new('-l', '-l', [CompletionResultType]::ParameterName, 'Load addresses: kextstat, kmutil showloaded, showallkmods, /proc/modules, kallsyms, a tree of /sys/module; kind detected')
            [CompletionResult]::new('--load-map', '--load-map', [CompletionResultType]::ParameterName, 'Load addresses: kextstat, kmutil showloaded, showallkmods, /proc/modules, kallsyms, a tree of /sys/module; kind detected')
            [CompletionResult]::new('-S', '-S ', [CompletionResultType]::ParameterName, 'Look for symbol files below this directory, by UUID first and by name second')
            [CompletionResult]::new('--symbols', '--symbols', [CompletionResultType]::ParameterName, 'Look for symbol files below this directory, by UUID first and by name second')
            [CompletionResult]::new('--slide', '--slide', [CompletionResultType]::ParameterName, 'The kernel slide, or `auto`: from the report, else from frames that name both a symbol and an address')
            [CompletionResult]::new('--local-root', '--local-root', [CompletionResultType]::ParameterName, 'Where /usr/lib/debug, /lib/modules and /boot are, for tests')
            [CompletionResult]::new('--debuginfod', '--debuginfod', [CompletionResultType]::ParameterName, 'Fetch missing debug info by build id through debuginfod-find: always (the meaning without WHEN), never (without this option), or auto: when DEBUGINFOD_URLS is set')
            [CompletionResult]::new('--debuginfod-timeout', '--debuginfod-timeout', [CompletionResultType]::ParameterName, 'Give up on one file after this many seconds')
            [CompletionResult]::new('--in-module', '--in-module', [CompletionResultType]::ParameterName, 'Stacks with a frame in this module or image, `kernel` for the kernel itself; the same as --module with a bare name')
            [CompletionResult]::new('--caller', '--caller', [CompletionResultType]::ParameterName, 'Stacks that run through this function, with +0xOFFSET through that very call')
            [CompletionResult]::new('--frame', '--frame', [CompletionResultType]::ParameterName, 'Stacks with a frame, written `function [module]`, that matches')
            [CompletionResult]::new('--called-from', '--called-from', [CompletionResultType]::ParameterName, 'Stacks with a frame, written `function [module]`, that matches')
            [CompletionResult]::new('--task', '--task', [CompletionResultType]::ParameterName, 'Stacks whose process or thread name matches')
            [CompletionResult]::new('--pid', '--pid', [CompletionResultType]::ParameterName, 'Stacks of this process id')
            [CompletionResult]::new('--tid', '--tid', [CompletionResultType]::ParameterName, 'Stacks of this thread id')
            [CompletionResult]::new('--state', '--state', [CompletionResultType]::ParameterName, 'Stacks in this state, or with this flag in it: D, TH_UNINT')
            [CompletionResult]::new('--wchan', '--wchan', [CompletionResultType]::ParameterName, 'Stacks whose wait channel matches')
            [CompletionResult]::new('--kind', '--kind', [CompletionResultType]::ParameterName, 'Stacks of this kind: thread, crash, irq, alloc, free, lock, sample')
            [CompletionResult]::new('--min-count', '--min-count', [CompletionResultType]::ParameterName, 'Stacks that at least this many threads share, by their functions')
            [CompletionResult]::new('--skip-list', '--skip-list', [CompletionResultType]::ParameterName, 'Functions and files that are never guilty of a crash, besides those that kstack knows')
            [CompletionResult]::new('--source', '--source', [CompletionResultType]::ParameterName, 'Show the source of each location, N lines above and below it, where the file is found')
            [CompletionResult]::new('--source-map', '--source-map', [CompletionResultType]::ParameterName, 'Where sources lie: TO instead of FROM at the beginning of a path; without FROM, a checkout to look in')
            [CompletionResult]::new('--links', '--links', [CompletionResultType]::ParameterName, 'Make locations links to their source files, for terminals that know OSC 8')
            [CompletionResult]::new('-o', '-o', [CompletionResultType]::ParameterName, 'Write to FILE, which appears whole or not at all')
            [CompletionResult]::new('--output', '--output', [CompletionResultType]::ParameterName, 'Write to FILE, which appears whole or not at all')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'Colour')
            [CompletionResult]::new('--format', '--format', [CompletionResultType]::ParameterName, 'Form of the output')
            [CompletionResult]::new('--frames', '--frames', [CompletionResultType]::ParameterName, 'Idiom of the frames in text; by default that of the report''s system')
            [CompletionResult]::new('--no-local', '--no-local', [CompletionResultType]::ParameterName, 'Do not look for what this machine has installed for the report''s kernel (/usr/lib/debug, /lib/modules, /boot); as KSTACK_NO_LOCAL=1 does')
            [CompletionResult]::new('--allow-mismatch', '--allow-mismatch', [CompletionResultType]::ParameterName, 'Use a symbol file although its UUID or the report''s own frames say that it is another build')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Say nothing on standard error but errors')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Say nothing on standard error but errors')
            [CompletionResult]::new('--no-demangle', '--no-demangle', [CompletionResultType]::ParameterName, 'Leave C++ and Rust names as they are in the symbol file')
            [CompletionResult]::new('--code', '--code', [CompletionResultType]::ParameterName, 'Disassemble the `Code:` lines of an oops, as scripts/decodecode does: below each line in text, with the stack in JSON')
            [CompletionResult]::new('--no-explain', '--no-explain', [CompletionResultType]::ParameterName, 'Put nothing below lines with registers and codes (trap numbers, error codes, ESR), which are explained in words otherwise')
            [CompletionResult]::new('--strict', '--strict', [CompletionResultType]::ParameterName, 'Exit with status 3 when a kernel frame stayed unresolved or unverified')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'kstack;group' {
            [CompletionResult]::new('--format-in', '--format-in', [CompletionResultType]::ParameterName, 'Read every report as this format instead of detecting it (see `kstack formats`)')
            [CompletionResult]::new('-k', '-k', [CompletionResultType]::ParameterName, 'The kernel''s symbol file: Mach-O, vmlinux, System.map or kallsyms; ADDR is where its __TEXT lies in memory')
            [CompletionResult]::new('--kernel', '--kernel', [CompletionResultType]::ParameterName, 'The kernel''s symbol file: Mach-O, vmlinux, System.map or kallsyms; ADDR is where its __TEXT lies in memory')
            [CompletionResult]::new('-m', '-m', [CompletionResultType]::ParameterName, 'One kext or module: a .kext or .dSYM bundle, a Mach-O or .sym file, a .ko, packed or not')
            [CompletionResult]::new('--module', '--module', [CompletionResultType]::ParameterName, 'One kext or module: a .kext or .dSYM bundle, a Mach-O or .sym file, a .ko, packed or not')
            [CompletionResult]::new('-l', '-l', [CompletionResultType]::ParameterName, 'Load addresses: kextstat, kmutil showloaded, showallkmods, /proc/modules, kallsyms, a tree of /sys/module; kind detected')
            [CompletionResult]::new('--load-map', '--load-map', [CompletionResultType]::ParameterName, 'Load addresses: kextstat, kmutil showloaded, showallkmods, /proc/modules, kallsyms, a tree of /sys/module; kind detected')
            [CompletionResult]::new('-S', '-S ', [CompletionResultType]::ParameterName, 'Look for symbol files below this directory, by UUID first and by name second')
            [CompletionResult]::new('--symbols', '--symbols', [CompletionResultType]::ParameterName, 'Look for symbol files below this directory, by UUID first and by name second')
            [CompletionResult]::new('--slide', '--slide', [CompletionResultType]::ParameterName, 'The kernel slide, or `auto`: from the report, else from frames that name both a symbol and an address')
            [CompletionResult]::new('--local-root', '--local-root', [CompletionResultType]::ParameterName, 'Where /usr/lib/debug, /lib/modules and /boot are, for tests')
            [CompletionResult]::new('--debuginfod', '--debuginfod', [CompletionResultType]::ParameterName, 'Fetch missing debug info by build id through debuginfod-find: always (the meaning without WHEN), never (without this option), or auto: when DEBUGINFOD_URLS is set')
            [CompletionResult]::new('--debuginfod-timeout', '--debuginfod-timeout', [CompletionResultType]::ParameterName, 'Give up on one file after this many seconds')
            [CompletionResult]::new('--in-module', '--in-module', [CompletionResultType]::ParameterName, 'Stacks with a frame in this module or image, `kernel` for the kernel itself; the same as --module with a bare name')
            [CompletionResult]::new('--caller', '--caller', [CompletionResultType]::ParameterName, 'Stacks that run through this function, with +0xOFFSET through that very call')
            [CompletionResult]::new('--frame', '--frame', [CompletionResultType]::ParameterName, 'Stacks with a frame, written `function [module]`, that matches')
            [CompletionResult]::new('--called-from', '--called-from', [CompletionResultType]::ParameterName, 'Stacks with a frame, written `function [module]`, that matches')
            [CompletionResult]::new('--task', '--task', [CompletionResultType]::ParameterName, 'Stacks whose process or thread name matches')
            [CompletionResult]::new('--pid', '--pid', [CompletionResultType]::ParameterName, 'Stacks of this process id')
            [CompletionResult]::new('--tid', '--tid', [CompletionResultType]::ParameterName, 'Stacks of this thread id')
            [CompletionResult]::new('--state', '--state', [CompletionResultType]::ParameterName, 'Stacks in this state, or with this flag in it: D, TH_UNINT')
            [CompletionResult]::new('--wchan', '--wchan', [CompletionResultType]::ParameterName, 'Stacks whose wait channel matches')
            [CompletionResult]::new('--kind', '--kind', [CompletionResultType]::ParameterName, 'Stacks of this kind: thread, crash, irq, alloc, free, lock, sample')
            [CompletionResult]::new('--min-count', '--min-count', [CompletionResultType]::ParameterName, 'Stacks that at least this many threads share, by their functions')
            [CompletionResult]::new('--skip-list', '--skip-list', [CompletionResultType]::ParameterName, 'Functions and files that are never guilty of a crash, besides those that kstack knows')
            [CompletionResult]::new('--source', '--source', [CompletionResultType]::ParameterName, 'Show the source of each location, N lines above and below it, where the file is found')
            [CompletionResult]::new('--source-map', '--source-map', [CompletionResultType]::ParameterName, 'Where sources lie: TO instead of FROM at the beginning of a path; without FROM, a checkout to look in')
            [CompletionResult]::new('--links', '--links', [CompletionResultType]::ParameterName, 'Make locations links to their source files, for terminals that know OSC 8')
            [CompletionResult]::new('--weight', '--weight', [CompletionResultType]::ParameterName, 'What stacks count for: count (threads, samples, records, objects) or bytes, in reports of memory')
            [CompletionResult]::new('-o', '-o', [CompletionResultType]::ParameterName, 'Write to FILE, which appears whole or not at all')
            [CompletionResult]::new('--output', '--output', [CompletionResultType]::ParameterName, 'Write to FILE, which appears whole or not at all')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'Colour')
            [CompletionResult]::new('--by', '--by', [CompletionResultType]::ParameterName, 'What makes stacks the same: functions, stack (offsets too), module, top:N functions from the interesting one on, wchan, state, process')
            [CompletionResult]::new('--format', '--format', [CompletionResultType]::ParameterName, 'Form of the output')
            [CompletionResult]::new('--plumbing', '--plumbing', [CompletionResultType]::ParameterName, 'Functions that only stand for waiting, one a line, instead of the list that is built in')
            [CompletionResult]::new('--no-local', '--no-local', [CompletionResultType]::ParameterName, 'Do not look for what this machine has installed for the report''s kernel (/usr/lib/debug, /lib/modules, /boot); as KSTACK_NO_LOCAL=1 does')
            [CompletionResult]::new('--allow-mismatch', '--allow-mismatch', [CompletionResultType]::ParameterName, 'Use a symbol file although its UUID or the report''s own frames say that it is another build')
            [CompletionResult]::new('--all-samples', '--all-samples', [CompletionResultType]::ParameterName, 'Count the threads of every sample of a capture; without it those of the last one, so that each thread counts once')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Say nothing on standard error but errors')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Say nothing on standard error but errors')
            [CompletionResult]::new('--all-members', '--all-members', [CompletionResultType]::ParameterName, 'List every member of a group, not the first few')
            [CompletionResult]::new('--all-frames', '--all-frames', [CompletionResultType]::ParameterName, 'Show the frames of waiting and the unreliable ones too')
            [CompletionResult]::new('--triage', '--triage', [CompletionResultType]::ParameterName, 'Say what the report looks like (crash, lockup, deadlock, storage, userspace) and on which lines that rests')
            [CompletionResult]::new('--dot', '--dot', [CompletionResultType]::ParameterName, 'Write who waits for whom as a graph for Graphviz, a deadlock in red, and nothing else')
            [CompletionResult]::new('--similar', '--similar', [CompletionResultType]::ParameterName, 'Put groups that differ in one or two frames under one heading, the differing frames marked')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'kstack;diff' {
            [CompletionResult]::new('--format-in', '--format-in', [CompletionResultType]::ParameterName, 'Read both as this format instead of detecting it (see `kstack formats`)')
            [CompletionResult]::new('-k', '-k', [CompletionResultType]::ParameterName, 'The kernel''s symbol file: Mach-O, vmlinux, System.map or kallsyms; ADDR is where its __TEXT lies in memory')
            [CompletionResult]::new('--kernel', '--kernel', [CompletionResultType]::ParameterName, 'The kernel''s symbol file: Mach-O, vmlinux, System.map or kallsyms; ADDR is where its __TEXT lies in memory')
            [CompletionResult]::new('-m', '-m', [CompletionResultType]::ParameterName, 'One kext or module: a .kext or .dSYM bundle, a Mach-O or .sym file, a .ko, packed or not')
            [CompletionResult]::new('--module', '--module', [CompletionResultType]::ParameterName, 'One kext or module: a .kext or .dSYM bundle, a Mach-O or .sym file, a .ko, packed or not')
            [CompletionResult]::new('-l', '-l', [CompletionResultType]::ParameterName, 'Load addresses: kextstat, kmutil showloaded, showallkmods, /proc/modules, kallsyms, a tree of /sys/module; kind detected')
            [CompletionResult]::new('--load-map', '--load-map', [CompletionResultType]::ParameterName, 'Load addresses: kextstat, kmutil showloaded, showallkmods, /proc/modules, kallsyms, a tree of /sys/module; kind detected')
            [CompletionResult]::new('-S', '-S ', [CompletionResultType]::ParameterName, 'Look for symbol files below this directory, by UUID first and by name second')
            [CompletionResult]::new('--symbols', '--symbols', [CompletionResultType]::ParameterName, 'Look for symbol files below this directory, by UUID first and by name second')
            [CompletionResult]::new('--slide', '--slide', [CompletionResultType]::ParameterName, 'The kernel slide, or `auto`: from the report, else from frames that name both a symbol and an address')
            [CompletionResult]::new('--local-root', '--local-root', [CompletionResultType]::ParameterName, 'Where /usr/lib/debug, /lib/modules and /boot are, for tests')
            [CompletionResult]::new('--debuginfod', '--debuginfod', [CompletionResultType]::ParameterName, 'Fetch missing debug info by build id through debuginfod-find: always (the meaning without WHEN), never (without this option), or auto: when DEBUGINFOD_URLS is set')
            [CompletionResult]::new('--debuginfod-timeout', '--debuginfod-timeout', [CompletionResultType]::ParameterName, 'Give up on one file after this many seconds')
            [CompletionResult]::new('--in-module', '--in-module', [CompletionResultType]::ParameterName, 'Stacks with a frame in this module or image, `kernel` for the kernel itself; the same as --module with a bare name')
            [CompletionResult]::new('--caller', '--caller', [CompletionResultType]::ParameterName, 'Stacks that run through this function, with +0xOFFSET through that very call')
            [CompletionResult]::new('--frame', '--frame', [CompletionResultType]::ParameterName, 'Stacks with a frame, written `function [module]`, that matches')
            [CompletionResult]::new('--called-from', '--called-from', [CompletionResultType]::ParameterName, 'Stacks with a frame, written `function [module]`, that matches')
            [CompletionResult]::new('--task', '--task', [CompletionResultType]::ParameterName, 'Stacks whose process or thread name matches')
            [CompletionResult]::new('--pid', '--pid', [CompletionResultType]::ParameterName, 'Stacks of this process id')
            [CompletionResult]::new('--tid', '--tid', [CompletionResultType]::ParameterName, 'Stacks of this thread id')
            [CompletionResult]::new('--state', '--state', [CompletionResultType]::ParameterName, 'Stacks in this state, or with this flag in it: D, TH_UNINT')
            [CompletionResult]::new('--wchan', '--wchan', [CompletionResultType]::ParameterName, 'Stacks whose wait channel matches')
            [CompletionResult]::new('--kind', '--kind', [CompletionResultType]::ParameterName, 'Stacks of this kind: thread, crash, irq, alloc, free, lock, sample')
            [CompletionResult]::new('--min-count', '--min-count', [CompletionResultType]::ParameterName, 'Stacks that at least this many threads share, by their functions')
            [CompletionResult]::new('--skip-list', '--skip-list', [CompletionResultType]::ParameterName, 'Functions and files that are never guilty of a crash, besides those that kstack knows')
            [CompletionResult]::new('-o', '-o', [CompletionResultType]::ParameterName, 'Write to FILE, which appears whole or not at all')
            [CompletionResult]::new('--output', '--output', [CompletionResultType]::ParameterName, 'Write to FILE, which appears whole or not at all')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'Colour')
            [CompletionResult]::new('--format', '--format', [CompletionResultType]::ParameterName, 'Form of the output')
            [CompletionResult]::new('--no-local', '--no-local', [CompletionResultType]::ParameterName, 'Do not look for what this machine has installed for the report''s kernel (/usr/lib/debug, /lib/modules, /boot); as KSTACK_NO_LOCAL=1 does')
            [CompletionResult]::new('--allow-mismatch', '--allow-mismatch', [CompletionResultType]::ParameterName, 'Use a symbol file although its UUID or the report''s own frames say that it is another build')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Say nothing on standard error but errors')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Say nothing on standard error but errors')
            [CompletionResult]::new('--all-members', '--all-members', [CompletionResultType]::ParameterName, 'Name every thread, not the first few of each place')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'kstack;top' {
            [CompletionResult]::new('--format-in', '--format-in', [CompletionResultType]::ParameterName, 'Read every report as this format instead of detecting it (see `kstack formats`)')
            [CompletionResult]::new('-k', '-k', [CompletionResultType]::ParameterName, 'The kernel''s symbol file: Mach-O, vmlinux, System.map or kallsyms; ADDR is where its __TEXT lies in memory')
            [CompletionResult]::new('--kernel', '--kernel', [CompletionResultType]::ParameterName, 'The kernel''s symbol file: Mach-O, vmlinux, System.map or kallsyms; ADDR is where its __TEXT lies in memory')
            [CompletionResult]::new('-m', '-m', [CompletionResultType]::ParameterName, 'One kext or module: a .kext or .dSYM bundle, a Mach-O or .sym file, a .ko, packed or not')
            [CompletionResult]::new('--module', '--module', [CompletionResultType]::ParameterName, 'One kext or module: a .kext or .dSYM bundle, a Mach-O or .sym file, a .ko, packed or not')
            [CompletionResult]::new('-l', '-l', [CompletionResultType]::ParameterName, 'Load addresses: kextstat, kmutil showloaded, showallkmods, /proc/modules, kallsyms, a tree of /sys/module; kind detected')
            [CompletionResult]::new('--load-map', '--load-map', [CompletionResultType]::ParameterName, 'Load addresses: kextstat, kmutil showloaded, showallkmods, /proc/modules, kallsyms, a tree of /sys/module; kind detected')
            [CompletionResult]::new('-S', '-S ', [CompletionResultType]::ParameterName, 'Look for symbol files below this directory, by UUID first and by name second')
            [CompletionResult]::new('--symbols', '--symbols', [CompletionResultType]::ParameterName, 'Look for symbol files below this directory, by UUID first and by name second')
            [CompletionResult]::new('--slide', '--slide', [CompletionResultType]::ParameterName, 'The kernel slide, or `auto`: from the report, else from frames that name both a symbol and an address')
            [CompletionResult]::new('--local-root', '--local-root', [CompletionResultType]::ParameterName, 'Where /usr/lib/debug, /lib/modules and /boot are, for tests')
            [CompletionResult]::new('--debuginfod', '--debuginfod', [CompletionResultType]::ParameterName, 'Fetch missing debug info by build id through debuginfod-find: always (the meaning without WHEN), never (without this option), or auto: when DEBUGINFOD_URLS is set')
            [CompletionResult]::new('--debuginfod-timeout', '--debuginfod-timeout', [CompletionResultType]::ParameterName, 'Give up on one file after this many seconds')
            [CompletionResult]::new('--in-module', '--in-module', [CompletionResultType]::ParameterName, 'Stacks with a frame in this module or image, `kernel` for the kernel itself; the same as --module with a bare name')
            [CompletionResult]::new('--caller', '--caller', [CompletionResultType]::ParameterName, 'Stacks that run through this function, with +0xOFFSET through that very call')
            [CompletionResult]::new('--frame', '--frame', [CompletionResultType]::ParameterName, 'Stacks with a frame, written `function [module]`, that matches')
            [CompletionResult]::new('--called-from', '--called-from', [CompletionResultType]::ParameterName, 'Stacks with a frame, written `function [module]`, that matches')
            [CompletionResult]::new('--task', '--task', [CompletionResultType]::ParameterName, 'Stacks whose process or thread name matches')
            [CompletionResult]::new('--pid', '--pid', [CompletionResultType]::ParameterName, 'Stacks of this process id')
            [CompletionResult]::new('--tid', '--tid', [CompletionResultType]::ParameterName, 'Stacks of this thread id')
            [CompletionResult]::new('--state', '--state', [CompletionResultType]::ParameterName, 'Stacks in this state, or with this flag in it: D, TH_UNINT')
            [CompletionResult]::new('--wchan', '--wchan', [CompletionResultType]::ParameterName, 'Stacks whose wait channel matches')
            [CompletionResult]::new('--kind', '--kind', [CompletionResultType]::ParameterName, 'Stacks of this kind: thread, crash, irq, alloc, free, lock, sample')
            [CompletionResult]::new('--min-count', '--min-count', [CompletionResultType]::ParameterName, 'Stacks that at least this many threads share, by their functions')
            [CompletionResult]::new('--skip-list', '--skip-list', [CompletionResultType]::ParameterName, 'Functions and files that are never guilty of a crash, besides those that kstack knows')
            [CompletionResult]::new('--weight', '--weight', [CompletionResultType]::ParameterName, 'What stacks count for: count (threads, samples, records, objects) or bytes, in reports of memory')
            [CompletionResult]::new('-o', '-o', [CompletionResultType]::ParameterName, 'Write to FILE, which appears whole or not at all')
            [CompletionResult]::new('--output', '--output', [CompletionResultType]::ParameterName, 'Write to FILE, which appears whole or not at all')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'Colour')
            [CompletionResult]::new('--pc', '--pc', [CompletionResultType]::ParameterName, 'Say only in how many stacks this address occurs')
            [CompletionResult]::new('--function', '--function', [CompletionResultType]::ParameterName, 'Say only in how many stacks this function occurs; NAME, or `NAME [MODULE]`')
            [CompletionResult]::new('-n', '-n', [CompletionResultType]::ParameterName, 'Rows of the table; 0 for all')
            [CompletionResult]::new('--rows', '--rows', [CompletionResultType]::ParameterName, 'Rows of the table; 0 for all')
            [CompletionResult]::new('--format', '--format', [CompletionResultType]::ParameterName, 'Form of the output')
            [CompletionResult]::new('--no-local', '--no-local', [CompletionResultType]::ParameterName, 'Do not look for what this machine has installed for the report''s kernel (/usr/lib/debug, /lib/modules, /boot); as KSTACK_NO_LOCAL=1 does')
            [CompletionResult]::new('--allow-mismatch', '--allow-mismatch', [CompletionResultType]::ParameterName, 'Use a symbol file although its UUID or the report''s own frames say that it is another build')
            [CompletionResult]::new('--all-samples', '--all-samples', [CompletionResultType]::ParameterName, 'Count the threads of every sample of a capture; without it those of the last one, so that each thread counts once')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Say nothing on standard error but errors')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Say nothing on standard error but errors')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'kstack;flame' {
            [CompletionResult]::new('--format-in', '--format-in', [CompletionResultType]::ParameterName, 'Read every report as this format instead of detecting it (see `kstack formats`)')
            [CompletionResult]::new('-k', '-k', [CompletionResultType]::ParameterName, 'The kernel''s symbol file: Mach-O, vmlinux, System.map or kallsyms; ADDR is where its __TEXT lies in memory')
            [CompletionResult]::new('--kernel', '--kernel', [CompletionResultType]::ParameterName, 'The kernel''s symbol file: Mach-O, vmlinux, System.map or kallsyms; ADDR is where its __TEXT lies in memory')
            [CompletionResult]::new('-m', '-m', [CompletionResultType]::ParameterName, 'One kext or module: a .kext or .dSYM bundle, a Mach-O or .sym file, a .ko, packed or not')
            [CompletionResult]::new('--module', '--module', [CompletionResultType]::ParameterName, 'One kext or module: a .kext or .dSYM bundle, a Mach-O or .sym file, a .ko, packed or not')
            [CompletionResult]::new('-l', '-l', [CompletionResultType]::ParameterName, 'Load addresses: kextstat, kmutil showloaded, showallkmods, /proc/modules, kallsyms, a tree of /sys/module; kind detected')
            [CompletionResult]::new('--load-map', '--load-map', [CompletionResultType]::ParameterName, 'Load addresses: kextstat, kmutil showloaded, showallkmods, /proc/modules, kallsyms, a tree of /sys/module; kind detected')
            [CompletionResult]::new('-S', '-S ', [CompletionResultType]::ParameterName, 'Look for symbol files below this directory, by UUID first and by name second')
            [CompletionResult]::new('--symbols', '--symbols', [CompletionResultType]::ParameterName, 'Look for symbol files below this directory, by UUID first and by name second')
            [CompletionResult]::new('--slide', '--slide', [CompletionResultType]::ParameterName, 'The kernel slide, or `auto`: from the report, else from frames that name both a symbol and an address')
            [CompletionResult]::new('--local-root', '--local-root', [CompletionResultType]::ParameterName, 'Where /usr/lib/debug, /lib/modules and /boot are, for tests')
            [CompletionResult]::new('--debuginfod', '--debuginfod', [CompletionResultType]::ParameterName, 'Fetch missing debug info by build id through debuginfod-find: always (the meaning without WHEN), never (without this option), or auto: when DEBUGINFOD_URLS is set')
            [CompletionResult]::new('--debuginfod-timeout', '--debuginfod-timeout', [CompletionResultType]::ParameterName, 'Give up on one file after this many seconds')
            [CompletionResult]::new('--in-module', '--in-module', [CompletionResultType]::ParameterName, 'Stacks with a frame in this module or image, `kernel` for the kernel itself; the same as --module with a bare name')
            [CompletionResult]::new('--caller', '--caller', [CompletionResultType]::ParameterName, 'Stacks that run through this function, with +0xOFFSET through that very call')
            [CompletionResult]::new('--frame', '--frame', [CompletionResultType]::ParameterName, 'Stacks with a frame, written `function [module]`, that matches')
            [CompletionResult]::new('--called-from', '--called-from', [CompletionResultType]::ParameterName, 'Stacks with a frame, written `function [module]`, that matches')
            [CompletionResult]::new('--task', '--task', [CompletionResultType]::ParameterName, 'Stacks whose process or thread name matches')
            [CompletionResult]::new('--pid', '--pid', [CompletionResultType]::ParameterName, 'Stacks of this process id')
            [CompletionResult]::new('--tid', '--tid', [CompletionResultType]::ParameterName, 'Stacks of this thread id')
            [CompletionResult]::new('--state', '--state', [CompletionResultType]::ParameterName, 'Stacks in this state, or with this flag in it: D, TH_UNINT')
            [CompletionResult]::new('--wchan', '--wchan', [CompletionResultType]::ParameterName, 'Stacks whose wait channel matches')
            [CompletionResult]::new('--kind', '--kind', [CompletionResultType]::ParameterName, 'Stacks of this kind: thread, crash, irq, alloc, free, lock, sample')
            [CompletionResult]::new('--min-count', '--min-count', [CompletionResultType]::ParameterName, 'Stacks that at least this many threads share, by their functions')
            [CompletionResult]::new('--skip-list', '--skip-list', [CompletionResultType]::ParameterName, 'Functions and files that are never guilty of a crash, besides those that kstack knows')
            [CompletionResult]::new('--weight', '--weight', [CompletionResultType]::ParameterName, 'What stacks count for: count (threads, samples, records, objects) or bytes, in reports of memory')
            [CompletionResult]::new('-o', '-o', [CompletionResultType]::ParameterName, 'Write to FILE, which appears whole or not at all')
            [CompletionResult]::new('--output', '--output', [CompletionResultType]::ParameterName, 'Write to FILE, which appears whole or not at all')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'Colour')
            [CompletionResult]::new('--format', '--format', [CompletionResultType]::ParameterName, 'Form of the output: lines for flamegraph.pl, inferno or speedscope, or the graph itself; svg when -o names a .svg file, else folded')
            [CompletionResult]::new('--frames', '--frames', [CompletionResultType]::ParameterName, 'How frames are written: zio_wait_[k], zfs`zio_wait, or zio_wait; by default the first, and for profiles as their collapsers do')
            [CompletionResult]::new('--only', '--only', [CompletionResultType]::ParameterName, 'Keep the stacks that run through this function, inlined or not; repeatable, one is enough')
            [CompletionResult]::new('--diff', '--diff', [CompletionResultType]::ParameterName, 'Compare with this report: two counts for each stack, or a graph whose red frames grew and whose blue ones shrank')
            [CompletionResult]::new('--title', '--title', [CompletionResultType]::ParameterName, 'Heading of the graph')
            [CompletionResult]::new('--no-local', '--no-local', [CompletionResultType]::ParameterName, 'Do not look for what this machine has installed for the report''s kernel (/usr/lib/debug, /lib/modules, /boot); as KSTACK_NO_LOCAL=1 does')
            [CompletionResult]::new('--allow-mismatch', '--allow-mismatch', [CompletionResultType]::ParameterName, 'Use a symbol file although its UUID or the report''s own frames say that it is another build')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Say nothing on standard error but errors')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Say nothing on standard error but errors')
            [CompletionResult]::new('--by-thread', '--by-thread', [CompletionResultType]::ParameterName, 'Put the thread''s name, or its process''s, below its stacks as their root')
            [CompletionResult]::new('--no-inline', '--no-inline', [CompletionResultType]::ParameterName, 'Leave out the inlined calls that debug info knows')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'kstack;report' {
            [CompletionResult]::new('--format-in', '--format-in', [CompletionResultType]::ParameterName, 'Read every report as this format instead of detecting it (see `kstack formats`)')
            [CompletionResult]::new('-k', '-k', [CompletionResultType]::ParameterName, 'The kernel''s symbol file: Mach-O, vmlinux, System.map or kallsyms; ADDR is where its __TEXT lies in memory')
            [CompletionResult]::new('--kernel', '--kernel', [CompletionResultType]::ParameterName, 'The kernel''s symbol file: Mach-O, vmlinux, System.map or kallsyms; ADDR is where its __TEXT lies in memory')
            [CompletionResult]::new('-m', '-m', [CompletionResultType]::ParameterName, 'One kext or module: a .kext or .dSYM bundle, a Mach-O or .sym file, a .ko, packed or not')
            [CompletionResult]::new('--module', '--module', [CompletionResultType]::ParameterName, 'One kext or module: a .kext or .dSYM bundle, a Mach-O or .sym file, a .ko, packed or not')
            [CompletionResult]::new('-l', '-l', [CompletionResultType]::ParameterName, 'Load addresses: kextstat, kmutil showloaded, showallkmods, /proc/modules, kallsyms, a tree of /sys/module; kind detected')
            [CompletionResult]::new('--load-map', '--load-map', [CompletionResultType]::ParameterName, 'Load addresses: kextstat, kmutil showloaded, showallkmods, /proc/modules, kallsyms, a tree of /sys/module; kind detected')
            [CompletionResult]::new('-S', '-S ', [CompletionResultType]::ParameterName, 'Look for symbol files below this directory, by UUID first and by name second')
            [CompletionResult]::new('--symbols', '--symbols', [CompletionResultType]::ParameterName, 'Look for symbol files below this directory, by UUID first and by name second')
            [CompletionResult]::new('--slide', '--slide', [CompletionResultType]::ParameterName, 'The kernel slide, or `auto`: from the report, else from frames that name both a symbol and an address')
            [CompletionResult]::new('--local-root', '--local-root', [CompletionResultType]::ParameterName, 'Where /usr/lib/debug, /lib/modules and /boot are, for tests')
            [CompletionResult]::new('--debuginfod', '--debuginfod', [CompletionResultType]::ParameterName, 'Fetch missing debug info by build id through debuginfod-find: always (the meaning without WHEN), never (without this option), or auto: when DEBUGINFOD_URLS is set')
            [CompletionResult]::new('--debuginfod-timeout', '--debuginfod-timeout', [CompletionResultType]::ParameterName, 'Give up on one file after this many seconds')
            [CompletionResult]::new('--in-module', '--in-module', [CompletionResultType]::ParameterName, 'Stacks with a frame in this module or image, `kernel` for the kernel itself; the same as --module with a bare name')
            [CompletionResult]::new('--caller', '--caller', [CompletionResultType]::ParameterName, 'Stacks that run through this function, with +0xOFFSET through that very call')
            [CompletionResult]::new('--frame', '--frame', [CompletionResultType]::ParameterName, 'Stacks with a frame, written `function [module]`, that matches')
            [CompletionResult]::new('--called-from', '--called-from', [CompletionResultType]::ParameterName, 'Stacks with a frame, written `function [module]`, that matches')
            [CompletionResult]::new('--task', '--task', [CompletionResultType]::ParameterName, 'Stacks whose process or thread name matches')
            [CompletionResult]::new('--pid', '--pid', [CompletionResultType]::ParameterName, 'Stacks of this process id')
            [CompletionResult]::new('--tid', '--tid', [CompletionResultType]::ParameterName, 'Stacks of this thread id')
            [CompletionResult]::new('--state', '--state', [CompletionResultType]::ParameterName, 'Stacks in this state, or with this flag in it: D, TH_UNINT')
            [CompletionResult]::new('--wchan', '--wchan', [CompletionResultType]::ParameterName, 'Stacks whose wait channel matches')
            [CompletionResult]::new('--kind', '--kind', [CompletionResultType]::ParameterName, 'Stacks of this kind: thread, crash, irq, alloc, free, lock, sample')
            [CompletionResult]::new('--min-count', '--min-count', [CompletionResultType]::ParameterName, 'Stacks that at least this many threads share, by their functions')
            [CompletionResult]::new('--skip-list', '--skip-list', [CompletionResultType]::ParameterName, 'Functions and files that are never guilty of a crash, besides those that kstack knows')
            [CompletionResult]::new('-o', '-o', [CompletionResultType]::ParameterName, 'Write to FILE, which appears whole or not at all')
            [CompletionResult]::new('--output', '--output', [CompletionResultType]::ParameterName, 'Write to FILE, which appears whole or not at all')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'Colour')
            [CompletionResult]::new('--by', '--by', [CompletionResultType]::ParameterName, 'What makes stacks the same: functions, stack (offsets too), module, top:N functions from the interesting one on, wchan, state, process')
            [CompletionResult]::new('--plumbing', '--plumbing', [CompletionResultType]::ParameterName, 'Functions that only stand for waiting, one a line, instead of the list that is built in')
            [CompletionResult]::new('--no-local', '--no-local', [CompletionResultType]::ParameterName, 'Do not look for what this machine has installed for the report''s kernel (/usr/lib/debug, /lib/modules, /boot); as KSTACK_NO_LOCAL=1 does')
            [CompletionResult]::new('--allow-mismatch', '--allow-mismatch', [CompletionResultType]::ParameterName, 'Use a symbol file although its UUID or the report''s own frames say that it is another build')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Say nothing on standard error but errors')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Say nothing on standard error but errors')
            [CompletionResult]::new('--code', '--code', [CompletionResultType]::ParameterName, 'Disassemble the `Code:` lines of an oops, each in the note at its line')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'kstack;modules' {
            [CompletionResult]::new('--format-in', '--format-in', [CompletionResultType]::ParameterName, 'Read every report as this format instead of detecting it (see `kstack formats`)')
            [CompletionResult]::new('-k', '-k', [CompletionResultType]::ParameterName, 'The kernel''s symbol file: Mach-O, vmlinux, System.map or kallsyms; ADDR is where its __TEXT lies in memory')
            [CompletionResult]::new('--kernel', '--kernel', [CompletionResultType]::ParameterName, 'The kernel''s symbol file: Mach-O, vmlinux, System.map or kallsyms; ADDR is where its __TEXT lies in memory')
            [CompletionResult]::new('-m', '-m', [CompletionResultType]::ParameterName, 'One kext or module: a .kext or .dSYM bundle, a Mach-O or .sym file, a .ko, packed or not')
            [CompletionResult]::new('--module', '--module', [CompletionResultType]::ParameterName, 'One kext or module: a .kext or .dSYM bundle, a Mach-O or .sym file, a .ko, packed or not')
            [CompletionResult]::new('-l', '-l', [CompletionResultType]::ParameterName, 'Load addresses: kextstat, kmutil showloaded, showallkmods, /proc/modules, kallsyms, a tree of /sys/module; kind detected')
            [CompletionResult]::new('--load-map', '--load-map', [CompletionResultType]::ParameterName, 'Load addresses: kextstat, kmutil showloaded, showallkmods, /proc/modules, kallsyms, a tree of /sys/module; kind detected')
            [CompletionResult]::new('-S', '-S ', [CompletionResultType]::ParameterName, 'Look for symbol files below this directory, by UUID first and by name second')
            [CompletionResult]::new('--symbols', '--symbols', [CompletionResultType]::ParameterName, 'Look for symbol files below this directory, by UUID first and by name second')
            [CompletionResult]::new('--slide', '--slide', [CompletionResultType]::ParameterName, 'The kernel slide, or `auto`: from the report, else from frames that name both a symbol and an address')
            [CompletionResult]::new('--local-root', '--local-root', [CompletionResultType]::ParameterName, 'Where /usr/lib/debug, /lib/modules and /boot are, for tests')
            [CompletionResult]::new('--debuginfod', '--debuginfod', [CompletionResultType]::ParameterName, 'Fetch missing debug info by build id through debuginfod-find: always (the meaning without WHEN), never (without this option), or auto: when DEBUGINFOD_URLS is set')
            [CompletionResult]::new('--debuginfod-timeout', '--debuginfod-timeout', [CompletionResultType]::ParameterName, 'Give up on one file after this many seconds')
            [CompletionResult]::new('--in-module', '--in-module', [CompletionResultType]::ParameterName, 'Stacks with a frame in this module or image, `kernel` for the kernel itself; the same as --module with a bare name')
            [CompletionResult]::new('--caller', '--caller', [CompletionResultType]::ParameterName, 'Stacks that run through this function, with +0xOFFSET through that very call')
            [CompletionResult]::new('--frame', '--frame', [CompletionResultType]::ParameterName, 'Stacks with a frame, written `function [module]`, that matches')
            [CompletionResult]::new('--called-from', '--called-from', [CompletionResultType]::ParameterName, 'Stacks with a frame, written `function [module]`, that matches')
            [CompletionResult]::new('--task', '--task', [CompletionResultType]::ParameterName, 'Stacks whose process or thread name matches')
            [CompletionResult]::new('--pid', '--pid', [CompletionResultType]::ParameterName, 'Stacks of this process id')
            [CompletionResult]::new('--tid', '--tid', [CompletionResultType]::ParameterName, 'Stacks of this thread id')
            [CompletionResult]::new('--state', '--state', [CompletionResultType]::ParameterName, 'Stacks in this state, or with this flag in it: D, TH_UNINT')
            [CompletionResult]::new('--wchan', '--wchan', [CompletionResultType]::ParameterName, 'Stacks whose wait channel matches')
            [CompletionResult]::new('--kind', '--kind', [CompletionResultType]::ParameterName, 'Stacks of this kind: thread, crash, irq, alloc, free, lock, sample')
            [CompletionResult]::new('--min-count', '--min-count', [CompletionResultType]::ParameterName, 'Stacks that at least this many threads share, by their functions')
            [CompletionResult]::new('-o', '-o', [CompletionResultType]::ParameterName, 'Write to FILE, which appears whole or not at all')
            [CompletionResult]::new('--output', '--output', [CompletionResultType]::ParameterName, 'Write to FILE, which appears whole or not at all')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'Colour')
            [CompletionResult]::new('--format', '--format', [CompletionResultType]::ParameterName, 'Form of the output')
            [CompletionResult]::new('--no-local', '--no-local', [CompletionResultType]::ParameterName, 'Do not look for what this machine has installed for the report''s kernel (/usr/lib/debug, /lib/modules, /boot); as KSTACK_NO_LOCAL=1 does')
            [CompletionResult]::new('--allow-mismatch', '--allow-mismatch', [CompletionResultType]::ParameterName, 'Use a symbol file although its UUID or the report''s own frames say that it is another build')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Say nothing on standard error but errors')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Say nothing on standard error but errors')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Say below the table by what rule each image is placed, every place where its file was looked for and why one was refused; list user space too')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Say below the table by what rule each image is placed, every place where its file was looked for and why one was refused; list user space too')
            [CompletionResult]::new('--check', '--check', [CompletionResultType]::ParameterName, 'Look into each symbol file: stripped or not, DWARF, lines, inlined calls, unwinding, CTF types; and say what mends what is missing')
            [CompletionResult]::new('--strict', '--strict', [CompletionResultType]::ParameterName, 'Exit with status 3 when an image has no verified symbol file')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'kstack;lookup' {
            [CompletionResult]::new('-k', '-k', [CompletionResultType]::ParameterName, 'The kernel''s symbol file: Mach-O, vmlinux, System.map or kallsyms; ADDR is where its __TEXT lies in memory')
            [CompletionResult]::new('--kernel', '--kernel', [CompletionResultType]::ParameterName, 'The kernel''s symbol file: Mach-O, vmlinux, System.map or kallsyms; ADDR is where its __TEXT lies in memory')
            [CompletionResult]::new('-m', '-m', [CompletionResultType]::ParameterName, 'One kext or module: a .kext or .dSYM bundle, a Mach-O or .sym file, a .ko, packed or not')
            [CompletionResult]::new('--module', '--module', [CompletionResultType]::ParameterName, 'One kext or module: a .kext or .dSYM bundle, a Mach-O or .sym file, a .ko, packed or not')
            [CompletionResult]::new('-l', '-l', [CompletionResultType]::ParameterName, 'Load addresses: kextstat, kmutil showloaded, showallkmods, /proc/modules, kallsyms, a tree of /sys/module; kind detected')
            [CompletionResult]::new('--load-map', '--load-map', [CompletionResultType]::ParameterName, 'Load addresses: kextstat, kmutil showloaded, showallkmods, /proc/modules, kallsyms, a tree of /sys/module; kind detected')
            [CompletionResult]::new('-S', '-S ', [CompletionResultType]::ParameterName, 'Look for symbol files below this directory, by UUID first and by name second')
            [CompletionResult]::new('--symbols', '--symbols', [CompletionResultType]::ParameterName, 'Look for symbol files below this directory, by UUID first and by name second')
            [CompletionResult]::new('--slide', '--slide', [CompletionResultType]::ParameterName, 'The kernel slide, or `auto`: from the report, else from frames that name both a symbol and an address')
            [CompletionResult]::new('--local-root', '--local-root', [CompletionResultType]::ParameterName, 'Where /usr/lib/debug, /lib/modules and /boot are, for tests')
            [CompletionResult]::new('--debuginfod', '--debuginfod', [CompletionResultType]::ParameterName, 'Fetch missing debug info by build id through debuginfod-find: always (the meaning without WHEN), never (without this option), or auto: when DEBUGINFOD_URLS is set')
            [CompletionResult]::new('--debuginfod-timeout', '--debuginfod-timeout', [CompletionResultType]::ParameterName, 'Give up on one file after this many seconds')
            [CompletionResult]::new('--source', '--source', [CompletionResultType]::ParameterName, 'Show the source of each location, N lines above and below it, where the file is found')
            [CompletionResult]::new('--source-map', '--source-map', [CompletionResultType]::ParameterName, 'Where sources lie: TO instead of FROM at the beginning of a path; without FROM, a checkout to look in')
            [CompletionResult]::new('--links', '--links', [CompletionResultType]::ParameterName, 'Make locations links to their source files, for terminals that know OSC 8')
            [CompletionResult]::new('-o', '-o', [CompletionResultType]::ParameterName, 'Write to FILE, which appears whole or not at all')
            [CompletionResult]::new('--output', '--output', [CompletionResultType]::ParameterName, 'Write to FILE, which appears whole or not at all')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'Colour')
            [CompletionResult]::new('--format', '--format', [CompletionResultType]::ParameterName, 'Form of the output')
            [CompletionResult]::new('--image', '--image', [CompletionResultType]::ParameterName, 'Queries are offsets into this image (`+0x12cc`), by bundle identifier or its last part')
            [CompletionResult]::new('--arch', '--arch', [CompletionResultType]::ParameterName, 'Architecture of the queries, where a symbol file is for several and no address tells')
            [CompletionResult]::new('--frames', '--frames', [CompletionResultType]::ParameterName, 'Idiom of the frames in text; by default that of the system that the symbol files are of')
            [CompletionResult]::new('--no-local', '--no-local', [CompletionResultType]::ParameterName, 'Do not look for what this machine has installed for the report''s kernel (/usr/lib/debug, /lib/modules, /boot); as KSTACK_NO_LOCAL=1 does')
            [CompletionResult]::new('--allow-mismatch', '--allow-mismatch', [CompletionResultType]::ParameterName, 'Use a symbol file although its UUID or the report''s own frames say that it is another build')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Say nothing on standard error but errors')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Say nothing on standard error but errors')
            [CompletionResult]::new('-r', '-r', [CompletionResultType]::ParameterName, 'The addresses come from stacks: look up the call before each, as symbolicate does')
            [CompletionResult]::new('--return-address', '--return-address', [CompletionResultType]::ParameterName, 'The addresses come from stacks: look up the call before each, as symbolicate does')
            [CompletionResult]::new('--no-demangle', '--no-demangle', [CompletionResultType]::ParameterName, 'Leave C++ and Rust names as they are in the symbol file')
            [CompletionResult]::new('--strict', '--strict', [CompletionResultType]::ParameterName, 'Exit with status 3 when a query stayed unresolved or unverified')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'kstack;script' {
            [CompletionResult]::new('--format-in', '--format-in', [CompletionResultType]::ParameterName, 'Read every report as this format instead of detecting it (see `kstack formats`)')
            [CompletionResult]::new('-k', '-k', [CompletionResultType]::ParameterName, 'The kernel''s symbol file: Mach-O, vmlinux, System.map or kallsyms; ADDR is where its __TEXT lies in memory')
            [CompletionResult]::new('--kernel', '--kernel', [CompletionResultType]::ParameterName, 'The kernel''s symbol file: Mach-O, vmlinux, System.map or kallsyms; ADDR is where its __TEXT lies in memory')
            [CompletionResult]::new('-m', '-m', [CompletionResultType]::ParameterName, 'One kext or module: a .kext or .dSYM bundle, a Mach-O or .sym file, a .ko, packed or not')
            [CompletionResult]::new('--module', '--module', [CompletionResultType]::ParameterName, 'One kext or module: a .kext or .dSYM bundle, a Mach-O or .sym file, a .ko, packed or not')
            [CompletionResult]::new('-l', '-l', [CompletionResultType]::ParameterName, 'Load addresses: kextstat, kmutil showloaded, showallkmods, /proc/modules, kallsyms, a tree of /sys/module; kind detected')
            [CompletionResult]::new('--load-map', '--load-map', [CompletionResultType]::ParameterName, 'Load addresses: kextstat, kmutil showloaded, showallkmods, /proc/modules, kallsyms, a tree of /sys/module; kind detected')
            [CompletionResult]::new('-S', '-S ', [CompletionResultType]::ParameterName, 'Look for symbol files below this directory, by UUID first and by name second')
            [CompletionResult]::new('--symbols', '--symbols', [CompletionResultType]::ParameterName, 'Look for symbol files below this directory, by UUID first and by name second')
            [CompletionResult]::new('--slide', '--slide', [CompletionResultType]::ParameterName, 'The kernel slide, or `auto`: from the report, else from frames that name both a symbol and an address')
            [CompletionResult]::new('--local-root', '--local-root', [CompletionResultType]::ParameterName, 'Where /usr/lib/debug, /lib/modules and /boot are, for tests')
            [CompletionResult]::new('--debuginfod', '--debuginfod', [CompletionResultType]::ParameterName, 'Fetch missing debug info by build id through debuginfod-find: always (the meaning without WHEN), never (without this option), or auto: when DEBUGINFOD_URLS is set')
            [CompletionResult]::new('--debuginfod-timeout', '--debuginfod-timeout', [CompletionResultType]::ParameterName, 'Give up on one file after this many seconds')
            [CompletionResult]::new('--in-module', '--in-module', [CompletionResultType]::ParameterName, 'Stacks with a frame in this module or image, `kernel` for the kernel itself; the same as --module with a bare name')
            [CompletionResult]::new('--caller', '--caller', [CompletionResultType]::ParameterName, 'Stacks that run through this function, with +0xOFFSET through that very call')
            [CompletionResult]::new('--frame', '--frame', [CompletionResultType]::ParameterName, 'Stacks with a frame, written `function [module]`, that matches')
            [CompletionResult]::new('--called-from', '--called-from', [CompletionResultType]::ParameterName, 'Stacks with a frame, written `function [module]`, that matches')
            [CompletionResult]::new('--task', '--task', [CompletionResultType]::ParameterName, 'Stacks whose process or thread name matches')
            [CompletionResult]::new('--pid', '--pid', [CompletionResultType]::ParameterName, 'Stacks of this process id')
            [CompletionResult]::new('--tid', '--tid', [CompletionResultType]::ParameterName, 'Stacks of this thread id')
            [CompletionResult]::new('--state', '--state', [CompletionResultType]::ParameterName, 'Stacks in this state, or with this flag in it: D, TH_UNINT')
            [CompletionResult]::new('--wchan', '--wchan', [CompletionResultType]::ParameterName, 'Stacks whose wait channel matches')
            [CompletionResult]::new('--kind', '--kind', [CompletionResultType]::ParameterName, 'Stacks of this kind: thread, crash, irq, alloc, free, lock, sample')
            [CompletionResult]::new('--min-count', '--min-count', [CompletionResultType]::ParameterName, 'Stacks that at least this many threads share, by their functions')
            [CompletionResult]::new('-o', '-o', [CompletionResultType]::ParameterName, 'Write to FILE, which appears whole or not at all')
            [CompletionResult]::new('--output', '--output', [CompletionResultType]::ParameterName, 'Write to FILE, which appears whole or not at all')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'Colour')
            [CompletionResult]::new('--stack', '--stack', [CompletionResultType]::ParameterName, 'Look up every frame of stack N of the first report too, counted from 0 as in the JSON form; with filters, of the stacks that are left')
            [CompletionResult]::new('--breakpoints', '--breakpoints', [CompletionResultType]::ParameterName, 'gdb, lldb: stop in every function of these names, with commas between them')
            [CompletionResult]::new('--unpack', '--unpack', [CompletionResultType]::ParameterName, 'Unpack symbol files for the debugger, which reads no packed ones, into this directory')
            [CompletionResult]::new('--format', '--format', [CompletionResultType]::ParameterName, 'Form of the output: the script, or what it says as JSON')
            [CompletionResult]::new('--no-local', '--no-local', [CompletionResultType]::ParameterName, 'Do not look for what this machine has installed for the report''s kernel (/usr/lib/debug, /lib/modules, /boot); as KSTACK_NO_LOCAL=1 does')
            [CompletionResult]::new('--allow-mismatch', '--allow-mismatch', [CompletionResultType]::ParameterName, 'Use a symbol file although its UUID or the report''s own frames say that it is another build')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Say nothing on standard error but errors')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Say nothing on standard error but errors')
            [CompletionResult]::new('--apple', '--apple', [CompletionResultType]::ParameterName, 'gdb: write for Apple''s gdb of Mac OS X, with add-kext and add-dsym')
            [CompletionResult]::new('--xnu', '--xnu', [CompletionResultType]::ParameterName, 'lldb: use the macros that come with xnu, with addkext -F')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'kstack;capture' {
            [CompletionResult]::new('-o', '-o', [CompletionResultType]::ParameterName, 'Write to FILE, which appears whole or not at all; kstack-HOST-TIME.tar.zst unless named, - for standard output')
            [CompletionResult]::new('--output', '--output', [CompletionResultType]::ParameterName, 'Write to FILE, which appears whole or not at all; kstack-HOST-TIME.tar.zst unless named, - for standard output')
            [CompletionResult]::new('--samples', '--samples', [CompletionResultType]::ParameterName, 'Read the threads this often; `kstack diff FILE` compares the first and the last sample')
            [CompletionResult]::new('--interval', '--interval', [CompletionResultType]::ParameterName, 'Seconds from the beginning of one sample to that of the next')
            [CompletionResult]::new('--timeout', '--timeout', [CompletionResultType]::ParameterName, 'Read nothing more after so many seconds, and end the archive with what is there; the time that samples need is added')
            [CompletionResult]::new('--file-timeout', '--file-timeout', [CompletionResultType]::ParameterName, 'Leave out a file that does not answer for so many seconds')
            [CompletionResult]::new('--print-script', '--print-script', [CompletionResultType]::ParameterName, 'Print a POSIX shell script that collects the same where kstack is not installed')
            [CompletionResult]::new('--root', '--root', [CompletionResultType]::ParameterName, 'Read DIR/proc, DIR/sys and DIR/dev instead of those of this machine')
            [CompletionResult]::new('--stdout', '--stdout', [CompletionResultType]::ParameterName, 'Write to standard output: `kstack capture --stdout | ssh HOST ''cat > capture.tar.zst''` when no disk can be trusted')
            [CompletionResult]::new('--redact', '--redact', [CompletionResultType]::ParameterName, 'Hash names and command lines of processes, cgroups and the host''s name; leave out log, mounts and boot command line')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Say nothing on standard error but errors')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Say nothing on standard error but errors')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'kstack;formats' {
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help')
            break
        }
        'kstack;completions' {
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help')
            break
        }
        'kstack;man' {
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help')
            break
        }
        'kstack;help' {
            [CompletionResult]::new('symbolicate', 'symbolicate', [CompletionResultType]::ParameterValue, 'Print the report again with every kernel frame named')
            [CompletionResult]::new('group', 'group', [CompletionResultType]::ParameterValue, 'Show the distinct stacks, most frequent first')
            [CompletionResult]::new('diff', 'diff', [CompletionResultType]::ParameterValue, 'Compare two captures of one machine: what is stuck, what moves')
            [CompletionResult]::new('top', 'top', [CompletionResultType]::ParameterValue, 'Count in how many stacks each function occurs')
            [CompletionResult]::new('flame', 'flame', [CompletionResultType]::ParameterValue, 'Write folded stacks, or draw a flame graph')
            [CompletionResult]::new('report', 'report', [CompletionResultType]::ParameterValue, 'Write one HTML page with everything: groups, flame graph, images, the report''s text')
            [CompletionResult]::new('modules', 'modules', [CompletionResultType]::ParameterValue, 'List every image with its load address, UUID and symbol file')
            [CompletionResult]::new('lookup', 'lookup', [CompletionResultType]::ParameterValue, 'Resolve single addresses, or SYMBOL+OFFSET, in a whole kernel')
            [CompletionResult]::new('script', 'script', [CompletionResultType]::ParameterValue, 'Write a script that loads every symbol file at its address in a debugger')
            [CompletionResult]::new('capture', 'capture', [CompletionResultType]::ParameterValue, 'Collect everything that the other commands need from this Linux machine into one file')
            [CompletionResult]::new('formats', 'formats', [CompletionResultType]::ParameterValue, 'List the formats, symbol files and outputs that are known')
            [CompletionResult]::new('completions', 'completions', [CompletionResultType]::ParameterValue, 'Print a completion script for a shell')
            [CompletionResult]::new('man', 'man', [CompletionResultType]::ParameterValue, 'Print the manual page, or write all pages to a directory')
            [CompletionResult]::new('help', 'help', [CompletionResultType]::ParameterValue, 'Print this message or the help of the given subcommand(s)')
            break
        }
        'kstack;help;symbolicate' {
            break
        }
        'kstack;help;group' {
            break
        }
        'kstack;help;diff' {
            break
        }
        'kstack;help;top' {
            break
        }
        'kstack;help;flame' {
            break
        }
        'kstack;help;report' {
            break
        }
        'kstack;help;modules' {
            break
        }
        'kstack;help;lookup' {
            break
        }
        'kstack;help;script' {
            break
        }
        'kstack;help;capture' {
            break
        }
        'kstack;help;formats' {
            break
        }
        'kstack;help;completions' {
            break
        }
        'kstack;help;man' {
            break
        }
        'kstack;help;help' {
            break
        }
    })

    $completions.Where{ $_.CompletionText -like "$wordToComplete*" } |
        Sort-Object -Property ListItemText
}
