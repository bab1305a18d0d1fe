"""``vmap``: a function of samples as a function of batches.

It calls the function once for each sample and stacks the answers, so whatever the function does is right, in-place writes,
control flow that depends on values and derivatives included.
"""

import functools

from ferrograd._C import Tensor, _autograd, get_rng_state, set_rng_state, stack
from ferrograd.autograd._products import is_inexact
from ferrograd.autograd._transform import transform
from ferrograd.autograd._vmap_rule import Calls
from ferrograd.utils._pytree import flatten_like, tree_flatten, tree_unflatten

__all__ = ["vmap"]


def check_randomness(randomness):
    """Fails if this is not one of the ways to treat random ops."""
    if randomness not in ("error", "different", "same"):
        raise RuntimeError(f"Only allowed values for randomness are 'error', 'different', or 'same'. Got {randomness}")


def vmap(func, in_dims=0, out_dims=0, randomness="error", *, chunk_size=None):
    """A function that maps `func` over a dim of its arguments.

    `in_dims` says over which dim of each argument (None: the argument is the same for all samples), `out_dims` where that dim
    is in the outputs: ints, or trees like the arguments and outputs. `randomness` says what random ops do in `func`: "error",
    "different" numbers for each sample, or the "same". Random ops draw, and tensors that `func` has captured are written to, once
    for each `chunk_size` samples (None: once for all). `func` is called once for each sample; again, where all samples are needed
    at once: for "different" numbers of `poisson`, for `resize_`, and for the ``vmap`` of a ``Function``.

    Raises: RuntimeError for ``item()``, ``if``, masks and ``nonzero`` of what depends on a sample; `where` chooses by values.

    >>> batched_dot = ferrograd.vmap(ferrograd.dot)
    """
    check_randomness(randomness)
    if chunk_size is not None and chunk_size <= 0:
        raise ValueError(f"vmap: chunk_size should be None or greater than 0. (got {chunk_size})")
    name = getattr(func, "__name__", repr(func))

    @functools.wraps(func, updated=())
    def wrapped(*args, **kwargs):
        if not all(isinstance(dim, int) or dim is None for dim in tree_flatten(out_dims)[0]):
            raise ValueError(
                f"vmap({name}, ..., out_dims={out_dims}): `out_dims` must be an int, None or a python collection of ints "
                "representing where in the outputs the vmapped dimension should appear."
            )
        batch = _Batch(name, in_dims, args)
        try:
            batch.call(func, kwargs, randomness, chunk_size)
        except RuntimeError:
            if not batch.has_other_integers():
                raise
            batch.call(func, kwargs, randomness, chunk_size)
        return _joined(name, out_dims, batch)

    return wrapped


