"""What every operation is tested with: inputs, their domains, and what numpy makes of them.

Each family of ops has a file here; what makes cases is in case.py. An op has one or more cases. ``unary``, ``binary`` and the like make the cases of a family; ``case`` makes one. An op
that is missing here, and from NOT_DIFFERENTIABLE, fails ``test_every_op_is_covered``.

    case("addmm", lambda c, a, b: c.addmm(a, b, beta=0.5), (2, 4), (2, 3), (3, 4), numpy=lambda c, a, b: 0.5 * c + a @ b)

Domains are intervals that keep away from kinks and poles: what happens exactly there belongs in the tests of the op.
"""

import importlib
import pkgutil

from .case import CASES, NOT_DIFFERENTIABLE

for module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{module.name}")

__all__ = ["CASES", "NOT_DIFFERENTIABLE"]
