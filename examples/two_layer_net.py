"""A two-layer ReLU network fitted to random data in three ways that give the same losses.

    python two_layer_net.py [--steps N] [--plot FILE]

1. numpy, with the gradients derived by hand;
2. `Variable`, as in the first years of torch: the gradients come from the tape;
3. modern tensors, where every tensor can require a gradient.

All three start from the same numbers. A progress bar is shown if tqdm is installed (`pip install tqdm`),
and `--plot` writes the loss curves if matplotlib is (`pip install matplotlib`).
"""

import argparse
import importlib.util
import sys

import numpy as np

import ferrograd as torch
from ferrograd.autograd import Variable

BATCH, INPUTS, HIDDEN, OUTPUTS = 64, 1000, 100, 10
LEARNING_RATE = 1e-6


def steps_of(name, count):
    """The numbers 0 .. count - 1, with a progress bar if tqdm is there, and a way to print beside it."""
    try:
        from tqdm import tqdm
    except ImportError:
        return range(count), print
    bar = tqdm(range(count), desc=name, file=sys.stdout, leave=False)
    return bar, lambda text: tqdm.write(text, file=sys.stdout)


def report(say, name, step, count, loss):
    """Prints the loss of every hundredth step and of the last."""
    if step % 100 == 0 or step == count - 1:
        say(f"{name:9} step {step:4}  loss {loss:.6g}")


def random_problem():
    """Inputs, targets and first weights as float32 arrays, the same in every run."""
    torch.manual_seed(0)
    shapes = [(BATCH, INPUTS), (BATCH, OUTPUTS), (INPUTS, HIDDEN), (HIDDEN, OUTPUTS)]
    return [torch.randn(*shape).numpy() for shape in shapes]


def train_numpy(problem, count):
    """Forward and backward pass written out."""
    x, y, w1, w2 = (array.copy() for array in problem)
    losses = []
    steps, say = steps_of("numpy", count)
    for step in steps:
        hidden = x @ w1
        active = np.maximum(hidden, 0)
        error = active @ w2 - y
        losses.append(float(np.square(error).sum()))
        report(say, "numpy", step, count, losses[-1])

        grad_output = 2 * error
        grad_w2 = active.T @ grad_output
        grad_hidden = grad_output @ w2.T
        grad_hidden[hidden < 0] = 0
        w1 -= LEARNING_RATE * (x.T @ grad_hidden)
        w2 -= LEARNING_RATE * grad_w2
    return losses


def train_variable(problem, count):
    """The tape differentiates; `data` and `grad.data` are reached for by hand."""
    x, y, w1, w2 = (torch.from_numpy(array.copy()).type(torch.FloatTensor) for array in problem)
    x, y = Variable(x, requires_grad=False), Variable(y, requires_grad=False)
    w1, w2 = Variable(w1, requires_grad=True), Variable(w2, requires_grad=True)
    losses = []
    steps, say = steps_of("Variable", count)
    for step in steps:
        loss = (x.mm(w1).clamp(min=0).mm(w2) - y).pow(2).sum()
        losses.append(loss.data[0])
        report(say, "Variable", step, count, losses[-1])

        loss.backward()
        w1.data -= LEARNING_RATE * w1.grad.data
        w2.data -= LEARNING_RATE * w2.grad.data
        w1.grad.data.zero_()
        w2.grad.data.zero_()
    return losses


def train_tensor(problem, count):
    """As one writes it today."""
    x, y, w1, w2 = (torch.tensor(array) for array in problem)
    w1.requires_grad_()
    w2.requires_grad_()
    losses = []
    steps, say = steps_of("tensor", count)
    for step in steps:
        loss = ((x @ w1).relu() @ w2 - y).square().sum()
        losses.append(loss.item())
        report(say, "tensor", step, count, losses[-1])

        loss.backward()
        with torch.no_grad():
            for w in (w1, w2):
                w -= LEARNING_RATE * w.grad
                w.grad = None
    return losses


def plot(curves, path):
    """Writes the loss curves to an image file."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7, 4.5), layout="constrained")
    for (name, losses), style in zip(curves.items(), ("-", "--", ":")):
        axes.plot(losses, style, label=name, linewidth=2)
    axes.set(title="Two-layer network on random data", xlabel="step", ylabel="loss (sum of squares)", yscale="log")
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path, dpi=120)
    print(f"wrote {path}")


def main():
    parser = argparse.ArgumentParser(description="Fit a two-layer network in three ways.")
    parser.add_argument("--steps", type=int, default=500, help="training steps (default 500)")
    parser.add_argument("--plot", metavar="FILE", help="write the loss curves to this image file")
    options = parser.parse_args()
    if options.steps < 1:
        parser.error(f"--steps must be at least 1, got {options.steps}")
    if options.plot and importlib.util.find_spec("matplotlib") is None:
        parser.error("--plot needs matplotlib: pip install matplotlib")

    problem = random_problem()
    trainers = {"numpy": train_numpy, "Variable": train_variable, "tensor": train_tensor}
    curves = {name: train(problem, options.steps) for name, train in trainers.items()}
    if options.plot:
        plot(curves, options.plot)


if __name__ == "__main__":
    main()