class _Batch:
    """The arguments of a call, to be taken apart along the mapped dims, and what the function answers for each sample."""

    def __init__(self, name, in_dims, args):
        call = f"vmap({name}, in_dims={in_dims}, ...)(<inputs>)"
        if not isinstance(in_dims, (int, tuple)):
            raise ValueError(
                f"{call}: expected `in_dims` to be int or a (potentially nested) tuple matching the structure of inputs, "
                f"got: {type(in_dims)}."
            )
        if not args:
            raise ValueError(
                f"vmap({name})(<inputs>): got no inputs. Maybe you forgot to add inputs, or you are trying to vmap over a "
                "function with no inputs. The latter is unsupported."
            )
        self.leaves, self.spec = tree_flatten(args)
        dims = flatten_like(in_dims, self.spec)
        if dims is None:
            raise ValueError(
                f"{call}: in_dims is not compatible with the structure of `inputs`. in_dims has structure "
                f"{tree_flatten(in_dims)[1]} but inputs has structure {self.spec}."
            )
        self.dims = [_checked_dim(call, x, dim) for x, dim in zip(self.leaves, dims)]
        sizes = [x.shape[dim] for x, dim in zip(self.leaves, self.dims) if dim is not None]
        if not sizes:
            raise ValueError("vmap: Expected at least one Tensor to vmap over")
        if any(size != sizes[0] for size in sizes):
            raise ValueError(
                "vmap: Expected all tensors to have the same size in the mapped dimension, "
                f"got sizes {sizes} for the mapped dimension"
            )
        self.size = sizes[0]
        self.batches = self.leaves
        if self.size == 0:
            self.leaves = [x if dim is None else _some_sample(x, dim) for x, dim in zip(self.leaves, self.dims)]
        self.strides = [None if dim is None else x.stride(dim) for x, dim in zip(self.leaves, self.dims)]
        self.take_apart()

    def take_apart(self):
        """One op for all samples where they are recorded; elsewhere they are views that may be written to."""
        self.writes = [None if dim is None else _autograd._writes_to_batch(x) for x, dim in zip(self.leaves, self.dims)]
        self.split = [x.unbind(dim) if dim is not None and _autograd._is_followed(x) else None for x, dim in zip(self.leaves, self.dims)]

    def has_other_integers(self):
        """Puts ones in the place of the zeros that stand for no integers, if any do: some ops take these alone (divisors, pivots)."""
        zeros = [x for x, dim in zip(self.leaves, self.dims) if self.size == 0 and dim is not None and not is_inexact(x)]
        for x in zeros:
            x.fill_(1)
        return bool(zeros)

    def chunks(self, chunk_size):
        """Ranges of samples that belong together. An empty batch has one sample, for the shapes of the answers."""
        size = max(self.size, 1)
        step = chunk_size or size
        return [range(start, min(start + step, size)) for start in range(0, size, step)]

    def sample(self, i):
        """The leaves of the arguments of a call, as the function's own."""
        return [
            x if dim is None else _autograd._sample(parts[i] if parts else x.select(dim, i), stride, writes)
            for x, dim, parts, stride, writes in zip(self.leaves, self.dims, self.split, self.strides, self.writes)
        ]

    def call(self, func, kwargs, randomness, chunk_size):
        """Calls the function for each sample. Keeps the leaves of what it is given and of what it answers, the structure of that, and
        which leaves depend on the sample."""
        self.given, self.answers, self.specs, self.depend = [], [], [], []
        self.is_whole = chunk_size is None
        state = get_rng_state() if randomness == "same" else None
        for chunk in self.chunks(chunk_size):
            if state is not None:
                set_rng_state(state)
            calls = Calls(self.dims, len(chunk), self.size == 0)
            with transform(randomness, len(chunk), calls) as number:
                self.number = number
                is_kept = randomness == "different" or Calls.are_possible
                if is_kept:
                    self.keep(chunk)
                versions = self.versions()
                while (found := self.pass_through(chunk, func, kwargs, number, calls)) is None:
                    if not calls.again(_autograd._again()):
                        raise RuntimeError(
                            "vmap: some samples draw random numbers that depend on values, others do not. Under "
                            "randomness='different' all must come to the same calls of random ops"
                        )
                    if not is_kept and self.versions() != versions:
                        raise RuntimeError("vmap: resize_ after a write to an argument needs randomness='different'")
                    self.take_apart()
                first, _ = found[0]
                views = [() if dim is None else _autograd._views_in_place(x) for x, dim in zip(first, self.dims)]
                for given, answer in found:
                    leaves, spec = tree_flatten(answer)
                    self.given.append(given)
                    self.answers.append(leaves)
                    self.specs.append(spec)
                    self.depend.append([isinstance(y, Tensor) and _autograd._depends_on(y, number) for y in leaves])
        if self.is_whole:
            self.leaves = self.batches
            self.dims = [_view_in_place(x, dim, changes) for x, dim, changes in zip(self.leaves, self.dims, views)]
            self.write_resized(views)

    def write_resized(self, views):
        """Writes to batches whose samples were resized, and so moved, what these have come to be."""
        for x, dim, changes, samples in zip(self.leaves, self.dims, views, zip(*self.given)):
            if any(method == "resize_" for method, _ in changes):
                x.copy_(stack(samples, dim))

    def versions(self):
        return [x._version if isinstance(x, Tensor) and not x.is_inference() else None for x in self.leaves]

    def keep(self, chunk):
        """Keeps these samples, in case that they are written to and gone through once more."""
        for x, dim in zip(self.leaves, self.dims):
            if dim is not None:
                _autograd._keep_batch(x, x.detach().narrow(dim, chunk.start, len(chunk)))

    def pass_through(self, chunk, func, kwargs, number, calls):
        """What the function is given and answers for these samples. None if some were broken off: where random numbers depend on the
        values of all samples, or a ``Function`` asks for them all, all must have come before one goes on."""
        found, broken_off = [], False
        for i in chunk:
            given = self.sample(i)
            calls.begin(i, given)
            try:
                found.append((given, func(*tree_unflatten(given, self.spec), **kwargs)))
            except _autograd.OtherSamples as samples:
                if samples.args != (number,):
                    raise
                broken_off = True
            if broken_off:
                _autograd._forget_sample()
            else:
                _autograd._end_of_sample(i + 1 == chunk.stop)
        return None if broken_off else found

    def as_view(self, parts, dim):
        """These answers as a view of an argument, if they are parts of it."""
        for i, (x, in_dim) in enumerate(zip(self.leaves, self.dims)):
            if in_dim is None:
                continue
            view = _autograd._view_of_parts(x, parts, dim, x.stride(in_dim))
            if view is None:
                continue
            if view.dim() != x.dim() or any(part is not given[i] for part, given in zip(parts, self.given)):
                return view
            # Those that the function was given, unless it has given them other dims in place.
            whole = x if in_dim == dim else x.movedim(in_dim, dim)
            return whole if view.shape == whole.shape and view.stride() == whole.stride() else view
        return None


