
use builtin;
use str;

set edit:completion:arg-completer[kstack] = {|@words|
    fn spaces {|n|
        builtin:repeat $n ' ' | str:join ''
    }
    fn cand {|text desc|
        edit:complex-candidate $text &display=$text' '(spaces (- 14 (wcswidth $text)))$desc
    }
    var command = 'kstack'
    for word $words[1..-1] {
        if (str:has-prefix $word '-') {
            break
        }
        set command = $command';'$word
    }
    var completions = [
        &'kstack'= {
            cand -h 'Print help'
            cand --help 'Print help'
            cand -V 'Print version'
            cand --version 'Print version'
            cand symbolicate 'Print the report again with every kernel frame named'
            cand sym 'Print the report again with every kernel frame named'
            cand group 'Show the distinct stacks, most frequent first'
            cand flame 'Write folded stacks, or draw a flame graph'
            cand report 'Write one HTML page with everything: groups, flame graph, images, the report''s text'
            cand modules 'List every image with its load address, UUID and symbol file'
            cand lookup 'Resolve single addresses, or SYMBOL+OFFSET, in a whole kernel'
            cand formats 'List the formats, symbol files and outputs that are known'
            cand completions 'Print a completion script for a shell'
            cand man 'Print the manual page, or write all pages to a directory'
            cand help 'Print this message or the help of the given subcommand(s)'
        }
        &'kstack;symbolicate'= {
            cand --format-in 'Read every report as this format instead of detecting it (see `kstack formats`)'
            cand -k 'The kernel''s symbol file: Mach-O, vmlinux, System.map or kallsyms; ADDR is where its __TEXT lies in memory'
            cand --kernel 'The kernel''s symbol file: Mach-O, vmlinux, System.map or kallsyms; ADDR is where its __TEXT lies in memory'
            cand -m 'One kext or module: a .kext or .dSYM bundle, a Mach-O or .sym file, a .ko, packed or not'
            cand --module 'One kext or module: a .kext or .dSYM bundle, a Mach-O or .sym file, a .ko, packed or not'
            cand -l 'Load addresses: kextstat, kmutil showloaded, showallkmods, /proc/modules, kallsyms, a tree of /sys/module; kind detected'
            cand --load-map 'Load addresses: kextstat, kmutil showloaded, showallkmods, /proc/modules, kallsyms, a tree of /sys/module; kind detected'
            cand -S 'Look for symbol files below this directory, by UUID first and by name second'
            cand --symbols 'Look for symbol files below this directory, by UUID first and by name second'
            cand --slide 'The kernel slide, or `auto`: from the report, else from frames that name both a symbol and an address'
            cand --in-module 'Stacks with a frame in this module or image, `kernel` for the kernel itself; the same as --module with a bare name'
            cand --caller 'Stacks that run through this function, with +0xOFFSET through that very call'
            cand --frame 'Stacks with a frame, written `function [module]`, that matches'
            cand --called-from 'Stacks with a frame, written `function [module]`, that matches'
            cand --task 'Stacks whose process or thread name matches'
            cand --pid 'Stacks of this process id'
            cand --tid 'Stacks of this thread id'
            cand --state 'Stacks in this state, or with this flag in it: D, TH_UNINT'
            cand --wchan 'Stacks whose wait channel matches'
            cand --kind 'Stacks of this kind: thread, crash, irq, alloc, free, lock, sample'
            cand --min-count 'Stacks that at least this many threads share, by their functions'
            cand -o 'Write to FILE, which appears whole or not at all'
            cand --output 'Write to FILE, which appears whole or not at all'
            cand --color 'Colour'
            cand --format 'Form of the output'
            cand --frames 'Idiom of the frames in text; by default that of the report''s system'
            cand --allow-mismatch 'Use a symbol file although its UUID or the report''s own frames say that it is another build'
            cand -q 'Say nothing on standard error but errors'
            cand --quiet 'Say nothing on standard error but errors'
            cand --no-demangle 'Leave C++ and Rust names as they are in the symbol file'
            cand --strict 'Exit with status 3 when a kernel frame stayed unresolved or unverified'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
        }
        &'kstack;sym'= {
            cand --format-in 'Read every report as this format instead of detecting it (see `kstack formats`)'
            cand -k 'The kernel''s symbol file: Mach-O, vmlinux, System.map or kallsyms; ADDR is where its __TEXT lies in memory'
            cand --kernel 'The kernel''s symbol file: Mach-O, vmlinux, System.map or kallsyms; ADDR is where its __TEXT lies in memory'
            cand -m 'One kext or module: a .kext or .dSYM bundle, a Mach-O or .sym file, a .ko, packed or not'
            cand --module 'One kext or module: a .kext or .dSYM bundle, a Mach-O or .sym file, a .ko, packed or not'
            cand -l 'Load addresses: kextstat, kmutil showloaded, showallkmods, /proc/modules, kallsyms, a tree of /sys/module; kind detected'
            cand --load-map 'Load addresses: kextstat, kmutil showloaded, showallkmods, /proc/modules, kallsyms, a tree of /sys/module; kind detected'
            cand -S 'Look for symbol files below this directory, by UUID first and by name second'
            cand --symbols 'Look for symbol files below this directory, by UUID first and by name second'
            cand --slide 'The kernel slide, or `auto`: from the report, else from frames that name both a symbol and an address'
            cand --in-module 'Stacks with a frame in this module or image, `kernel` for the kernel itself; the same as --module with a bare name'
            cand --caller 'Stacks that run through this function, with +0xOFFSET through that very call'
            cand --frame 'Stacks with a frame, written `function [module]`, that matches'
            cand --called-from 'Stacks with a frame, written `function [module]`, that matches'
            cand --task 'Stacks whose process or thread name matches'
            cand --pid 'Stacks of this process id'
            cand --tid 'Stacks of this thread id'
            cand --state 'Stacks in this state, or with this flag in it: D, TH_UNINT'
            cand --wchan 'Stacks whose wait channel matches'
            cand --kind 'Stacks of this kind: thread, crash, irq, alloc, free, lock, sample'
            cand --min-count 'Stacks that at least this many threads share, by their functions'
            cand -o 'Write to FILE, which appears whole or not at all'
            cand --output 'Write to FILE, which appears whole or not at all'
            cand --color 'Colour'
            cand --format 'Form of the output'
            cand --frames 'Idiom of the frames in text; by default that of the report''s system'
            cand --allow-mismatch 'Use a symbol file although its UUID or the report''s own frames say that it is another build'
            cand -q 'Say nothing on standard error but errors'
            cand --quiet 'Say nothing on standard error but errors'
            cand --no-demangle 'Leave C++ and Rust names as they are in the symbol file'
            cand --strict 'Exit with status 3 when a kernel frame stayed unresolved or unverified'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
        }
        &'kstack;group'= {
            cand --format-in 'Read every report as this format instead of detecting it (see `kstack formats`)'
            cand -k 'The kernel''s symbol file: Mach-O, vmlinux, System.map or kallsyms; ADDR is where its __TEXT lies in memory'
            cand --kernel 'The kernel''s symbol file: Mach-O, vmlinux, System.map or kallsyms; ADDR is where its __TEXT lies in memory'
            cand -m 'One kext or module: a .kext or .dSYM bundle, a Mach-O or .sym file, a .ko, packed or not'
            cand --module 'One kext or module: a .kext or .dSYM bundle, a Mach-O or .sym file, a .ko, packed or not'
            cand -l 'Load addresses: kextstat, kmutil showloaded, showallkmods, /proc/modules, kallsyms, a tree of /sys/module; kind detected'
            cand --load-map 'Load addresses: kextstat, kmutil showloaded, showallkmods, /proc/modules, kallsyms, a tree of /sys/module; kind detected'
            cand -S 'Look for symbol files below this directory, by UUID first and by name second'
            cand --symbols 'Look for symbol files below this directory, by UUID first and by name second'
            cand --slide 'The kernel slide, or `auto`: from the report, else from frames that name both a symbol and an address'
            cand --in-module 'Stacks with a frame in this module or image, `kernel` for the kernel itself; the same as --module with a bare name'
            cand --caller 'Stacks that run through this function, with +0xOFFSET through that very call'
            cand --frame 'Stacks with a frame, written `function [module]`, that matches'
            cand --called-from 'Stacks with a frame, written `function [module]`, that matches'
            cand --task 'Stacks whose process or thread name matches'
            cand --pid 'Stacks of this process id'
            cand --tid 'Stacks of this thread id'
            cand --state 'Stacks in this state, or with this flag in it: D, TH_UNINT'
            cand --wchan 'Stacks whose wait channel matches'
            cand --kind 'Stacks of this kind: thread, crash, irq, alloc, free, lock, sample'
            cand --min-count 'Stacks that at least this many threads share, by their functions'
            cand -o 'Write to FILE, which appears whole or not at all'
            cand --output 'Write to FILE, which appears whole or not at all'
            cand --color 'Colour'
            cand --by 'What makes stacks the same: functions, stack (offsets too), module, top:N functions from the interesting one on, wchan, state, process'
            cand --format 'Form of the output'
            cand --plumbing 'Functions that only stand for waiting, one a line, instead of the list that is built in'
            cand --allow-mismatch 'Use a symbol file although its UUID or the report''s own frames say that it is another build'
            cand -q 'Say nothing on standard error but errors'
            cand --quiet 'Say nothing on standard error but errors'
            cand --all-members 'List every member of a group, not the first few'
            cand --all-frames 'Show the frames of waiting and the unreliable ones too'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
        }
        &'kstack;flame'= {
            cand --format-in 'Read every report as this format instead of detecting it (see `kstack formats`)'
            cand -k 'The kernel''s symbol file: Mach-O, vmlinux, System.map or kallsyms; ADDR is where its __TEXT lies in memory'
            cand --kernel 'The kernel''s symbol file: Mach-O, vmlinux, System.map or kallsyms; ADDR is where its __TEXT lies in memory'
            cand -m 'One kext or module: a .kext or .dSYM bundle, a Mach-O or .sym file, a .ko, packed or not'
            cand --module 'One kext or module: a .kext or .dSYM bundle, a Mach-O or .sym file, a .ko, packed or not'
            cand -l 'Load addresses: kextstat, kmutil showloaded, showallkmods, /proc/modules, kallsyms, a tree of /sys/module; kind detected'
            cand --load-map 'Load addresses: kextstat, kmutil showloaded, showallkmods, /proc/modules, kallsyms, a tree of /sys/module; kind detected'
            cand -S 'Look for symbol files below this directory, by UUID first and by name second'
            cand --symbols 'Look for symbol files below this directory, by UUID first and by name second'
            cand --slide 'The kernel slide, or `auto`: from the report, else from frames that name both a symbol and an address'
            cand --in-module 'Stacks with a frame in this module or image, `kernel` for the kernel itself; the same as --module with a bare name'
            cand --caller 'Stacks that run through this function, with +0xOFFSET through that very call'
            cand --frame 'Stacks with a frame, written `function [module]`, that matches'
            cand --called-from 'Stacks with a frame, written `function [module]`, that matches'
            cand --task 'Stacks whose process or thread name matches'
            cand --pid 'Stacks of this process id'
            cand --tid 'Stacks of this thread id'
            cand --state 'Stacks in this state, or with this flag in it: D, TH_UNINT'
            cand --wchan 'Stacks whose wait channel matches'
            cand --kind 'Stacks of this kind: thread, crash, irq, alloc, free, lock, sample'
            cand --min-count 'Stacks that at least this many threads share, by their functions'
            cand -o 'Write to FILE, which appears whole or not at all'
            cand --output 'Write to FILE, which appears whole or not at all'
            cand --color 'Colour'
            cand --format 'Form of the output: lines for flamegraph.pl, inferno or speedscope, or the graph itself; svg when -o names a .svg file, else folded'
            cand --frames 'How frames are written: zio_wait_[k], zfs`zio_wait, or zio_wait'
            cand --only 'Keep the stacks that run through this function, inlined or not; repeatable, one is enough'
            cand --diff 'Compare with this report: two counts for each stack, or a graph whose red frames grew and whose blue ones shrank'
            cand --title 'Heading of the graph'
            cand --allow-mismatch 'Use a symbol file although its UUID or the report''s own frames say that it is another build'
            cand -q 'Say nothing on standard error but errors'
            cand --quiet 'Say nothing on standard error but errors'
            cand --by-thread 'Put the thread''s name, or its process''s, below its stacks as their root'
            cand --no-inline 'Leave out the inlined calls that debug info knows'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
        }
        &'kstack;report'= {
            cand --format-in 'Read every report as this format instead of detecting it (see `kstack formats`)'
            cand -k 'The kernel''s symbol file: Mach-O, vmlinux, System.map or kallsyms; ADDR is where its __TEXT lies in memory'
            cand --kernel 'The kernel''s symbol file: Mach-O, vmlinux, System.map or kallsyms; ADDR is where its __TEXT lies in memory'
            cand -m 'One kext or module: a .kext or .dSYM bundle, a Mach-O or .sym file, a .ko, packed or not'
            cand --module 'One kext or module: a .kext or .dSYM bundle, a Mach-O or .sym file, a .ko, packed or not'
            cand -l 'Load addresses: kextstat, kmutil showloaded, showallkmods, /proc/modules, kallsyms, a tree of /sys/module; kind detected'
            cand --load-map 'Load addresses: kextstat, kmutil showloaded, showallkmods, /proc/modules, kallsyms, a tree of /sys/module; kind detected'
            cand -S 'Look for symbol files below this directory, by UUID first and by name second'
            cand --symbols 'Look for symbol files below this directory, by UUID first and by name second'
            cand --slide 'The kernel slide, or `auto`: from the report, else from frames that name both a symbol and an address'
            cand --in-module 'Stacks with a frame in this module or image, `kernel` for the kernel itself; the same as --module with a bare name'
            cand --caller 'Stacks that run through this function, with +0xOFFSET through that very call'
            cand --frame 'Stacks with a frame, written `function [module]`, that matches'
            cand --called-from 'Stacks with a frame, written `function [module]`, that matches'
            cand --task 'Stacks whose process or thread name matches'
            cand --pid 'Stacks of this process id'
            cand --tid 'Stacks of this thread id'
            cand --state 'Stacks in this state, or with this flag in it: D, TH_UNINT'
            cand --wchan 'Stacks whose wait channel matches'
            cand --kind 'Stacks of this kind: thread, crash, irq, alloc, free, lock, sample'
            cand --min-count 'Stacks that at least this many threads share, by their functions'
            cand -o 'Write to FILE, which appears whole or not at all'
            cand --output 'Write to FILE, which appears whole or not at all'
            cand --color 'Colour'
            cand --by 'What makes stacks the same: functions, stack (offsets too), module, top:N functions from the interesting one on, wchan, state, process'
            cand --plumbing 'Functions that only stand for waiting, one a line, instead of the list that is built in'
            cand --allow-mismatch 'Use a symbol file although its UUID or the report''s own frames say that it is another build'
            cand -q 'Say nothing on standard error but errors'
            cand --quiet 'Say nothing on standard error but errors'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
        }
        &'kstack;modules'= {
            cand --format-in 'Read every report as this format instead of detecting it (see `kstack formats`)'
            cand -k 'The kernel''s symbol file: Mach-O, vmlinux, System.map or kallsyms; ADDR is where its __TEXT lies in memory'
            cand --kernel 'The kernel''s symbol file: Mach-O, vmlinux, System.map or kallsyms; ADDR is where its __TEXT lies in memory'
            cand -m 'One kext or module: a .kext or .dSYM bundle, a Mach-O or .sym file, a .ko, packed or not'
            cand --module 'One kext or module: a .kext or .dSYM bundle, a Mach-O or .sym file, a .ko, packed or not'
            cand -l 'Load addresses: kextstat, kmutil showloaded, showallkmods, /proc/modules, kallsyms, a tree of /sys/module; kind detected'
            cand --load-map 'Load addresses: kextstat, kmutil showloaded, showallkmods, /proc/modules, kallsyms, a tree of /sys/module; kind detected'
            cand -S 'Look for symbol files below this directory, by UUID first and by name second'
            cand --symbols 'Look for symbol files below this directory, by UUID first and by name second'
            cand --slide 'The kernel slide, or `auto`: from the report, else from frames that name both a symbol and an address'
            cand -o 'Write to FILE, which appears whole or not at all'
            cand --output 'Write to FILE, which appears whole or not at all'
            cand --color 'Colour'
            cand --format 'Form of the output'
            cand --allow-mismatch 'Use a symbol file although its UUID or the report''s own frames say that it is another build'
            cand -q 'Say nothing on standard error but errors'
            cand --quiet 'Say nothing on standard error but errors'
            cand -v 'Say below the table where each load address comes from and why a file was refused'
            cand --verbose 'Say below the table where each load address comes from and why a file was refused'
            cand --strict 'Exit with status 3 when an image has no verified symbol file'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
        }
        &'kstack;lookup'= {
            cand -k 'The kernel''s symbol file: Mach-O, vmlinux, System.map or kallsyms; ADDR is where its __TEXT lies in memory'
            cand --kernel 'The kernel''s symbol file: Mach-O, vmlinux, System.map or kallsyms; ADDR is where its __TEXT lies in memory'
            cand -m 'One kext or module: a .kext or .dSYM bundle, a Mach-O or .sym file, a .ko, packed or not'
            cand --module 'One kext or module: a .kext or .dSYM bundle, a Mach-O or .sym file, a .ko, packed or not'
            cand -l 'Load addresses: kextstat, kmutil showloaded, showallkmods, /proc/modules, kallsyms, a tree of /sys/module; kind detected'
            cand --load-map 'Load addresses: kextstat, kmutil showloaded, showallkmods, /proc/modules, kallsyms, a tree of /sys/module; kind detected'
            cand -S 'Look for symbol files below this directory, by UUID first and by name second'
            cand --symbols 'Look for symbol files below this directory, by UUID first and by name second'
            cand --slide 'The kernel slide, or `auto`: from the report, else from frames that name both a symbol and an address'
            cand -o 'Write to FILE, which appears whole or not at all'
            cand --output 'Write to FILE, which appears whole or not at all'
            cand --color 'Colour'
            cand --format 'Form of the output'
            cand --frames 'Idiom of the frames in text; by default that of the system that the symbol files are of'
            cand --allow-mismatch 'Use a symbol file although its UUID or the report''s own frames say that it is another build'
            cand -q 'Say nothing on standard error but errors'
            cand --quiet 'Say nothing on standard error but errors'
            cand -r 'The addresses come from stacks: look up the call before each, as symbolicate does'
            cand --return-address 'The addresses come from stacks: look up the call before each, as symbolicate does'
            cand --no-demangle 'Leave C++ and Rust names as they are in the symbol file'
            cand --strict 'Exit with status 3 when a query stayed unresolved or unverified'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
        }
        &'kstack;formats'= {
            cand -h 'Print help'
            cand --help 'Print help'
        }
        &'kstack;completions'= {
            cand -h 'Print help'
            cand --help 'Print help'
        }
        &'kstack;man'= {
            cand -h 'Print help'
            cand --help 'Print help'
        }
        &'kstack;help'= {
            cand symbolicate 'Print the report again with every kernel frame named'
            cand group 'Show the distinct stacks, most frequent first'
            cand flame 'Write folded stacks, or draw a flame graph'
            cand report 'Write one HTML page with everything: groups, flame graph, images, the report''s text'
            cand modules 'List every image with its load address, UUID and symbol file'
            cand lookup 'Resolve single addresses, or SYMBOL+OFFSET, in a whole kernel'
            cand formats 'List the formats, symbol files and outputs that are known'
            cand completions 'Print a completion script for a shell'
            cand man 'Print the manual page, or write all pages to a directory'
            cand help 'Print this message or the help of the given subcommand(s)'
        }
        &'kstack;help;symbolicate'= {
        }
        &'kstack;help;group'= {
        }
        &'kstack;help;flame'= {
        }
        &'kstack;help;report'= {
        }
        &'kstack;help;modules'= {
        }
        &'kstack;help;lookup'= {
        }
        &'kstack;help;formats'= {
        }
        &'kstack;help;completions'= {
        }
        &'kstack;help;man'= {
        }
        &'kstack;help;help'= {
        }
    ]
    $completions[$command]
}
