"""Where the frames of a capture lie, and what llvm-symbolizer and addr2line say there: nothing in this file asks kstack or a debugger.

A frame `symbol+0xoff/0xsize [module]` of /proc/*/stack or of sysrq-t is the address of the symbol in the /proc/kallsyms of that boot, plus the
offset; of several symbols of one name it is the one whose distance to the next symbol is the printed size, which is how the kernel
counts it.
"""
import bisect
import collections
import json
import os
import re
import subprocess
import sys

KERNEL = "vmlinux"
FRAME = re.compile(r"(?<![\w.?])(?P<symbol>[A-Za-z_][\w.]*)\+(?P<offset>0x[0-9a-f]+)/(?P<size>0x[0-9a-f]+)(?: \[(?P<module>\w+)\])?")
Frame = collections.namedtuple("Frame", "symbol offset size module")
Spot = collections.namedtuple("Spot", "address section start")


def run(command, given=None):
    done = subprocess.run(command, input=given, capture_output=True, text=True, errors="replace")
    if done.returncode not in (0, 1):
        sys.exit(f"{command[:4]} ended with {done.returncode}: {done.stderr[-2000:]}")
    return done


def frame_of(line):
    """The frame of a line. `? ` marks words on the stack that need not be frames, and RIP is no return address."""
    match = FRAME.search(line) if "? " not in line and "IP: " not in line else None
    return match and Frame(match["symbol"], int(match["offset"], 16), int(match["size"], 16), match["module"] or KERNEL)


class Kallsyms:
    """Symbols of the boot."""

    def __init__(self, path):
        self.places, spots = collections.defaultdict(set), collections.defaultdict(set)
        for line in open(path, errors="replace"):
            address, kind, name, *module = line.split()
            module = module[0].strip("[]") if module else KERNEL
            if kind not in "uU?" and module != "bpf" and not module.startswith("__builtin"):
                self.places[module, name].add(int(address, 16))
                spots[module].add(int(address, 16))
        self.spots = {module: sorted(found) for module, found in spots.items()}

    def size(self, module, address):
        spots = self.spots[module]
        after = bisect.bisect_right(spots, address)
        return spots[after] - address if after < len(spots) else None

    def find(self, frame):
        """The starts that the symbol of a frame can mean."""
        places = self.places[frame.module, frame.symbol]
        return places if len(places) == 1 else {one for one in places if self.size(frame.module, one) == frame.size}


def sections_of(path):
    """Index, address, size and flags of the sections of a file by name."""
    found = {}
    for line in run(["readelf", "-SW", path]).stdout.splitlines():
        match = re.match(r"\s*\[\s*(\d+)\]\s+(\S+)\s+\S+\s+([0-9a-f]{16})\s+\S+\s+(\S+)\s+\S+\s+([A-Za-z]*)", line)
        if match:
            found[match[2]] = (match[1], int(match[3], 16), int(match[4], 16), match[5])
    return found


def chains_equal(one, other):
    """Two chains of inlined calls, innermost first: (function, file, line). The outermost function may go by another name."""
    return (
        len(one) == len(other)
        and [bare(row[0]) for row in one[:-1]] == [bare(row[0]) for row in other[:-1]]
        and all(mine[2] == theirs[2] and (not mine[2] or same_file(mine[1], theirs[1])) for mine, theirs in zip(one, other))
    )


def bare(function):
    """Without what the compiler appends: the symbol table has it, DWARF has not."""
    return re.sub(r"(\.(cold|constprop|isra|part)(\.\d+)?)+$", "", function or "")


def same_file(one, other):
    """Whether two paths name one file: with or without the folder that it was compiled in."""
    one, other = (os.path.normpath(path or "?").split("/") for path in (one, other))
    count = min(len(one), len(other))
    return one[-count:] == other[-count:]


