#!/usr/bin/env python3
"""Writes perf script text of about SIZE MB to standard output: a busy file server, ZFS below it. The same every time.
usage: make-perf.py SIZE [distinct]   (distinct: every address of every frame is another, so that nothing recurs)"""
import random
import sys

random.seed(1)
size = int(sys.argv[1]) << 20
DISTINCT = len(sys.argv) > 2
WORDS = "zio wait done dsl pool sync arc read write buf hash dbuf hold rele txg taskq thread vdev queue io dmu tx assign spa vfs tcp sendmsg recv".split()
MODULES = ["[kernel.kallsyms]"] * 5 + ["[zfs]"] * 3 + ["[spl]", "[nfsd]"]
LIBS = ["/usr/lib/x86_64-linux-gnu/libc.so.6", "/usr/sbin/smbd", "/usr/lib/jvm/lib/server/libjvm.so"]
COMMANDS = ["swapper", "txg_sync", "z_wr_iss", "nfsd", "smbd", "java", "V8 WorkerThread", "kworker/2:1-eve"]


def function(user):
    name = "_".join(random.choice(WORDS) for _ in range(random.randint(2, 5)))
    if not user:
        return name
    return random.choice([name, f"std::vector<{name}, std::allocator<{name}> >::push_back({name} const&)", f"{name}::run::h{random.getrandbits(64):016x}"])


KERNEL = [(0xFFFFFFFF81000000 + n * 0x400, function(False), random.choice(MODULES)) for n in range(6000)]
USER = [(0x7F5339900000 + n * 0x200, function(True), random.choice(LIBS)) for n in range(2000)]


def frame(one):
    at, name, module = one
    offset = random.randrange(0x200)
    return f"\t{at + offset:16x} {name}+{offset:#x} ({module})\n"


# A stack is one of some thousand call paths, with another instruction at its leaf each time.
PATHS = []
for _ in range(4000):
    kernel = random.sample(KERNEL, random.randint(4, 28))
    user = random.sample(USER, random.choice([0, 0, random.randint(2, 16)]))
    callers = kernel[1:] + user
    PATHS.append((random.choice(COMMANDS), random.randint(1, 40000), callers if DISTINCT else "".join(map(frame, callers)), kernel[0]))

written, time = 0, 54.1
while written < size:
    command, pid, rest, leaf = random.choice(PATHS)
    time += 0.000250
    if DISTINCT:
        rest = "".join(map(frame, rest))
    text = f"{command:>15} {pid:5}/{pid:<5} [{random.randrange(8):03}] {time:12.6f}:     250000 cpu-clock:pppH: \n{frame(leaf)}{rest}\n"
    written += len(text)
    sys.stdout.write(text)
