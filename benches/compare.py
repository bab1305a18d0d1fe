"""Ferrograd beside other libraries: the same work, the same inputs, the same number of threads, in turns.

    python benches/compare.py                                  # with all peers that can be imported here
    python benches/compare.py --only 'tiny*' --only 'step*'    # some workloads
    python benches/compare.py --peer torch --peer-python /other/venv/bin/python --threads 1 --markdown

Each library lives in a process of its own and may have a Python of its own. A workload is run in blocks, one library
after the other, round after round, so that what else the machine does meets all of them alike. The table gives the
median time of a call and, in brackets, how many times ferrograd's that is; the ratio is taken round by round. Before anything is
timed, the results of the libraries are compared.

To add a workload, write a function under `@workload`: it gets a library, makes the inputs, and returns what is to be
timed, whose result is what is compared.
"""

import argparse
import fnmatch
import itertools
import json
import os
import statistics
import subprocess
import sys
import time
import timeit

import numpy as np

SUBJECT = "ferrograd"
BLOCK_SECONDS = 0.02
WORKLOADS = {}
PROBES = {}


def workload(name, **parameters):
    """Registers a function under `name`, once for each combination of the parameters' values."""

    def register(make):
        for values in itertools.product(*parameters.values()):
            chosen = dict(zip(parameters, values))
            WORKLOADS[name.format(**chosen)] = lambda lib, chosen=chosen: make(lib, **chosen)
        return make

    return register


def probe(name, unit):
    """Registers a function that measures something once, in a fresh process."""

    def register(measure):
        PROBES[name] = (measure, unit)
        return measure

    return register


# ---------------------------------------------------------------------------------------------------------------------
# Libraries
# ---------------------------------------------------------------------------------------------------------------------


class Numpy:
    """The interface that workloads use, over numpy. Has no derivatives."""

    gradients = None

    def __init__(self, name, threads):
        self.xp = np

    def numbers(self, *shape, seed=0, dtype="float32"):
        """The same normally distributed numbers in every library."""
        return np.random.default_rng(seed).standard_normal(shape).astype(dtype)

    def array(self, *shape, **options):
        """The same as an array of the library."""
        return self.numbers(*shape, **options)

    def to_numpy(self, x):
        return np.asarray(x)

    def finish(self, x):
        """Waits for a result of a library that computes later."""

    def relu(self, x):
        return self.xp.maximum(x, 0)

    def sigmoid(self, x):
        return 1 / (1 + self.xp.exp(-x))

    def __getattr__(self, name):
        return getattr(self.xp, name)


class Torch(Numpy):
    """torch, and ferrograd, which has its names."""

    gradients = "tape"

    def __init__(self, name, threads):
        self.xp = __import__(name)
        if hasattr(self.xp, "set_num_threads"):
            self.xp.set_num_threads(threads)

    def array(self, *shape, grad=False, **options):
        x = self.xp.from_numpy(self.numbers(*shape, **options))
        return x.requires_grad_() if grad else x

    def to_numpy(self, x):
        return np.array(x) if isinstance(x, (int, float)) else x.detach().numpy()

    def relu(self, x):
        return self.xp.relu(x)

    def sigmoid(self, x):
        return self.xp.sigmoid(x)


class Functional(Numpy):
    """Libraries that differentiate functions: jax (the gradient compiled), autograd, mlx."""

    gradients = "function"

    def array(self, *shape, grad=False, **options):
        return self.xp.array(self.numbers(*shape, **options))


class Jax(Functional):
    def __init__(self, name, threads):
        import jax

        jax.config.update("jax_enable_x64", True)
        self.xp, self.finish = jax.numpy, jax.block_until_ready
        self.gradient = lambda f, places: jax.jit(jax.grad(f, places))


class Autograd(Functional):
    def __init__(self, name, threads):
        import autograd

        self.xp = autograd.numpy
        self.gradient = autograd.grad

    def array(self, *shape, grad=False, **options):
        return self.numbers(*shape, **options)