class Capture:
    """The guest's capture and the symbol files that fit it."""

    def __init__(self, folder, vmlinux, symbols, work):
        self.folder, self.vmlinux, self.work = folder, vmlinux, work
        self.kallsyms = Kallsyms(f"{folder}/kallsyms")
        (text,) = self.kallsyms.places[KERNEL, "_text"]
        linked = next(int(line.split()[0], 16) for line in run(["nm", vmlinux]).stdout.splitlines() if line.endswith(" _text"))
        self.slide = text - linked
        self.states = {line.split()[0]: line.split()[4] for line in open(f"{folder}/modules")}
        self.files = {KERNEL: vmlinux}
        for base, _, names in (row for one in symbols for row in os.walk(one)):
            found = {name[:-3].replace("-", "_"): f"{base}/{name}" for name in names if name.endswith(".ko")}
            self.files.update({name: path for name, path in found.items() if name in self.states})
        self.sections = {module: self.placed(module) for module in self.files}

    def placed(self, module):
        """Name: (start, size) of the sections of an image in this boot; .init of a module only while it is there."""
        own = {name: (at, size) for name, (_, at, size, flags) in sections_of(self.files[module]).items() if "A" in flags and size}
        if module == KERNEL:
            return {name: (at + self.slide, size) for name, (at, size) in own.items() if at}
        folder = f"{self.folder}/sections/{module}"
        there = [name for name in os.listdir(folder) if name in own]
        kept = [name for name in there if self.states[module] == "Loading" or not name.startswith(".init")]
        return {name: (int(open(f"{folder}/{name}").read(), 16), own[name][1]) for name in kept}

    def printed(self):
        """Every different frame of the stacks of /proc and of sysrq-t, and how often each is there."""
        texts = [f"{base}/stack" for base, _, names in os.walk(f"{self.folder}/proc") if "stack" in names] + [f"{self.folder}/sysrq-t"]
        lines = (line for path in texts for line in open(path, errors="replace"))
        return collections.Counter(frame for frame in map(frame_of, lines) if frame)

    def tasks(self):
        """Process id, name and frames of every task of sysrq-t, which has those of the scheduler too."""
        found, task = [], None
        for line in open(f"{self.folder}/sysrq-t", errors="replace"):
            if head := re.search(r"task:(\S+)\s+state:(\S)\s.*\spid:(\d+)", line):
                task = (int(head[3]), head[1], head[2], [])
                found.append(task)
            elif task and (frame := frame_of(line)):
                task[3].append(frame)
        return found

    def spot(self, frame):
        """Where a frame returns to; None when its name and size fit several symbols."""
        starts = self.kallsyms.find(frame)
        if len(starts) != 1:
            return None
        address = next(iter(starts)) + frame.offset
        hits = [(name, at) for name, (at, size) in self.sections[frame.module].items() if at <= address - 1 < at + size]
        return Spot(address, *hits[0]) if len(hits) == 1 else None

    def aliases(self, module):
        """Address: every name that the symbol table of the file has for it."""
        found = collections.defaultdict(set)
        moved = {index: self.slide if module == KERNEL else self.sections[module].get(name, (None,))[0]
                 for name, (index, *_) in sections_of(self.files[module]).items()}
        for line in run(["readelf", "-sW", self.files[module]]).stdout.splitlines():
            words = line.split()
            if len(words) == 8 and words[3] in ("FUNC", "NOTYPE", "OBJECT") and moved.get(words[6]) is not None:
                found[moved[words[6]] + int(words[1], 16)].add(words[7])
        return found

    def linked(self, module):
        """A copy of a .ko whose sections lie where this boot has them."""
        to = f"{self.work}/{module}.linked"
        rows = sorted((at, name) for name, (at, _) in self.sections[module].items())
        debug = "aranges info abbrev line frame str line_str loclists rnglists loc ranges addr str_offsets".split()
        layout = [f"{name} {at:#x} : {{ *({name}) }}" for at, name in rows]
        layout += [f".debug_{name} 0 : {{ *(.debug_{name}) }}" for name in debug]
        with open(f"{to}.ld", "w") as script:
            script.write("SECTIONS {\n" + "\n".join(layout) + "\n/DISCARD/ : { *(*) }\n}\n")
        flags = "--unresolved-symbols=ignore-all --noinhibit-exec --no-check-sections --build-id=none -e 0".split()
        run(["ld", "-m", "elf_x86_64", "-T", f"{to}.ld", "-o", to, *flags, self.files[module]])
        return to

    def chains(self, llvm, spots):
        """What llvm-symbolizer and addr2line say at the call of each spot of one module: chains by address."""
        found = {}
        groups = collections.defaultdict(set)
        for module, spot in spots:
            groups[module, spot.section, spot.start].add(spot.address - 1)
        moved = {}
        for (module, section, start), looked in groups.items():
            looked = sorted(looked)
            if module not in moved:
                moved[module] = self.vmlinux if module == KERNEL else self.linked(module)
            linked = [address - self.slide for address in looked] if module == KERNEL else looked
            offsets = linked if module == KERNEL else [address - start for address in looked]
            theirs = llvm_symbolizer(llvm, moved[module], linked), addr2line(self.files[module], offsets, None if module == KERNEL else section)
            if any(len(chains) != len(looked) for chains in theirs):
                sys.exit(f"{module} {section}: {[len(chains) for chains in theirs]} answers for {len(looked)} addresses")
            found.update(zip(looked, zip(*theirs)))
        return found


def llvm_symbolizer(tool, path, addresses):
    words = [tool, "--inlines", "--no-demangle", "--output-style=JSON", "-e", path]
    lines = run(words, "".join(f"{address:#x}\n" for address in addresses)).stdout.splitlines()
    rows = [json.loads(line).get("Symbol", []) for line in lines if line.startswith("{")]
    return [[(row["FunctionName"], row["FileName"], row["Line"]) for row in chain] for chain in rows]


def addr2line(path, offsets, section):
    words = ["addr2line", "-fia", "-e", path] + (["-j", section] if section else [])
    names, chains = iter(run(words, "".join(f"{offset:#x}\n" for offset in offsets)).stdout.splitlines()), []
    for line in names:
        if re.fullmatch(r"0x[0-9a-f]{16}", line):
            chains.append([])
            continue
        file, _, number = re.sub(r" \(discriminator \d+\)", "", next(names)).rpartition(":")
        chains[-1].append((line, file, int(number) if number.isdigit() else 0))
    return chains
