"""Steps of training, from forward to update."""

import numpy as np

from ..registry import need, workload


@workload("step 64x1000x100x10 {dtype}", dtype=["float32", "float64"])
def notebook_step(lib, dtype):
    """Two layers, forward, backward and update, as a notebook of 2017 writes it."""
    rate = 1e-6
    x, y = lib.array(64, 1000, dtype=dtype), lib.array(64, 10, seed=1, dtype=dtype)
    w1 = lib.array(1000, 100, seed=2, dtype=dtype, grad=True) if lib.gradients else lib.array(1000, 100, seed=2, dtype=dtype)
    w2 = lib.array(100, 10, seed=3, dtype=dtype, grad=True) if lib.gradients else lib.array(100, 10, seed=3, dtype=dtype)

    def on_tape():
        loss = (x.mm(w1).clamp(min=0).mm(w2) - y).pow(2).sum()
        loss.backward()
        w1.data -= rate * w1.grad.data
        w2.data -= rate * w2.grad.data
        w1.grad.data.zero_()
        w2.grad.data.zero_()
        return w1

    def by_hand():
        nonlocal w1, w2
        h = x.dot(w1)
        h_relu = np.maximum(h, 0)
        error = h_relu.dot(w2) - y
        np.square(error).sum()
        grad_y = 2 * error
        grad_w2 = h_relu.T.dot(grad_y)
        grad_h = grad_y.dot(w2.T)
        grad_h[h < 0] = 0
        w1 -= rate * x.T.dot(grad_h)
        w2 -= rate * grad_w2
        return w1

    def of_function():
        nonlocal w1, w2
        g1, g2 = gradient(w1, w2)
        w1, w2 = w1 - rate * g1, w2 - rate * g2
        lib.finish((w1, w2))
        return w1

    if lib.gradients == "function":
        gradient = lib.gradient(lambda w1, w2: (((lib.relu(x @ w1) @ w2) - y) ** 2).sum(), (0, 1))
    return {"tape": on_tape, "function": of_function, None: by_hand}[lib.gradients]


@workload("step 784-256-10 batch 128 float32")
def classifier_step(lib):
    """A network of plain tensors with biases; sum of squares; fresh gradients each time."""
    need(lib.gradients == "tape", "no tape")
    rate = 1e-6
    x, y = lib.array(128, 784), lib.array(128, 10, seed=1)
    shapes = [(784, 256), (256,), (256, 10), (10,)]
    parameters = [lib.array(*shape, seed=2 + i, grad=True) for i, shape in enumerate(shapes)]
    w1, b1, w2, b2 = parameters

    def step():
        loss = ((lib.relu(x.mm(w1) + b1).mm(w2) + b2) - y).pow(2).sum()
        loss.backward()
        with lib.no_grad():
            for p in parameters:
                p -= rate * p.grad
                p.grad = None
        return w1

    return step