class Mlx(Functional):
    def __init__(self, name, threads):
        import mlx.core as mx

        mx.set_default_device(mx.cpu)
        self.xp, self.finish, self.gradient = mx, mx.eval, mx.grad


LIBRARIES = {"ferrograd": Torch, "torch": Torch, "numpy": Numpy, "jax": Jax, "autograd": Autograd, "mlx": Mlx}


def need(condition, what):
    """Leaves a workload out for a library that cannot do it."""
    if not condition:
        raise NotImplementedError(what)


# ---------------------------------------------------------------------------------------------------------------------
# Workloads
# ---------------------------------------------------------------------------------------------------------------------


@workload("step 64x1000x100x10 {dtype}", dtype=["float32", "float64"])
def notebook_step(lib, dtype):
    """Two layers, forward, backward and update, as a notebook of 2017 writes it."""
    rate = 1e-6
    x, y = lib.array(64, 1000, dtype=dtype), lib.array(64, 10, seed=1, dtype=dtype)
    w1 = lib.array(1000, 100, seed=2, dtype=dtype, grad=True) if lib.gradients else lib.array(1000, 100, seed=2, dtype=dtype)
    w2 = lib.array(100, 10, seed=3, dtype=dtype, grad=True) if lib.gradients else lib.array(100, 10, seed=3, dtype=dtype)

    def on_tape():
        loss = (x.mm(w1).clamp(min=0).mm(w2) - y).pow(2).sum()
        loss.backward()
        w1.data -= rate * w1.grad.data
        w2.data -= rate * w2.grad.data
        w1.grad.data.zero_()
        w2.grad.data.zero_()
        return w1

    def by_hand():
        nonlocal w1, w2
        h = x.dot(w1)
        h_relu = np.maximum(h, 0)
        error = h_relu.dot(w2) - y
        np.square(error).sum()
        grad_y = 2 * error
        grad_w2 = h_relu.T.dot(grad_y)
        grad_h = grad_y.dot(w2.T)
        grad_h[h < 0] = 0
        w1 -= rate * x.T.dot(grad_h)
        w2 -= rate * grad_w2
        return w1

    def of_function():
        nonlocal w1, w2
        g1, g2 = gradient(w1, w2)
        w1, w2 = w1 - rate * g1, w2 - rate * g2
        lib.finish((w1, w2))
        return w1

    if lib.gradients == "function":
        gradient = lib.gradient(lambda w1, w2: (((lib.relu(x @ w1) @ w2) - y) ** 2).sum(), (0, 1))
    return {"tape": on_tape, "function": of_function, None: by_hand}[lib.gradients]


@workload("step 784-256-10 batch 128 float32")
def classifier_step(lib):
    """A network of plain tensors with biases; sum of squares; fresh gradients each time."""
    need(lib.gradients == "tape", "no tape")
    rate = 1e-6
    x, y = lib.array(128, 784), lib.array(128, 10, seed=1)
    shapes = [(784, 256), (256,), (256, 10), (10,)]
    parameters = [lib.array(*shape, seed=2 + i, grad=True) for i, shape in enumerate(shapes)]
    w1, b1, w2, b2 = parameters

    def step():
        loss = ((lib.relu(x.mm(w1) + b1).mm(w2) + b2) - y).pow(2).sum()
        loss.backward()
        with lib.no_grad():
            for p in parameters:
                p -= rate * p.grad
                p.grad = None
        return w1

    return step


@workload("tiny add 4x4{grad}", grad=["", " grad"])
def tiny_add(lib, grad):
    a, b = tiny_operands(lib, grad)
    return lambda: a + b


@workload("tiny mul by number 4x4{grad}", grad=["", " grad"])
def tiny_mul_number(lib, grad):
    a, _ = tiny_operands(lib, grad)
    return lambda: a * 0.5


