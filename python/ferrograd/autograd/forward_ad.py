"""Forward mode: derivatives along tangents that are carried by dual tensors.

    with forward_ad.dual_level():
        x = forward_ad.make_dual(x, tangent)
        y, derivative = forward_ad.unpack_dual(x.exp())

What is computed from dual tensors is recorded, also under ``no_grad``; what only leads to them, the user does not see as a
graph. ``unpack_dual`` differentiates the vector-Jacobian product by its vector (see ``Tangents``), so every op that can be
differentiated twice can be used, and the derivative can be differentiated backwards, too. In torch each op computes its tangent
at once; here what it is to be computed from is copied before it is written to. (Only a tangent that has been given to
``make_dual`` is found as it is when another is computed from it.)
"""

import threading
from collections import namedtuple
from contextlib import contextmanager

from ferrograd import _C
from ferrograd._C import Tensor, _autograd
from ferrograd.autograd._products import Carriers, is_inexact, lies_as
from ferrograd.autograd._transform import ACTIVE, FOLLOWED, NO_TANGENTS, forward_state
from ferrograd.autograd.grad_mode import _decorate

__all__ = ["UnpackedDualTensor", "dual_level", "enter_dual_level", "exit_dual_level", "make_dual", "unpack_dual"]

NESTED = "Nested forward mode AD is not supported at the moment"

UnpackedDualTensor = namedtuple("UnpackedDualTensor", "primal tangent")
UnpackedDualTensor.__doc__ = "A tensor, and its derivative along the tangents, or None."


class _Thread(threading.local):
    """What a thread is in the middle of, and what was before it."""

    level = None
    before = ()
    enabled = True


_this_thread = _Thread()


def enter_dual_level():
    """Begins a level of this thread, in which dual tensors can be made; answers its number, which is 0."""
    _enter(Carriers([], alone=True))
    return 0


def _enter(level):
    if ACTIVE.forward:
        raise RuntimeError(NESTED)
    _this_thread.level, _this_thread.before = level, (ACTIVE.forward, _autograd._set_forward(FOLLOWED))
    ACTIVE.forward = (level,)


def exit_dual_level(*, level=None):
    """Ends the level: its dual tensors are plain ones from now on."""
    current = _number()
    if level not in (None, current):
        raise RuntimeError("Trying to exit a forward AD level that was not the last one that was created. This is not supported.")
    if current < 0:
        raise RuntimeError("Dual level must be a positive number.")
    ACTIVE.forward, state = _this_thread.before
    _autograd._set_forward(state)
    _autograd._end_forward()
    _this_thread.level = None


def is_in_level():
    """Whether this thread is in a level."""
    return _this_thread.level is not None


def _number():
    """The number of the level: 0, or -1 if there is none."""
    return -1 if _this_thread.level is None else 0


@contextmanager
def dual_level_of(carriers):
    """A level of variables whose tangents come later."""
    _enter(carriers)
    try:
        yield
    finally:
        exit_dual_level()


class dual_level:
    """The level as a context manager."""

    def __enter__(self):
        return enter_dual_level()

    def __exit__(self, *exception):
        exit_dual_level()

    def __call__(self, function):
        return _decorate(dual_level, function)


