#!/usr/bin/env python3
"""Compares what gdb, crash, drgn, kstack, llvm-symbolizer and addr2line say about every frame of a hung guest. Started by run.sh.

usage: prove.py WORK KSTACK LLVM_SYMBOLIZER VMLINUX SYMBOL_DIR...
WORK holds capture/ of the guest, the socket `gdb` of its stub and the socket `monitor` of QEMU.

Return addresses (truth.py says how they are got) are looked up one byte before, at the call. For each that is different must be equal:
- kstack and the kernel, which printed symbol, offset and module of the frame;
- gdb, with kstack's script, on the running guest: section, symbol (by any of its names) and offset of `info symbol`, file and line of
  `info line`. Inside a function of assembly gdb names the function, and the kernel, as kstack, the last label: that is counted apart;
- llvm-symbolizer and addr2line, which know nothing of the script: functions, files and lines of the whole chain of inlined calls;
- `kstack symbolicate` over the capture and `kstack lookup` of the address;
- the frames of `--stack N`, looked up by the script itself, and what gdb was asked one by one.
Variables that are read through the stub must have the values that the guest gave them. gdb must not warn of anything.
"""
import collections
import json
import os
import re
import sys
import time

import dump
from truth import KERNEL, Capture, Frame, chains_equal, run, same_file

WORK, KSTACK, LLVM, VMLINUX, *SYMBOLS = sys.argv[1:]
FILES = ["-k", VMLINUX] + [word for folder in SYMBOLS for word in ("-S", folder)]


class Score:
    """How often what was compared was equal."""

    def __init__(self):
        self.rows, self.bad = {}, []

    def count(self, what, section, equal, detail=""):
        row = self.rows.setdefault(what, collections.defaultdict(lambda: [0, 0]))[section]
        row[0] += bool(equal)
        row[1] += 1
        if not equal:
            self.bad.append(f"{what}: {detail}")

    def check(self, equal, detail):
        if not equal:
            self.bad.append(detail)

    def end(self):
        for what, sections in self.rows.items():
            print(f"{what}: {sum(row[0] for row in sections.values())} of {sum(row[1] for row in sections.values())}")
            print("    " + ", ".join(f"{section} {row[0]}/{row[1]}" for section, row in sorted(sections.items())))
        if self.bad:
            print(f"\n{len(self.bad)} DIFFER:", *(detail[:600] for detail in self.bad[:100]), sep="\n  ")
            sys.exit(1)
        print("all equal")


def kstack(*words, given=None):
    return json.loads(run([KSTACK, *words, "--format", "json", "--quiet", *FILES], given).stdout)


def script(debugger, *words):
    path = f"{WORK}/load.{debugger}"
    start = time.monotonic()
    run([KSTACK, "script", debugger, "--quiet", f"{WORK}/capture", *FILES, "-o", path, *words])
    print(f"kstack script {' '.join([debugger, *words])}: {(time.monotonic() - start) * 1000:.0f} ms")
    return path


def gdb(what, words, score):
    """What gdb says in batch mode."""
    start = time.monotonic()
    done = run(["gdb", "-nx", "-batch", VMLINUX, *words, "-ex", "detach"])
    # Where the guest was stopped gdb shows the source line, and the sources are not here.
    warnings = [line for line in done.stderr.splitlines() if line and not re.fullmatch(r"\d+\t.*: No such file or directory\.", line)]
    print(f"gdb, {what}: {time.monotonic() - start:.1f} s, {len(warnings)} warnings")
    score.check(not warnings, f"gdb, {what}, warns: {warnings[:5]}")
    return done.stdout


def questions(addresses, variables):
    lines = ["set print demangle off", "set width 0", "set print elements 0", "set print repeats 0"]
    for name in variables:
        lines += [f"echo [[{name}]]\\n", f"print {name}"]
    for address in addresses:
        lines += [f"echo <<{address:#x}\\n", f"info symbol {address:#x}", f"info line *{address:#x}"]
    with open(f"{WORK}/ask.gdb", "w") as file:
        file.write("\n".join(lines) + "\necho <<\\n\n")
    return f"{WORK}/ask.gdb"


def answer(text):
    """(symbol, offset, section, file, line) of `info symbol` and `info line`."""
    name = re.search(r"^(\S+)(?: \+ (\d+))? in section (\S+)", text, re.M)
    place = re.search(r'^Line (\d+) of "([^"]*)"', text, re.M)
    return (*((name[1], int(name[2] or 0), name[3]) if name else (None, 0, None)), *((place[2], int(place[1])) if place else (None, 0)))


def answers(text):
    """Answers by address, each behind its mark."""
    parts = [part.partition("\n") for part in text.split("<<0x")[1:]]
    return {int(address, 16): answer(said) for address, _, said in parts}


def ask_gdb(capture, looked, score):
    """Answers by address, asked with the script loaded before and after gdb is attached."""
    variables = {"linux_banner": open(f"{WORK}/capture/version").read().strip()}
    if "hang" in capture.files:
        variables |= {"hang_state": "hung", "hang_count": "4711"}
    load, attach, ask = ["-x", f"{WORK}/load.gdb"], ["-ex", f"target remote {WORK}/gdb"], ["-x", questions(looked, variables)]
    text = gdb("script, then attached", load + attach + ask, score)
    with open(f"{WORK}/gdb.txt", "w") as file:
        file.write(text)
    found = answers(text)
    later = gdb("attached, then script", attach + load + ask, score)
    score.check(found == answers(later), "gdb says otherwise when the script comes later")
    for name, value in variables.items():
        shown = text.partition(f"[[{name}]]\n")[2].partition("\n")[0]
        score.count("variables read through the stub", name, value in shown, f"{name}: gdb {shown}, guest {value}")
    return found