@workload("tiny mm 4x4{grad}", grad=["", " grad"])
def tiny_mm(lib, grad):
    a, b = tiny_operands(lib, grad)
    return lambda: a @ b


@workload("tiny view chain 4x4{grad}", grad=["", " grad"])
def tiny_views(lib, grad):
    a, _ = tiny_operands(lib, grad)
    need(hasattr(a, "permute"), "no views with torch's names")
    return lambda: a.view(16).view(2, 8).t()[1:]


@workload("tiny in-place add 4x4")
def tiny_add_in_place(lib):
    need(lib.gradients == "tape", "no in-place ops")
    a, b = lib.array(4, 4), lib.numbers(4, 4) * 0
    b = lib.from_numpy(b)
    return lambda: a.add_(b)


@workload("tiny backward")
def tiny_backward(lib):
    """Five ops forward and backward; the gradient of the factor."""
    a, b, c = (lib.numbers(4, 4, seed=i) for i in range(3))

    def on_tape():
        w.grad = None
        loss = (x.mm(w).clamp(min=0) - y).pow(2).sum()
        loss.backward()
        return w.grad

    if lib.gradients == "tape":
        x, w, y = (lib.from_numpy(v) for v in (a, b, c))
        w.requires_grad_()
        return on_tape
    need(lib.gradients == "function", "no derivatives")
    x, w, y = (lib.array(4, 4, seed=i) for i in range(3))
    gradient = lib.gradient(lambda w: ((lib.relu(x @ w) - y) ** 2).sum(), 0)

    def of_function():
        g = gradient(w)
        lib.finish(g)
        return g

    return of_function


@workload("scalar chain of 100 {how}", how=["forward", "forward recorded", "forward and backward"])
def scalar_chain(lib, how):
    need(lib.gradients == "tape", "no tape")
    x = lib.array(grad=how != "forward")

    def forward():
        y = x
        for _ in range(50):
            y = y * 0.99 + x
        return y

    def both():
        x.grad = None
        forward().backward()
        return x.grad

    return both if how.endswith("backward") else forward


@workload("matmul {n}x{n} {dtype}", n=[64, 128, 256, 512, 1024, 2048], dtype=["float32", "float64"])
def square_matmul(lib, n, dtype):
    return product(lib, lib.array(n, n, dtype=dtype), lib.array(n, n, seed=1, dtype=dtype))


@workload(
    "matmul {shape} float32",
    shape=["64x1000x100", "1000x64x100", "64x100x10", "64x10x100", "128x784x256", "128x256x10", "8192x64x32", "32x64x8192", "64x16384x64"],
)
def rectangular_matmul(lib, shape):
    """m x k x n: the products of the networks; tall, wide and deep ones."""
    m, k, n = map(int, shape.split("x"))
    return product(lib, lib.array(m, k), lib.array(k, n, seed=1))


@workload("matmul {which} 1000x64x100 float32", which=["At B", "A Bt", "At Bt"])
def transposed_matmul(lib, which):
    m, k, n = 1000, 64, 100
    left, right = which.split()
    a = lib.array(k, m).T if left == "At" else lib.array(m, k)
    b = lib.array(n, k, seed=1).T if right == "Bt" else lib.array(k, n, seed=1)
    return product(lib, a, b)


@workload("matmul {count} of 64x64 float32", count=[64])
def batched_matmul(lib, count):
    return product(lib, lib.array(count, 64, 64), lib.array(count, 64, 64, seed=1))


SIZES = {"1K": 1 << 10, "64K": 1 << 16, "1M": 1 << 20, "16M": 1 << 24}


@workload("{op} {size}", op=["add", "mul"], size=SIZES)
def binary(lib, op, size):
    a, b = lib.array(SIZES[size]), lib.array(SIZES[size], seed=1)
    f = {"add": lambda a, b: a + b, "mul": lambda a, b: a * b}[op]
    return lambda: finished(lib, f(a, b))