def make_dual(tensor, tangent, *, level=None):
    """The tensor's memory as a tensor that carries a tangent, which is copied unless it lies in memory as the tensor does."""
    if (_number() if level is None else level) < 0:
        raise RuntimeError(
            "Trying to create a dual Tensor for forward AD but no level exists, make sure to enter_dual_level() first."
        )
    check_inexact(tensor, tangent)
    current = _this_thread.level
    if level:
        raise RuntimeError("Invalid level given to _make_dual")
    if current is None:
        raise RuntimeError(
            "Trying to access a forward AD level with an invalid index. This index was either not created or is already deleted."
        )
    check_shapes(tensor, tangent)
    if _autograd.is_inference_mode_enabled() or tensor.is_inference() and tangent.is_inference():
        return tensor.detach()
    if unpack_dual(tensor).tangent is not None:
        raise RuntimeError(
            "Making a dual Tensor based on a Tensor that already has a forward gradient at the same level 0 is not supported."
        )
    if unpack_dual(tangent).tangent is not None:
        raise RuntimeError("Setting a forward grad that itself has a forward gradient at the same level0 is not supported.")
    tangent = _lying_as(tensor, tangent)
    current.forget_unreached()
    with forward_state(FOLLOWED):
        dual = _autograd._variable(current.variable(tensor), not (tensor.requires_grad and tensor.is_leaf))
    if tensor.requires_grad and not tensor.is_leaf:
        _autograd._show_primal(dual, tensor)
    current.tangents.append(tangent)
    current.known[_autograd._place(dual)] = tangent
    return dual


def check_inexact(tensor, tangent):
    """Fails unless both hold floating-point numbers, real or complex."""
    for name, x in (("primal", tensor), ("tangent", tangent)):
        if not is_inexact(x):
            raise ValueError(f"Expected {name} to be floating point or complex, but got: {x.dtype}")


def check_shapes(tensor, tangent):
    """Fails unless the tangent has the tensor's shape."""
    if tensor.shape != tangent.shape:
        raise RuntimeError(
            f"Trying to set a forward gradient that has a different size than that of the original Tensor, this is not "
            f"supported. Tensor is of size {list(tensor.shape)} while the given forward gradient is of size {list(tangent.shape)}."
        )


def _lying_as(tensor, tangent):
    """The tangent in the order in memory of its tensor."""
    offsets = tensor.storage_offset() == tangent.storage_offset()
    sizes = [_autograd._values(x).untyped_storage().nbytes() // x.element_size() for x in (tensor, tangent)]
    if lies_as(tensor, tangent) and offsets and sizes[0] == sizes[1] and not (tangent.is_conj() or tangent.is_neg()):
        return tangent
    return tangent.new_empty_strided(tensor.shape, tensor.stride()).copy_(tangent)


def unpack_dual(tensor, *, level=None):
    """``(primal, tangent)`` of a tensor; the tangent is None if it depends on no dual tensor."""
    level = _number() if level is None else level
    if level < 0:
        return UnpackedDualTensor(tensor, None)
    if not isinstance(tensor, Tensor):
        raise TypeError(f"_unpack_dual(): argument 'dual' (position 1) must be Tensor, not {type(tensor).__name__}")
    current = _this_thread.level
    if level > 0:
        raise RuntimeError("Invalid level given to _fw_primal")
    # The level is not active in the forward and in the jvp of a function of the user's.
    hidden = current not in ACTIVE.forward or _autograd.is_inference_mode_enabled() or not _is_fwd_grad_enabled()
    if hidden:
        return UnpackedDualTensor(tensor, None)
    (tangent,) = current.tangents_of((tensor,))
    return UnpackedDualTensor(_autograd._without_tangent(tensor, True) if tensor.requires_grad else tensor.detach(), tangent)


def _is_fwd_grad_enabled():
    """Whether dual tensors carry tangents on this thread."""
    return _this_thread.enabled


def _set_enabled(mode):
    """Whether they do from now on."""
    _this_thread.enabled = mode
    return _autograd._set_forward(FOLLOWED if mode and ACTIVE.forward else NO_TANGENTS)


# Where torch's private functions are.
_C._is_fwd_grad_enabled, _C._set_fwd_grad_enabled = _is_fwd_grad_enabled, lambda mode: _set_enabled(mode) and None


class _set_fwd_grad_enabled:
    """Whether they do from now on, and as a context manager until it is left."""

    def __init__(self, mode):
        self.before = _this_thread.enabled
        self.state = _set_enabled(mode)

    def __enter__(self):
        # The switch has been made already.
        pass

    def __exit__(self, *exception):
        _this_thread.enabled = self.before
        _autograd._set_forward(self.state)


def __getattr__(name):
    if name == "_current_level":
        return _number()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
