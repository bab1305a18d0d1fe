"""Each library in a process of its own: the side that runs workloads, and the side that asks."""

import itertools
import json
import os
import subprocess
import sys
import time
import timeit

import numpy as np

from .libraries import LIBRARIES
from .registry import WORKLOADS

BLOCK_SECONDS = 0.02
#: Before a block: the threads of the library before it may still be looking for work.
REST_SECONDS = 0.01
COMMAND = os.path.abspath(sys.argv[0])


def checksum(x):
    """Two sums that tell results apart, in whatever order they lie in memory: weighted, and of the weighted sizes."""
    x = np.asarray(x, dtype=np.float64).reshape(-1)
    weights = 1 + np.arange(x.size) % 7
    return [float((x * weights).sum()), float((np.abs(x) * weights).sum())]


class Server:
    """Answers one JSON line for each it reads."""

    def __init__(self, name, threads):
        self.lib = LIBRARIES[name](name, threads)
        self.run = None

    def ping(self, _):
        """Says that the library could be imported."""
        return {}

    def prepare(self, workload):
        """Makes a workload; its checksum, and how many calls make a block."""
        self.run = None
        check = checksum(self.lib.to_numpy(WORKLOADS[workload](self.lib)()))
        self.run = WORKLOADS[workload](self.lib)
        self.run()
        calls, seconds = 1, timeit.timeit(self.run, number=1)
        while seconds < BLOCK_SECONDS / 2:
            calls = max(2 * calls, int(calls * BLOCK_SECONDS / max(seconds, 1e-7) / 2))
            seconds = timeit.timeit(self.run, number=calls)
        return {"checksum": check, "calls": max(1, round(calls * BLOCK_SECONDS / seconds))}

    def block(self, calls):
        """Seconds a call."""
        time.sleep(REST_SECONDS)
        timeit.timeit(self.run, number=max(1, calls // 20))
        return {"seconds": timeit.timeit(self.run, number=calls) / calls}

    def serve(self):
        for line in sys.stdin:
            command, argument = json.loads(line)
            try:
                answer = getattr(self, command)(argument)
            except Exception as error:
                answer = {"error": f"{type(error).__name__}: {error}"}
            print(json.dumps(answer), flush=True)


class Peer:
    """A library in a process of its own."""

    def __init__(self, name, python, threads):
        self.name, self.python, self.threads = name, python, threads
        self.environment = os.environ | {
            variable: str(threads)
            for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "RAYON_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
        }
        if threads == 1:
            self.environment["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
        self.process = None

    def command(self, *arguments):
        return [self.python, COMMAND, "--threads", str(self.threads), *arguments]

    def start(self):
        """Whether the library can be imported there."""
        self.process = subprocess.Popen(
            self.command("--serve", self.name), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=self.environment
        )
        return "error" not in self.ask("ping", None)

    def ask(self, command, argument):
        try:
            self.process.stdin.write(json.dumps([command, argument]) + "\n")
            self.process.stdin.flush()
            return json.loads(self.process.stdout.readline())
        except (OSError, ValueError):
            return {"error": "the process died"}

    def probe(self, name):
        result = subprocess.run(self.command("--probe", name, self.name), capture_output=True, text=True, env=self.environment)
        return json.loads(result.stdout) if result.returncode == 0 else {"error": (result.stderr.strip().splitlines() or ["?"])[-1]}

    def stop(self):
        self.process.stdin.close()
        self.process.wait()


def compare(name, peers, rounds):
    """Times one workload; for each library its seconds by round, or why there are none."""
    prepared = {peer.name: peer.ask("prepare", name) for peer in peers}
    results = {name: {"error": answer["error"]} for name, answer in prepared.items() if "error" in answer}
    checks = {name: answer["checksum"] for name, answer in prepared.items() if "error" not in answer}
    results |= {name: {"differs": True} for name in differing(checks, name)}
    running = [peer for peer in peers if peer.name in checks]
    times = {peer.name: [] for peer in running}
    for number in range(rounds):
        for peer in running if number % 2 == 0 else reversed(running):
            times[peer.name].append(peer.ask("block", prepared[peer.name]["calls"])["seconds"])
    for peer in running:
        results.setdefault(peer.name, {})["seconds"] = times[peer.name]
    return results


def differing(checks, name):
    """The libraries whose result is not the first one's."""
    tolerance = 1e-9 if name.endswith("float64") else 1e-4
    (first, size), *_ = checks.values() or [(0, 0)]
    return [peer for peer, (value, _) in checks.items() if not abs(value - first) <= tolerance * max(size, 1e-30)]


def measure(probe, peers, rounds):
    """Measures one probe in fresh processes, in turns."""
    answers = {peer.name: [] for peer in peers}
    for _, peer in itertools.product(range(rounds), peers):
        answers[peer.name].append(peer.probe(probe))
    return {
        name: next((answer for answer in list_ if "error" in answer), {"seconds": [answer.get("value") for answer in list_]})
        for name, list_ in answers.items()
    }
