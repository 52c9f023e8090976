"""crash and drgn over a memory dump of the hung guest, with the scripts that kstack writes for them."""
import json
import os
import re
import shutil
import socket
import time

from truth import KERNEL, bare, run, same_file


def take(work):
    """QEMU's own dump of the guest's memory, as ELF."""
    monitor = socket.socket(socket.AF_UNIX)
    monitor.connect(f"{work}/monitor")
    monitor.settimeout(120)
    ready(monitor)
    monitor.sendall(f"dump-guest-memory {work}/dump\n".encode())
    ready(monitor)
    return f"{work}/dump"


def ready(monitor):
    """Reads until the monitor asks for the next command."""
    text = b""
    while not text.rstrip().endswith(b"(qemu)"):
        text += monitor.recv(4096)


def crash(work, dump, script, capture, spots, ours, aliases, score):
    """With the command line that the script names: each module gets its file, and `sym` says what kstack says.

    Not compared: .init.text, which crash leaves out although the module is still loading; and `bt` of tasks, because crash 8.0.2
    finds of a 6.1.192 kernel only the idle tasks."""
    path = script("crash")
    text = open(path).read()
    words = re.search(r"^# Use: (crash .*)$", text, re.M)[1].replace("VMCORE", dump).replace("THIS-FILE", path).split()
    looked = sorted({spot.address - 1 for spot in spots.values()})
    start = time.monotonic()
    done = run(["timeout", "300", words[0], "-s", *words[1:]], "".join(f"sym {address:x}\n" for address in looked) + "mod\nquit\n")
    with open(f"{work}/crash.txt", "w") as file:
        file.write(done.stdout + done.stderr)
    print(f"crash: {time.monotonic() - start:.1f} s")
    files = dict(re.findall(r"^[0-9a-f]{16}  (\S+) +[0-9a-f]{16} +\d+  (/\S+)", done.stdout, re.M))
    for name, path in re.findall(r"^mod -s (\S+) (\S+)$", text, re.M):
        score.count("crash: mod -s", "modules", files.get(name) == path and path == capture.files[name], f"{name}: {files.get(name)}")
    said = {int(row[0], 16): row[1:] for row in re.findall(r"^([0-9a-f]{16}) \(.\) (\S+?)(?:\+(\d+))?(?: \[\S+\])? +(\S+): (\d+) *$", done.stdout, re.M)}
    for frame, spot in spots.items():
        if spot.section == ".init.text":
            continue
        mine = ours[spot.address - 1]
        symbol, offset, file, line = said.get(spot.address - 1, (None, "", "", "0"))
        first = mine["locations"][0]
        section = f"{'kernel' if frame.module == KERNEL else 'modules'} {spot.section}"
        detail = f"{frame} {spot.address - 1:#x}: crash {symbol}+{offset} {file}:{line}, kstack {mine['symbol']}+{mine['offset']} {first}"
        # crash takes the name of DWARF, or another of the same address.
        names = {bare(name) for name in aliases[spot.address - frame.offset]}
        score.count("crash = kstack: sym", section, bare(symbol) in names and int(offset or 0) == mine["offset"], detail)
        score.count("crash = kstack: line of sym", section, int(line) == first["line"] and same_file(file, first["file"]), detail)


# What drgn runs: kstack's file, then what it knows at each address, and how it unwinds each task.
ASK = """
import json, runpy
given = json.load(open(WORK + "/drgn.json"))
runpy.run_path(given["script"], init_globals={"prog": prog})
spots, tasks = {}, {}
for address in given["addresses"]:
    trace = prog.source_location(address)
    # Of several symbols at one address drgn takes any: offset and place tell more than the name.
    spots[address] = (address - prog.symbol(address).address, [(one.filename, one.line) for one in trace])
for pid in given["tasks"]:
    tasks[pid] = [frame.pc for frame in prog.stack_trace(pid) if not frame.is_inline]
json.dump([spots, tasks], open(WORK + "/drgn.answers", "w"))
"""


def drgn(tool, work, dump, script, capture, spots, ours, aliases, score):
    """Every address has the same chain, and every hung task, unwound by drgn from the dump, the frames that the kernel printed."""
    path = script("drgn")
    looked = sorted({spot.address - 1 for spot in spots.values()})
    hung = {pid: frames for pid, _, state, frames in capture.tasks() if state == "D" and all(frame in spots for frame in frames)}
    with open(f"{work}/drgn.json", "w") as file:
        json.dump({"script": path, "addresses": looked, "tasks": list(hung)}, file)
    with open(f"{work}/ask.drgn", "w") as file:
        file.write(f"WORK = {work!r}\n{ASK}")
    start = time.monotonic()
    # All debug info comes from kstack's file.
    done = run([tool, "-q", "--no-default-symbols", "-c", dump, f"{work}/ask.drgn"])
    print(f"drgn: {time.monotonic() - start:.1f} s")
    score.check(not done.stderr, f"drgn says {done.stderr[-1000:]}")
    if not os.path.exists(f"{work}/drgn.answers"):
        return
    said, tasks = json.load(open(f"{work}/drgn.answers"))
    for address in looked:
        mine = ours[address]
        offset, chain = said[str(address)]
        same = [(one["line"] or 0) for one in mine["locations"]] == [line for _, line in chain] and all(
            same_file(one["file"], file) for one, (file, _) in zip(mine["locations"], chain))
        # As gdb, drgn names the function of assembly that kstack's label is in.
        label = offset > mine["offset"] and aliases[address - offset] and mine["symbol"] in aliases[address - mine["offset"]]
        what = "drgn: the function that holds kstack's label" if label else "drgn = kstack: offset and chain of inlined calls"
        equal = same and (label or offset == mine["offset"])
        score.count(what, "all", equal, f"{address:#x}: drgn {offset} {chain}, kstack {mine}")
    for pid, frames in hung.items():
        kernel = [pc for pc in tasks[str(pid)] if pc >> 63][: len(frames)]
        score.count("tasks that drgn unwinds to the addresses compared", "state D", kernel == [spots[frame].address for frame in frames],
                    f"{pid}: {[hex(pc) for pc in kernel]}, {frames}")


def prove(work, script, capture, spots, ours, aliases, score):
    tools = {name: shutil.which(os.environ.get(f"KSTACK_{name.upper()}", name)) for name in ("crash", "drgn")}
    if tools["drgn"]:
        version = re.search(r"drgn (\d+)\.(\d+)\.(\d+)", run([tools["drgn"], "--version"]).stdout)
        if not version or tuple(map(int, version.groups())) < (0, 0, 31):
            print(f"{tools['drgn']} is older than the script needs")
            tools["drgn"] = None
    for name in (name for name, path in tools.items() if not path):
        print(f"no {name}: not compared")
    if not any(tools.values()):
        return
    start = time.monotonic()
    dump = take(work)
    print(f"dump of the guest's memory: {os.path.getsize(dump) >> 20} MiB in {time.monotonic() - start:.1f} s")
    if tools["crash"]:
        crash(work, dump, script, capture, spots, ours, aliases, score)
    if tools["drgn"]:
        drgn(tools["drgn"], work, dump, script, capture, spots, ours, aliases, score)
