"""The package as a user meets it: what an import loads, and the README's example."""

import copy
import importlib.util
import inspect
import io
import os
import pickle
import pydoc
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


@pytest.mark.parametrize("function", [ferrograd.mm, ferrograd.cat, ferrograd.nn.functional.cross_entropy, ferrograd.nn.functional.pad])
def test_help_shows_the_arguments(function):
    signature = inspect.signature(function)
    # Long ones may be on several lines.
    shown = "".join(pydoc.plain(pydoc.render_doc(function)).split())
    assert f"{function.__name__}{signature}".replace(" ", "") in shown.replace(",)", ")") and len(signature.parameters) > 1


def test_functions_in_a_class_do_not_bind():
    class Layer:
        apply = ferrograd.relu

    assert Layer().apply(ferrograd.tensor([-1.0, 2.0])).tolist() == [0.0, 2.0]


def test_switches_of_backends():
    code = """
import ferrograd as torch
import ferrograd.backends.cudnn as cudnn
cudnn.benchmark = True
torch.backends.cudnn.deterministic = True
torch.backends.cuda.matmul.allow_tf32 = True
with cudnn.flags(enabled=False):
    assert not cudnn.enabled and not cudnn.benchmark
assert cudnn.enabled and cudnn.benchmark and cudnn.deterministic and not cudnn.is_available()
assert not torch.backends.mps.is_available() and not torch.backends.cuda.is_built()
torch.cuda.empty_cache()
assert torch.cuda.memory_allocated() == torch.cuda.max_memory_allocated() == 0 and not torch.cuda.is_initialized()
"""
    subprocess.run([sys.executable, "-c", code], check=True, env=ENVIRONMENT)
    with pytest.raises(RuntimeError):
        ferrograd.cuda.synchronize()


def test_settings_of_the_program():
    ferrograd.use_deterministic_algorithms(True, warn_only=True)
    assert ferrograd.are_deterministic_algorithms_enabled()
    assert ferrograd.is_deterministic_algorithms_warn_only_enabled()
    ferrograd.use_deterministic_algorithms(False)
    assert not ferrograd.are_deterministic_algorithms_enabled()
    ferrograd.set_float32_matmul_precision("high")
    assert ferrograd.get_float32_matmul_precision() == "high"
    ferrograd.set_float32_matmul_precision("highest")
    with pytest.raises(RuntimeError):
        ferrograd.set_float32_matmul_precision("low")
    ferrograd.set_default_device("cpu")
    ferrograd.set_default_device(None)
    assert ferrograd.get_default_device() == ferrograd.device("cpu")
    with pytest.raises(RuntimeError):
        ferrograd.set_default_device("cuda")
    with ferrograd.device("cpu"):
        assert ferrograd.ones(1).device.type == "cpu"
    ferrograd.set_num_interop_threads(1)
    assert ferrograd.get_num_interop_threads() == 1
    with pytest.raises(RuntimeError):
        ferrograd.set_num_interop_threads(0)


def test_names_of_types():
    assert ferrograd.typename(ferrograd.ones(1, dtype=ferrograd.int64)) == "torch.LongTensor"
    assert ferrograd.typename(ferrograd.nn.ReLU()) == f"{ferrograd.nn.ReLU.__module__}.ReLU"
    assert ferrograd.typename(3) == "int"


def test_attention_may_be_told_its_implementation():
    from ferrograd.nn.attention import SDPBackend, sdpa_kernel

    q = ferrograd.ones(1, 2, 4)
    with sdpa_kernel([SDPBackend.MATH, SDPBackend.FLASH_ATTENTION]):
        assert ferrograd.nn.functional.scaled_dot_product_attention(q, q, q).tolist() == q.tolist()
    with pytest.raises(AssertionError), sdpa_kernel(["MATH"]):
        pass


def test_the_version_says_there_is_no_gpu():
    assert ferrograd.version.__version__ == ferrograd.__version__
    assert ferrograd.version.cuda is None and ferrograd.version.hip is None


def test_a_program_that_asks_for_an_accelerator_gets_the_cpu():
    accelerator = ferrograd.accelerator
    device = accelerator.current_accelerator().type if accelerator.is_available() else "cpu"
    assert ferrograd.ones(1, device=device).device.type == "cpu"
    assert accelerator.current_accelerator() is None and accelerator.device_count() == 0