def _view_in_place(x, place, changes):
    """Changes a batch as its samples have been, by in-place views; answers the place of the mapped dim then."""
    for method, dims in changes:
        if method == "resize_":
            x.resize_((x.shape[place], *dims))
            place = 0
            continue
        # Where in the batch the dims are, or come to be.
        dims = [dim if dim < place else dim + 1 for dim in dims]
        getattr(x, method)(*([dims] if method == "squeeze_" else dims))
        place += (method == "unsqueeze_" and dims[0] < place) - (sum(dim < place for dim in dims) if method == "squeeze_" else 0)
    return place


def _some_sample(x, dim):
    """A batch of one in the place of one of none: zeros, or what is fit for more ops, regular matrices of probabilities."""
    batch = x.new_zeros((*x.shape[:dim], 1, *x.shape[dim + 1 :]))
    if is_inexact(batch):
        sample = batch.select(dim, 0)
        sample.fill_(0.5 / max(1, sample.shape[-1] if sample.dim() else 1))
        if sample.dim() > 1:
            sample.diagonal(dim1=-2, dim2=-1).add_(0.5)
    return batch


def _checked_dim(call, x, dim):
    if dim is None:
        return None
    if not isinstance(dim, int):
        raise ValueError(
            f"{call}: Got in_dim={dim} for an input but in_dim must be either an integer dimension or None."
        )
    if not isinstance(x, Tensor):
        raise ValueError(
            f"{call}: Got in_dim={dim} for an input but the input is of type {type(x)}. We cannot vmap over non-Tensor "
            "arguments, please use None as the respective in_dim"
        )
    rank = x.dim()
    if not -rank <= dim < rank:
        raise ValueError(
            f"{call}: Got in_dim={dim} for some input, but that input is a Tensor of dimensionality {rank} so expected in_dim "
            f"to satisfy -{rank} <= in_dim < {rank}."
        )
    return dim % rank


def _joined(name, out_dims, batch):
    spec = batch.specs[0]
    if any(other != spec for other in batch.specs):
        raise ValueError(f"vmap({name}, ...): `{name}` answers trees of different structures for different samples")
    if spec.is_leaf() and isinstance(out_dims, tuple) and len(out_dims) == 1:
        out_dims = out_dims[0]
    dims = flatten_like(out_dims, spec)
    if dims is None or (spec.is_leaf() and not (isinstance(out_dims, int) or out_dims is None)):
        raise ValueError(
            f"vmap({name}, ..., out_dims={out_dims})(<inputs>): out_dims is not compatible with the structure of `outputs`. "
            f"out_dims has structure {tree_flatten(out_dims)[1]} but outputs has structure {spec}."
        )
    columns = zip(zip(*batch.answers), zip(*batch.depend), dims)
    return tree_unflatten([_output(name, list(parts), any(depend), dim, batch) for parts, depend, dim in columns], spec)


def _output(name, parts, depend, dim, batch):
    """What the function answers for all samples: as in torch, a view where it answers parts of an argument, or the same for all."""
    if dim is None:
        if depend:
            raise ValueError(f"vmap({name}, ...): `{name}` can not return a BatchedTensor when out_dim is None")
        return parts[0]
    for part in parts:
        if not isinstance(part, Tensor):
            raise ValueError(
                f"vmap({name}, ...): `{name}` must only return Tensors, got type {type(part)}. "
                "Did you mean to set out_dims= to None for output?"
            )
    rank = parts[0].dim() + 1
    if not batch.is_whole or not -rank <= dim < rank:
        return stack(parts, dim)
    dim %= rank
    if batch.size:
        view = batch.as_view(parts, dim) if depend else _expanded(parts, dim)
        if view is not None:
            return view
    joined = _autograd._joined(parts, batch.number, dim)
    return joined if batch.size else joined.narrow(dim, 0, 0)


def _expanded(parts, dim):
    """The first of these answers for all samples, if they are all the same."""
    first = parts[0]

    def is_same(x):
        return x is first or x.shape == first.shape and x.dtype == first.dtype and _autograd._values(x).equal(_autograd._values(first))

    if not all(is_same(part) for part in parts):
        return None
    return first.unsqueeze(dim).expand(*first.shape[:dim], len(parts), *first.shape[dim:])
