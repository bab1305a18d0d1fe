"""Forward mode: derivatives along tangents that are carried by dual tensors.

    with forward_ad.dual_level():
        x = forward_ad.make_dual(x, tangent)
        y, derivative = forward_ad.unpack_dual(x.exp())

The tape is recorded as usual, and ``unpack_dual`` differentiates the vector-Jacobian product by its vector (see
``Tangents``), so every op that can be differentiated twice can be used, and the derivative can be differentiated backwards,
too. Two things differ from torch: dual tensors say ``requires_grad``, and what is computed under ``no_grad`` inside of the
level is a constant. Entering a level switches recording on.
"""

import threading
from collections import namedtuple

from ferrograd._C import Tensor, _autograd, zeros_like
from ferrograd.autograd._products import Tangents, is_inexact
from ferrograd.autograd._transform import ACTIVE
from ferrograd.autograd.grad_mode import enable_grad

__all__ = ["UnpackedDualTensor", "dual_level", "enter_dual_level", "exit_dual_level", "make_dual", "unpack_dual"]

UnpackedDualTensor = namedtuple("UnpackedDualTensor", "primal tangent")
UnpackedDualTensor.__doc__ = "A tensor, and its derivative along the tangents, or None."


class _Level:
    """What has been made dual."""

    def __init__(self):
        self.duals, self.variables, self.tangents, self.own = [], [], [], []
        self.recording = enable_grad()
        self.recording.__enter__()
        self.forward_before, ACTIVE.forward = ACTIVE.forward, (*ACTIVE.forward, self.variables)


class _Thread(threading.local):
    """What a thread is in the middle of."""

    level = None


_this_thread = _Thread()


def enter_dual_level():
    """Begins a level of this thread, in which dual tensors can be made; answers its number, which is 0."""
    if _this_thread.level is not None:
        raise RuntimeError("Nested forward mode AD is not supported at the moment")
    _this_thread.level = _Level()
    return 0


def exit_dual_level(*, level=None):
    """Ends the level: its dual tensors are plain ones from now on."""
    current = _this_thread.level
    if current is None or level not in (None, 0):
        raise RuntimeError("Trying to exit a forward AD level that was not the last one that was created. This is not supported.")
    current.recording.__exit__()
    ACTIVE.forward = current.forward_before
    _this_thread.level = None


class dual_level:
    """The level as a context manager."""

    def __enter__(self):
        return enter_dual_level()

    def __exit__(self, *exception):
        exit_dual_level()


def make_dual(tensor, tangent, *, level=None):
    """The tensor's memory as a tensor that carries a tangent."""
    current = _this_thread.level
    if current is None:
        raise RuntimeError(
            "Trying to create a dual Tensor for forward AD but no level exists, make sure to enter_dual_level() first."
        )
    _check_level(level)
    check_dual(tensor, tangent)
    if _autograd.is_inference_mode_enabled():
        return tensor.detach()
    if unpack_dual(tensor).tangent is not None:
        raise RuntimeError(
            "Making a dual Tensor based on a Tensor that already has a forward gradient at the same level 0 is not supported."
        )
    if unpack_dual(tangent).tangent is not None:
        raise RuntimeError("Setting a forward grad that itself has a forward gradient at the same level 0 is not supported.")
    if tensor.requires_grad:
        variable = _autograd._variable(tensor, False)
    else:
        variable = tensor.detach()
        variable.requires_grad = True
        current.own.append(variable)
    dual = _autograd._variable(variable, True)
    current.variables.append(variable)
    current.tangents.append(tangent)
    current.duals.append((dual, dual.grad_fn))
    return dual


def _check_level(level):
    if level not in (None, 0):
        raise RuntimeError(f"Invalid level {level} given: there is only level 0")


def check_dual(tensor, tangent):
    """Fails unless the tangent is one that a tensor may have."""
    for name, x in (("primal", tensor), ("tangent", tangent)):
        if not (isinstance(x, Tensor) and is_inexact(x)):
            kind = x.dtype if isinstance(x, Tensor) else type(x)
            raise ValueError(f"Expected {name} to be floating point or complex, but got: {kind}")
    if tensor.shape != tangent.shape:
        raise RuntimeError(
            f"Trying to set a forward gradient that has a different size than that of the original Tensor, this is not "
            f"supported. Tensor is of size {list(tensor.shape)} while the given forward gradient is of size {list(tangent.shape)}."
        )


def unpack_dual(tensor, *, level=None):
    """``(primal, tangent)`` of a tensor; the tangent is None if it depends on no dual tensor."""
    if not isinstance(tensor, Tensor):
        raise TypeError(f"unpack_dual: expected a Tensor, got {type(tensor)}")
    current = _this_thread.level
    if current is None or not current.duals:
        return UnpackedDualTensor(tensor, None)
    _check_level(level)
    for (dual, node), tangent in zip(current.duals, current.tangents):
        if dual is tensor and dual.grad_fn is node:
            return UnpackedDualTensor(_outside(tensor), tangent)
    tangent = None
    if tensor.requires_grad:
        tangents = Tangents((tensor,), current.variables)
        current.own += tangents.weights
        outside = _autograd._leads_to_others([tensor, *current.tangents], current.own)
        (tangent,) = tangents.along(current.tangents, create_graph=outside)
        if tangent is None and any(product is not None for product in tangents.products):
            tangent = zeros_like(tensor)
    return UnpackedDualTensor(_outside(tensor), tangent)


def _outside(tensor):
    """Off the tape, unless it leads to something that is not the level's own."""
    return tensor if _autograd._leads_to_others([tensor], _this_thread.level.own) else tensor.detach()