@workload("{op} {size}", op=["relu", "exp", "tanh", "sigmoid", "log"], size=SIZES)
def unary(lib, op, size):
    x = lib.array(SIZES[size])
    if op == "log":
        x = x * x + 1e-3
    f = getattr(lib, op)
    return lambda: finished(lib, f(x))


@workload("{op} {size}", op=["sum", "mean", "max"], size=SIZES)
def reduction(lib, op, size):
    x = lib.array(SIZES[size])
    f = getattr(lib, op)
    return lambda: finished(lib, f(x))


def tiny_operands(lib, grad):
    need(not grad or lib.gradients == "tape", "no tape")
    options = {"grad": True} if grad else {}
    return lib.array(4, 4, **options), lib.array(4, 4, seed=1, **options)


def product(lib, a, b):
    return lambda: finished(lib, a @ b)


def finished(lib, x):
    lib.finish(x)
    return x


# ---------------------------------------------------------------------------------------------------------------------
# Probes: what is measured once a process
# ---------------------------------------------------------------------------------------------------------------------


@probe("import", "ms")
def import_time(name, threads):
    """The import in a fresh process, numpy and the interpreter not counted."""
    start = time.perf_counter()
    LIBRARIES[name](name, threads)
    return (time.perf_counter() - start) * 1e3


@probe("memory after import", "MB")
def memory_after_import(name, threads):
    """Resident memory, of which an interpreter with numpy has its part."""
    LIBRARIES[name](name, threads)
    return resident_megabytes()


@probe("memory after 200 steps 64x1000x100x10", "MB")
def memory_after_training(name, threads):
    step = notebook_step(LIBRARIES[name](name, threads), "float32")
    for _ in range(200):
        step()
    return resident_megabytes()


@probe("installed size", "MB")
def installed_size(name, threads):
    """Of the distribution itself, without what it depends on."""
    from importlib import metadata

    LIBRARIES[name](name, threads)
    files = metadata.files(name) or []
    sizes = [path.stat().st_size for path in (file.locate() for file in files) if path.exists()]
    # An editable install lists no files of its own: look where the module is.
    folder = os.path.dirname(sys.modules[name].__file__)
    walked = [os.path.getsize(os.path.join(at, file)) for at, _, names in os.walk(folder) for file in names if not file.endswith(".pyc")]
    return max(sum(sizes), sum(walked)) / 1e6


def resident_megabytes():
    try:
        with open("/proc/self/statm") as statm:
            return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6
    except OSError:
        import resource

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak / 1e6 if sys.platform == "darwin" else peak / 1e3


# ---------------------------------------------------------------------------------------------------------------------
# The process of one library
# ---------------------------------------------------------------------------------------------------------------------


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


# ---------------------------------------------------------------------------------------------------------------------
# The process that asks
# ---------------------------------------------------------------------------------------------------------------------


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
        return [self.python, os.path.abspath(__file__), "--threads", str(self.threads), *arguments]

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


Server.ping = lambda self, _: {}


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


def readable(value, unit):
    """Three digits in a fitting unit."""
    if unit == "s":
        value, unit = next(
            ((value * factor, name) for factor, name in ((1, "s"), (1e3, "ms"), (1e6, "µs")) if value * factor >= 1), (value * 1e9, "ns")
        )
    return f"{value:.{max(0, 2 - len(str(int(value))) + 1)}f} {unit}"


