"""Runs the operator corpus on the installed package and compares with the floor.

    conformance.py CORPUS FLOOR [--update]

FLOOR is a JSON file: the operators of which every check passes, by name, and the number of passing checks in all.
An operator of the list that fails, a lower number, a crash or a hang is an error. `--update` writes what was measured.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path


def measure(corpus):
    """The perfect operators, the passing checks in all, and the operators that crashed or hung."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "result.json"
        runner = corpus / "ops" / "run_ops.py"
        subprocess.run(
            [sys.executable, runner, corpus / "ops" / "open", "--module", "ferrograd", "--jobs", "2", "--json", out],
            stdout=subprocess.DEVNULL,
            check=False,
        )
        operators = json.loads(out.read_text())["operators"]
    perfect = sorted(name for name, result in operators.items() if result["ran"] and not result["failures"])
    passing = sum(sum(result["passed"].values()) for result in operators.values())
    fatal = [
        f"{name}: {kind} {detail}"
        for name, result in operators.items()
        for _, _, kind, detail in result["failures"]
        if kind in ("crash", "timeout")
    ]
    return perfect, passing, fatal


def main():
    corpus, floor = Path(sys.argv[1]), Path(sys.argv[2])
    perfect, passing, fatal = measure(corpus)
    print(f"{len(perfect)} operators perfect, {passing} checks pass")
    if "--update" in sys.argv:
        floor.write_text(json.dumps({"checks": passing, "operators": perfect}, indent=1) + "\n")
        return 0
    wanted = json.loads(floor.read_text())
    problems = [f"no longer perfect: {name}" for name in sorted(set(wanted["operators"]) - set(perfect))]
    if passing < wanted["checks"]:
        problems.append(f"{passing} checks pass, {wanted['checks']} did before")
    problems += fatal
    print("\n".join(problems))
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
