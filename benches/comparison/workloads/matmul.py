"""Products of matrices."""

from ..registry import finished, workload


@workload("matmul {n}x{n} {dtype}", n=[64, 128, 256, 512, 1024, 2048], dtype=["float32", "float64"])
def square_matmul(lib, n, dtype):
    return product(lib, lib.array(n, n, dtype=dtype), lib.array(n, n, seed=1, dtype=dtype))


@workload(
    "matmul {shape} float32",
    shape=["64x1000x100", "1000x64x100", "64x100x10", "64x10x100", "128x784x256", "128x256x10", "8192x64x32", "32x64x8192", "64x16384x64"],
)
def rectangular_matmul(lib, shape):
    """m x k x n: the products of the networks; tall, wide and deep ones."""
    m, k, n = map(int, shape.split("x"))
    return product(lib, lib.array(m, k), lib.array(k, n, seed=1))


@workload("matmul {which} 1000x64x100 float32", which=["At B", "A Bt", "At Bt"])
def transposed_matmul(lib, which):
    m, k, n = 1000, 64, 100
    left, right = which.split()
    a = lib.array(k, m).T if left == "At" else lib.array(m, k)
    b = lib.array(n, k, seed=1).T if right == "Bt" else lib.array(k, n, seed=1)
    return product(lib, a, b)


@workload("matmul {count} of 64x64 float32", count=[64])
def batched_matmul(lib, count):
    return product(lib, lib.array(count, 64, 64), lib.array(count, 64, 64, seed=1))


def product(lib, a, b):
    return lambda: finished(lib, a @ b)
