"""What must be reached: ferrograd's time over torch's, at most, in the same run."""

import fnmatch

PEER = "torch"

# The first that fits counts. A size below 64 K, of a loop over elements, has no bar.
BARS = [
    ("* 1K*", None),
    ("step 64x1000x100x10 float32", 0.45),
    ("step 64x1000x100x10 float64", 0.65),
    ("step 784-256-10*", 0.60),
    ("tiny add 4x4*", 0.30),
    ("tiny backward", 0.12),
    ("scalar chain of 100 forward and backward", 0.20),
    ("matmul *", 1.00),
    ("*64K*", 1.00),
    ("*1M*", 1.00),
    ("*16M*", 1.00),
]


def bar(name):
    """The bar of a workload, or None."""
    return next((value for glob, value in BARS if fnmatch.fnmatch(name, glob)), None)
