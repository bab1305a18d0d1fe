"""Functions of functions: their derivatives, their forms for batches, and calls of modules with other parameters."""

from ferrograd._vmap import vmap
from ferrograd.func._call import functional_call, replace_all_batch_norm_modules_, stack_module_state
from ferrograd.func._transforms import (
    debug_unwrap,
    functionalize,
    grad,
    grad_and_value,
    hessian,
    jacfwd,
    jacrev,
    jvp,
    linearize,
    vjp,
)

__all__ = [
    "debug_unwrap",
    "functional_call",
    "functionalize",
    "grad",
    "grad_and_value",
    "hessian",
    "jacfwd",
    "jacrev",
    "jvp",
    "linearize",
    "replace_all_batch_norm_modules_",
    "stack_module_state",
    "vjp",
    "vmap",
]