class Table:
    """Prints rows as they come."""

    def __init__(self, peers, markdown):
        self.names, self.markdown = [peer.name for peer in peers], markdown
        self.footnotes = []
        self.line("", *self.names)
        if markdown:
            print("|---" * (len(self.names) + 1) + "|")

    def line(self, first, *cells):
        if self.markdown:
            print(f"| {' | '.join([first, *cells])} |", flush=True)
        else:
            print(f"{first:42}" + "".join(f"{cell:>20}" for cell in cells), flush=True)

    def row(self, title, results, unit):
        base = results.get(SUBJECT, {}).get("seconds")
        self.line(title, *(self.cell(title, name, results.get(name, {}), base, unit) for name in self.names))

    def cell(self, title, name, result, base, unit):
        if "error" in result:
            if not result["error"].startswith("NotImplementedError: no "):
                self.footnotes.append(f"{title}, {name}: {result['error']}")
            return "–"
        text = readable(statistics.median(result["seconds"]), unit)
        if base and name != SUBJECT:
            text += f" ({statistics.median(other / own for other, own in zip(result['seconds'], base)):.2f}x)"
        if result.get("differs"):
            self.footnotes.append(f"{title}, {name}: the result differs")
            text += " !"
        return text

    def end(self):
        for note in self.footnotes:
            print(f"\n{note}" if self.markdown else note)


class PeerPython(argparse.Action):
    """Goes with the `--peer` before it."""

    def __call__(self, parser, options, value, option=None):
        if not options.peer:
            parser.error("--peer-python must follow the --peer it is for")
        options.peer[-1] = (options.peer[-1][0], value)


def arguments():
    parser = argparse.ArgumentParser(description="Ferrograd beside other libraries: times and ratios.")
    parser.add_argument("--only", action="append", metavar="GLOB", help="workloads to run; may be given several times")
    parser.add_argument("--list", action="store_true", help="print the names of the workloads")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="threads for each library (default: all processors)")
    parser.add_argument("--rounds", type=int, default=15, help="blocks of each workload and library (default 15)")
    parser.add_argument(
        "--peer",
        action="append",
        type=lambda name: (name, sys.executable),
        metavar="NAME",
        help=f"compare with this one: {', '.join(set(LIBRARIES) - {SUBJECT})} (default: all that can be imported)",
    )
    parser.add_argument("--peer-python", action=PeerPython, metavar="PATH", help="the Python in which the peer before it lives")
    parser.add_argument("--markdown", action="store_true", help="print a Markdown table")
    parser.add_argument("--json", metavar="FILE", help="write all times to this file")
    parser.add_argument("--serve", metavar="NAME", help=argparse.SUPPRESS)
    parser.add_argument("--probe", nargs=2, metavar=("PROBE", "NAME"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    for name, _ in options.peer or []:
        if name not in LIBRARIES:
            parser.error(f"--peer {name}: expected one of {', '.join(LIBRARIES)}")
    return options


def start_peers(options):
    """The processes of the libraries, ferrograd's first."""
    wanted = options.peer or [(name, sys.executable) for name in LIBRARIES if name != SUBJECT and importable(name)]
    peers = []
    for name, python in [(SUBJECT, sys.executable), *wanted]:
        peer = Peer(name, python, options.threads)
        if peer.start():
            peers.append(peer)
        else:
            print(f"left out: {name} (cannot be imported by {python})", file=sys.stderr)
    return peers


def importable(name):
    from importlib.util import find_spec

    return find_spec(name) is not None


def main():
    options = arguments()
    if options.serve:
        return Server(options.serve, options.threads).serve()
    if options.probe:
        print(json.dumps({"value": PROBES[options.probe[0]][0](options.probe[1], options.threads)}))
        return None
    chosen = [name for name in [*WORKLOADS, *PROBES] if any(fnmatch.fnmatch(name, glob) for glob in options.only or ["*"])]
    if options.list:
        return print("\n".join(chosen))
    peers = start_peers(options)
    table, collected = Table(peers, options.markdown), {}
    for name in chosen:
        if name in PROBES:
            collected[name] = measure(name, peers, min(options.rounds, 5))
        else:
            collected[name] = compare(name, peers, options.rounds)
        table.row(name, collected[name], PROBES[name][1] if name in PROBES else "s")
    table.end()
    for peer in peers:
        peer.stop()
    if options.json:
        with open(options.json, "w") as file:
            json.dump({"threads": options.threads, "results": collected}, file, indent=1)
    return None


if __name__ == "__main__":
    sys.exit(main())
