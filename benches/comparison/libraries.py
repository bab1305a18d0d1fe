"""The libraries compared, behind one interface for the workloads: arrays, results, derivatives, compiled functions."""

import importlib

import numpy as np

from .registry import need

SUBJECT = "ferrograd"


class Numpy:
    """The interface that workloads use, over numpy. Has no derivatives."""

    gradients = None

    def __init__(self, name, threads):
        self.xp = np

    def numbers(self, *shape, seed=0, dtype="float32"):
        """The same normally distributed numbers in every library."""
        return np.random.default_rng(seed).standard_normal(shape).astype(dtype)

    def array(self, *shape, **options):
        """The same as an array of the library."""
        return self.numbers(*shape, **options)

    def from_array(self, x):
        """An array of numpy's as one of the library."""
        return x

    def to_numpy(self, x):
        return np.asarray(x)

    def finish(self, x):
        """Waits for a result of a library that computes later."""

    def relu(self, x):
        return self.xp.maximum(x, 0)

    def sigmoid(self, x):
        return 1 / (1 + self.xp.exp(-x))

    def function(self, name):
        """A function of one array by name: of the library, or of its `nn.functional`."""
        found = next((place for place in ("", "nn.functional.") if self.has(place + name)), None)
        need(found is not None or hasattr(type(self), name), "no such function")
        return getattr(self, name) if found is None or hasattr(type(self), name) else self.at(found + name)

    def at(self, path):
        """What is at a dotted path in the library, or None."""
        at = self.xp
        for name in path.split("."):
            at = getattr(at, name, None)
        return at

    def compile(self, f):
        """What the library is meant to be used through, where it is meant to compile functions."""
        return f

    def has(self, path):
        """Whether the library has something at a dotted path."""
        return self.at(path) is not None

    def __getattr__(self, name):
        return getattr(self.xp, name)


class Torch(Numpy):
    """torch, and ferrograd, which has its names."""

    gradients = "tape"

    def __init__(self, name, threads):
        self.xp = importlib.import_module(name)
        for part in ("nn.functional", "optim"):
            try:
                importlib.import_module(f"{name}.{part}")
            except ImportError:
                pass
        if hasattr(self.xp, "set_num_threads"):
            self.xp.set_num_threads(threads)

    def array(self, *shape, grad=False, **options):
        x = self.from_array(self.numbers(*shape, **options))
        return x.requires_grad_() if grad else x

    def from_array(self, x):
        # In memory of its own, as a script's tensors are: that of numpy may begin anywhere.
        return self.xp.from_numpy(x).clone()

    def to_numpy(self, x):
        return np.array(x) if isinstance(x, (int, float)) else x.detach().numpy()

    def relu(self, x):
        return self.xp.relu(x)

    def sigmoid(self, x):
        return self.xp.sigmoid(x)


class Functional(Numpy):
    """Libraries that differentiate functions: jax (the gradient compiled), autograd, mlx."""

    gradients = "function"

    def array(self, *shape, grad=False, **options):
        return self.xp.array(self.numbers(*shape, **options))

    def from_array(self, x):
        return self.xp.array(x)


class Jax(Functional):
    def __init__(self, name, threads):
        import jax

        jax.config.update("jax_enable_x64", True)
        self.xp, self.finish = jax.numpy, jax.block_until_ready
        self.gradient = lambda f, places: jax.jit(jax.grad(f, places))
        self.compile = jax.jit


class Autograd(Functional):
    def __init__(self, name, threads):
        import autograd

        self.xp = autograd.numpy
        self.gradient = autograd.grad

    def array(self, *shape, grad=False, **options):
        return self.numbers(*shape, **options)

    def from_array(self, x):
        return x


class Mlx(Functional):
    def __init__(self, name, threads):
        import mlx.core as mx

        mx.set_default_device(mx.cpu)
        self.xp, self.finish, self.gradient = mx, mx.eval, mx.grad


LIBRARIES = {"ferrograd": Torch, "torch": Torch, "numpy": Numpy, "jax": Jax, "autograd": Autograd, "mlx": Mlx}
