"""Runs the corpora of operators and of modules on the installed package and compares with the floor.

    conformance.py CORPUS FLOOR [--update]

FLOOR is a JSON file: the operators of which every check passes, by name, and the number of passing checks in all; and of the
modules, optimizers, schedules and random numbers the items that do not pass. An operator of the list that fails, a lower number, an
item that fails and is not on the list, a crash or a hang is an error. `--update` writes what was measured.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path


def results_of(runner, *arguments):
    """What a runner of the corpora writes as JSON."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "result.json"
        command = [sys.executable, runner, runner.parent / "open", "--module", "ferrograd", "--json", out, *arguments]
        subprocess.run(command, stdout=subprocess.DEVNULL, check=False)
        return json.loads(out.read_text())


def operators(corpus):
    """The perfect operators, the passing checks in all, and the operators that crashed or hung."""
    found = results_of(corpus / "ops" / "run_ops.py", "--jobs", "2")["operators"]
    perfect = sorted(name for name, result in found.items() if result["ran"] and not result["failures"])
    passing = sum(sum(result["passed"].values()) for result in found.values())
    fatal = [
        f"{name}: {kind} {detail}"
        for name, result in found.items()
        for _, _, kind, detail in result["failures"]
        if kind in ("crash", "timeout")
    ]
    return perfect, passing, fatal


def items(corpus):
    """How many items of the modules' corpus there are, and those that do not pass; a crash or a hang is none that may."""
    found = results_of(corpus / "nn" / "run_nn.py")["results"]
    failing = {f"{result['kind']}/{result['item']}": result["status"] for result in found if result["status"] != "pass"}
    fatal = [f"{name}: {status}" for name, status in failing.items() if status in ("crash", "timeout")]
    return len(found), sorted(failing), fatal


def main():
    corpus, floor = Path(sys.argv[1]), Path(sys.argv[2])
    perfect, passing, fatal = operators(corpus)
    count, failing, fatal_items = items(corpus)
    print(f"{len(perfect)} operators perfect, {passing} checks pass; {count - len(failing)} of {count} items of modules pass")
    if "--update" in sys.argv:
        floor.write_text(json.dumps({"checks": passing, "operators": perfect, "failing items": failing}, indent=1) + "\n")
        return 0
    wanted = json.loads(floor.read_text())
    problems = [f"no longer perfect: {name}" for name in sorted(set(wanted["operators"]) - set(perfect))]
    problems += [f"no longer passes: {name}" for name in sorted(set(failing) - set(wanted["failing items"]))]
    if passing < wanted["checks"]:
        problems.append(f"{passing} checks pass, {wanted['checks']} did before")
    problems += fatal + fatal_items
    print("\n".join(problems))
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
