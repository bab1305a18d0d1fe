"""The package as a user meets it: what an import loads, and the README's example."""

import copy
import importlib.util
import io
import os
import pickle
import re
import subprocess
import sys
from contextlib import redirect_stdout
from pathlib import Path

import pytest

import ferrograd

ROOT = Path(__file__).parent.parent
# PYTHONPATH may name the package's folder relative to this one: examples run in others.
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(ferrograd.__file__).parent.parent)}


def test_import_does_not_load_numpy():
    code = "import sys, ferrograd; print('numpy' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "False"


EXAMPLES = re.findall(r"```python\n(.*?)```\n\n```\n(.*?)```", (ROOT / "README.md").read_text(), re.S)


def test_the_readme_has_examples():
    assert len(EXAMPLES) == 2


@pytest.mark.parametrize("code, output", EXAMPLES, ids=["tensors", "layers"])
def test_the_readme_example_prints_what_it_says(code, output):
    printed = io.StringIO()
    with redirect_stdout(printed):
        exec(compile(code, "README.md", "exec"), {})
    assert printed.getvalue() == output


def test_the_example_runs_in_an_empty_folder(tmp_path):
    script = ROOT / "examples" / "two_layer_net.py"
    result = subprocess.run([sys.executable, script, "--steps", "3"], cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    losses = re.findall(r"^(\w+) +step +2  loss ([0-9.e+]+)$", result.stdout, re.M)
    assert [name for name, _ in losses] == ["numpy", "Variable", "tensor"]
    assert len({round(float(loss) / 1e7, 3) for _, loss in losses}) == 1


def test_the_example_plots_or_says_at_once_what_it_needs(tmp_path):
    script = ROOT / "examples" / "two_layer_net.py"
    command = [sys.executable, str(script), "--steps", "2", "--plot", "curve.png"]
    run = subprocess.run(command, cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True)
    if importlib.util.find_spec("matplotlib"):
        assert run.returncode == 0 and (tmp_path / "curve.png").read_bytes().startswith(b"\x89PNG")
    else:
        assert run.returncode == 2 and "needs matplotlib" in run.stderr and "loss" not in run.stdout


def test_constants():
    import math

    assert (ferrograd.pi, ferrograd.e, ferrograd.inf) == (math.pi, math.e, math.inf) and math.isnan(ferrograd.nan)
    assert ferrograd.newaxis is None and re.match(r"\d+\.\d+", ferrograd.__version__)


@pytest.mark.parametrize(
    "function",
    [
        ferrograd.tanh,
        ferrograd.cat,
        ferrograd.celu,
        ferrograd.where,
        ferrograd.linalg.inv,
        ferrograd.nn.functional.relu,
        ferrograd.nn.functional.gelu,
        ferrograd.nn.functional.dropout,
    ],
    ids=lambda function: function.__name__,
)
def test_functions_are_copied_and_pickled_by_name(function):
    """Modules keep functions as what they apply, and are copied."""
    assert copy.deepcopy(function) is function
    assert pickle.loads(pickle.dumps(function)) is function
