"""Tensors, parallel CPU kernels and reverse-mode autograd with torch's names."""

import copyreg
from math import e, inf, nan, pi

from ferrograd import _C
from ferrograd._C import *  # noqa: F403
from ferrograd._C import Tensor, dtype
from ferrograd._copies import copy_forms
from ferrograd._functions import PLAIN, function_forms, overlap_of, reduced
from ferrograd._size import Size
from ferrograd import autograd, cuda, linalg, nn, random
from ferrograd.nn._activation import rrelu
from ferrograd.nn._normalization import _native_batch_norm_legit
from ferrograd.nn._bilinear import bilinear
from ferrograd.nn._embedding import embedding_renorm_
from ferrograd.autograd.forward_ad import make_dual as _make_dual
from ferrograd.autograd.forward_ad import unpack_dual as _unpack_dual
from ferrograd.autograd import (
    enable_grad,
    inference_mode,
    is_grad_enabled,
    is_inference_mode_enabled,
    no_grad,
    set_grad_enabled,
)

from ferrograd._losses import *  # noqa: F403
from ferrograd._contract import chain_matmul, einsum, tensordot, vander
from ferrograd._segments import _chunk_cat, _unsafe_masked_index, _unsafe_masked_index_put_accumulate, segment_reduce
from ferrograd._statistics import corrcoef, cov, gradient, histc, histogram, histogramdd, isin
from ferrograd._lowrank import *  # noqa: F403
from ferrograd._removed import eig, lstsq, matrix_rank, solve, symeig

newaxis = None

# Torch's other name of it.
Tensor._grad = Tensor.grad

is_anomaly_enabled = _C._autograd.is_anomaly_enabled
is_anomaly_check_nan_enabled = _C._autograd.is_anomaly_check_nan_enabled
set_anomaly_enabled = _C._autograd.set_anomaly_enabled

# A function that Rust exports under the same name stays: it knows more than the method.
globals().update(
    {name: form for name, form in function_forms(Tensor, _C._function_form).items() if not hasattr(_C, name)}
)

globals().update(
    {name: _C._function_form(getattr(_C, name), first=first, out=out, overlap=overlap_of(name)) for name, first, out in PLAIN}
)
celu, celu_, rrelu_, selu, selu_, threshold_ = (
    getattr(_C._nn, name) for name in ("celu", "celu_", "rrelu_", "selu", "selu_", "threshold_")
)
threshold = _C._function_form(_C._nn.threshold, out="castable")
_segment_reduce = segment_reduce
globals().update(copy_forms(Tensor, _C._function_form))

for _kind in {type(form) for form in (celu, threshold)}:
    copyreg.pickle(_kind, reduced)

del PLAIN, copy_forms, copyreg, function_forms, overlap_of, reduced

# What few programs need, imported when it is first named.
_LAZY = {
    "accelerator": "ferrograd.accelerator",
    "backends": "ferrograd.backends",
    "fft": "ferrograd.fft",
    "func": "ferrograd.func",
    "masked": "ferrograd.masked",
    "ops": "ferrograd.ops",
    "optim": "ferrograd.optim",
    "overrides": "ferrograd.overrides",
    "signal": "ferrograd.signal",
    "special": "ferrograd.special",
    "storage": "ferrograd.storage",
    "utils": "ferrograd.utils",
    "version": "ferrograd.version",
    "vmap": "ferrograd._vmap",
    **dict.fromkeys(
        ("bartlett_window", "blackman_window", "hamming_window", "hann_window", "kaiser_window"), "ferrograd._windows"
    ),
    **dict.fromkeys(
        """
        are_deterministic_algorithms_enabled get_default_device get_float32_matmul_precision get_num_interop_threads
        is_deterministic_algorithms_warn_only_enabled set_default_device set_float32_matmul_precision set_num_interop_threads typename
        use_deterministic_algorithms
        """.split(),
        "ferrograd._settings",
    ),
    **dict.fromkeys(
        "gru gru_cell lstm lstm_cell rnn_relu rnn_relu_cell rnn_tanh rnn_tanh_cell".split(), "ferrograd.nn._recurrent"
    ),
}


def __getattr__(name):
    import importlib

    if name == "__version__":
        return importlib.import_module("importlib.metadata").version("ferrograd")
    if name not in _LAZY:
        raise AttributeError(f"module 'ferrograd' has no attribute '{name}'")
    module = importlib.import_module(_LAZY[name])
    # A function is looked up in its private module.
    value = getattr(module, name) if "._" in _LAZY[name] else module
    globals()[name] = value
    return value
