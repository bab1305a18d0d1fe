"""Ferrograd beside other libraries: the same work, the same inputs, the same number of threads, in turns.

    python benches/compare.py                                  # with all peers that can be imported here
    python benches/compare.py --only 'tiny*' --only 'step*'    # some workloads
    python benches/compare.py --peer torch --peer-python /other/venv/bin/python --threads 1 --markdown

Each library lives in a process of its own and may have a Python of its own. A workload is run in blocks, one library
after the other, round after round, so that what else the machine does meets all of them alike. The table gives the
median time of a call and, in brackets, how many times ferrograd's that is; the ratio is taken round by round. Before anything is
timed, the results of the libraries are compared.

To add a workload, see `comparison/workloads`.
"""

import argparse
import fnmatch
import json
import os
import sys

import comparison.probes  # noqa: F401
import comparison.workloads  # noqa: F401
from comparison.libraries import LIBRARIES, SUBJECT
from comparison.processes import Peer, Server, compare, measure
from comparison.registry import PROBES, WORKLOADS
from comparison.table import Table


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
            collected[name] = measure(name, peers, 1 if PROBES[name][2] else min(options.rounds, 5))
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