def compare(spots, looked, ours, gdbs, chains, aliases, score):
    """The frames one by one."""
    for frame, spot in spots.items():
        look = spot.address - 1
        section = f"{'kernel' if frame.module == KERNEL else 'modules'} {spot.section}"
        mine = ours[look]
        symbol, offset, inside, file, line = gdbs[look]
        start = look - (mine["offset"] or 0)
        chain = [(one["function"], one["file"], one["line"] or 0) for one in mine["locations"]]
        known = mine["trust"] == "verified" and mine["symbol"] in aliases[start] and start == spot.address - frame.offset
        where = f"{frame} {look:#x}: kstack {mine['symbol']}+{mine['offset']} {chain}"
        score.count("kstack = the kernel's own symbol and offset", section, known and frame.symbol in aliases[start], where)
        # Of the two a label has the later start.
        label = symbol in aliases[look - offset] and look - offset < start and inside == spot.section
        if label and frame.module == KERNEL:
            score.count("gdb: the function that holds kstack's label", section, True)
        else:
            equal = symbol in aliases[start] and offset == mine["offset"] and inside == spot.section
            score.count("gdb = kstack: info symbol", section, equal, f"{where}, gdb {gdbs[look]}")
        first = chain[0] if chain else (None, None, 0)
        equal = line == first[2] and (not line or same_file(file, first[1]))
        score.count("gdb = kstack: info line", section, equal, f"{where}, gdb {gdbs[look]}")
        for tool, theirs in zip(("llvm-symbolizer", "addr2line"), chains[look]):
            score.count(f"{tool} = kstack: chain of inlined calls", section, chains_equal(chain, theirs), f"{where}, {tool} {theirs}")


def symbolicated(spots, ours, score):
    """`kstack symbolicate` over the capture names each frame as `kstack lookup` names its call."""
    for report in kstack("symbolicate", "--no-demangle", f"{WORK}/capture")["reports"]:
        for one in (frame for stack in report["stacks"] for frame in stack["frames"]):
            frame = Frame(one["symbol"], one["offset"], one["size"], one["module"] or KERNEL)
            if one["reliable"] and one["role"] == "call" and frame in spots:
                equal = one["locations"] == ours[spots[frame].address - 1]["locations"] and one["trust"] == "verified"
                score.count("kstack symbolicate = kstack lookup", report["format"], equal, f"{frame}: {one['locations']}")


def one_stack(capture, spots, gdbs, score):
    """`--stack N`: the script looks up every frame of the stack that runs through most modules."""
    report = kstack("symbolicate", "--no-demangle", f"{WORK}/capture")["reports"][0]
    modules = [len({frame["module"] for frame in stack["frames"]}) * 100 + len(stack["frames"]) for stack in report["stacks"]]
    number = modules.index(max(modules))
    path = script("gdb", "--stack", str(number))
    # The same script with a mark before each look-up, to know which answer is whose.
    marked, count = re.subn(r"^(info symbol (0x[0-9a-f]+))$", r"echo <<\2\\n\n\1", open(path).read(), flags=re.M)
    with open(f"{WORK}/stack.gdb", "w") as file:
        file.write(marked + "echo <<\\n\n")
    text = gdb(f"--stack {number}", ["-ex", f"target remote {WORK}/gdb", "-x", f"{WORK}/stack.gdb"], score)
    said = answers(text)
    asked = set(map(int, re.findall(r"^info line \*(0x[0-9a-f]+)$", marked, re.M), [16] * count))
    score.check(count == len(report["stacks"][number]["frames"]) and asked == set(said), f"--stack {number}: {count} asked, {len(said)} answered")
    for address in asked & set(gdbs):
        score.count("the script's own look-ups of --stack", "gdb", said[address] == gdbs[address], f"{address:#x}: {said[address]}")


def main():
    capture = Capture(f"{WORK}/capture", VMLINUX, SYMBOLS, WORK)
    print(f"kernel slide {capture.slide:#x}, {len(capture.states)} modules, {len(capture.files) - 1} of them with debug info")
    score = Score()
    score.check(capture.slide, "the kernel is not slid: KASLR is off, or a second run is needed")
    printed = capture.printed()
    spots = {frame: capture.spot(frame) for frame in printed if frame.module in capture.files}
    ambiguous = [frame for frame, spot in spots.items() if not spot]
    spots = {frame: spot for frame, spot in spots.items() if spot}
    looked = sorted({spot.address - 1 for spot in spots.values()})
    print(f"{sum(printed.values())} frames, {len(printed)} different, {len(looked)} addresses; not compared: {len(ambiguous)} that fit several "
          f"symbols {[frame.symbol for frame in ambiguous]}, {len([frame for frame in printed if frame.module not in capture.files])} without debug info")

    script("gdb")
    results = kstack("lookup", "--no-demangle", "-l", f"{WORK}/capture", given="".join(f"{address:#x}\n" for address in looked))["results"]
    ours = {address: result["frames"][0] for address, result in zip(looked, results, strict=True)}
    gdbs = ask_gdb(capture, looked, score)
    chains = capture.chains(LLVM, [(frame.module, spot) for frame, spot in spots.items()])
    aliases = collections.defaultdict(set)
    for module in {frame.module for frame in spots}:
        for address, names in capture.aliases(module).items():
            aliases[address] |= names
    compare(spots, looked, ours, gdbs, chains, aliases, score)
    symbolicated(spots, ours, score)
    one_stack(capture, spots, gdbs, score)
    dump.prove(WORK, script, capture, spots, ours, aliases, score)
    score.end()


main()
