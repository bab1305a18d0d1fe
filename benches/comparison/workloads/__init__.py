"""The workloads, by what they are made of.

To add one, write a function under `@workload`: it gets a library, makes the inputs, and returns what is to be timed, whose
result is what is compared.
"""

from . import elementwise, matmul, optimizers, reductions, tiny, training  # noqa: F401
