"""Special functions. Those that are functions of `ferrograd`, too, are the same objects, some by older names."""

import ferrograd
from ferrograd import _C

__all__ = []


def _add(name, function):
    globals()[name] = function
    __all__.append(name)


for _name in (
    "digamma erf erfc erfinv exp2 expm1 i0 log1p log_softmax logit logsumexp polygamma round sinc softmax xlogy".split()
):
    _add(_name, getattr(ferrograd, _name))
for _name, _known in (
    ("expit", "sigmoid"),
    ("gammainc", "igamma"),
    ("gammaincc", "igammac"),
    ("gammaln", "lgamma"),
    ("multigammaln", "mvlgamma"),
    ("psi", "digamma"),
):
    _add(_name, getattr(ferrograd, _known))
for _name, _function in vars(_C._special).items():
    if not _name.startswith("_"):
        # Functions of two operands take a number in either place.
        _first = "number beside tensor" if _name in ("xlog1py", "zeta") or "_polynomial_" in _name else "tensor"
        _add(_name, _C._function_form(_function, first=_first, out="castable", overlap="any" if _name == "ndtr" else "whole"))
__all__.sort()
del _name, _known, _function, _first
