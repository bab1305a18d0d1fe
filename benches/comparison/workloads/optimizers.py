"""Training with the optimizers of a library that has torch's."""

from ..registry import need, workload


def trained(lib, sizes, batch, optimizer, options):
    """A step of a network of linear layers with biases and relu between; returns the first weight."""
    need(lib.gradients == "tape" and lib.has("optim." + optimizer), "no such optimizer")
    x, y = lib.array(batch, sizes[0]), lib.array(batch, sizes[-1], seed=1)
    weights = [lib.array(*pair, seed=2 + i, grad=True) for i, pair in enumerate(zip(sizes, sizes[1:]))]
    biases = [lib.array(n, seed=9 + i, grad=True) for i, n in enumerate(sizes[1:])]
    update = getattr(lib.optim, optimizer)([*weights, *biases], **options)

    def step():
        h = x
        for i, (w, b) in enumerate(zip(weights, biases)):
            h = (lib.relu(h) if i else h).mm(w) + b
        update.zero_grad()
        (h - y).pow(2).sum().backward()
        update.step()
        return weights[0]

    return step


@workload("step 64x1000x100x10 {optimizer} float32", optimizer=["SGD", "Adam"])
def notebook_with_optimizer(lib, optimizer):
    return trained(lib, [1000, 100, 10], 64, optimizer, {"lr": 1e-6})


@workload("step 4-16-1 batch 32 Adam float32")
def small_network(lib):
    return trained(lib, [4, 16, 1], 32, "Adam", {"lr": 1e-6})


@workload("step 784-256-10 batch 128 {optimizer} float32", optimizer=["SGD", "Adam"])
def classifier_with_optimizer(lib, optimizer):
    return trained(lib, [784, 256, 10], 128, optimizer, {"lr": 1e-6})
