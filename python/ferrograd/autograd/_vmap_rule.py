"""What ``vmap`` does with a ``Function`` that says itself how it runs on a batch: it asks once for all samples.

Samples come one after the other, so those that come first to such a call are broken off, the last one asks, and all are gone
through once more: then each finds there what is its own.
"""

from collections import Counter, namedtuple
from contextlib import contextmanager

from ferrograd._C import _autograd, is_tensor, stack
from ferrograd.utils._pytree import flatten_like, tree_flatten, tree_unflatten

VmapInfo = namedtuple("VmapInfo", ["batch_size", "randomness"])


class Calls:
    """The calls of such Functions by the samples of a map, and what is answered there."""

    # Whether there is a Function that says how it runs on a batch.
    are_possible = False

    def __init__(self, dims, count, is_empty):
        """Of so many samples, which are given parts of batches along these dims; if the batch `is_empty`, there is one all the same."""
        self.dims = dims
        self.count = count
        self.is_empty = is_empty
        # By class, and which of a sample's calls of it: by sample, its part of the answer or its arguments; how many come.
        self.answers, self.waiting, self.coming = {}, {}, {}
        self.has_answered = False

    def begin(self, sample, given):
        """Before each sample, which is given these leaves."""
        self.sample, self.given, self.made = sample, given, Counter()

    def again(self, further):
        """Before all samples are gone through once more, if they come `further` for another reason or not. Answers whether they do."""
        further = further or self.has_answered
        if not further:
            # Some do not come to a call at all: those that wait there are all.
            self.coming.update((call, len(waiting)) for call, waiting in self.waiting.items())
            further = bool(self.waiting)
        self.waiting, self.has_answered = {}, False
        return further

    def answer(self, transform, cls, args, options):
        """What the Function answers for these arguments of the sample at hand."""
        leaves, spec = tree_flatten(args)
        call = cls, self.made[cls]
        self.made[cls] += 1
        answers = self.answers.setdefault(call, {})
        if self.sample not in answers:
            waiting = self.waiting.setdefault(call, {})
            waiting[self.sample] = leaves, spec
            if len(waiting) < self.coming.get(call, self.count):
                raise _autograd.OtherSamples(transform.number)
            answer = self.ask(transform, cls, list(waiting.values()), options)
            answers.update((sample, (answer, place)) for place, sample in enumerate(waiting))
            self.has_answered = True
            del self.waiting[call]
        answer, place = answers[self.sample]
        return answer.part(place, leaves)

    def ask(self, transform, cls, samples, options):
        """The answer for samples of the arguments of a call, the last of which is at hand."""
        columns = list(zip(*(leaves for leaves, _ in samples)))
        spec = samples[-1][1]
        if any(other != spec for _, other in samples) or any(_differ(x, xs[-1]) for xs in columns for x in xs):
            raise RuntimeError(f"vmap: {cls.__name__} is called with other numbers or structures for some samples than for others")
        dims = [self.dim_of(xs[-1]) if is_mapped(xs, transform.number) else None for xs in columns]
        with _outside(transform):
            batches = [xs[-1] if dim is None else self.batch(xs, dim) for xs, dim in zip(columns, dims)]
            versions = [None if dim is None or x.is_inference() else x._version for x, dim in zip(batches, dims)]
            info = VmapInfo(0 if self.is_empty else len(samples), transform.randomness)
            output = cls.vmap(info, tree_unflatten(dims, spec), *tree_unflatten(batches, spec), **options)
            answer = _Answer(batches, dims, output, info.batch_size)
            answer.note_writes(batches, dims, versions)
            return answer

    def dim_of(self, x):
        """Where the samples are in the batch that is made of those of `x`: for what they were given, where they were."""
        return next((dim for given, dim in zip(self.given, self.dims) if given is x and dim is not None and dim <= x.dim()), 0)

    def batch(self, samples, dim):
        x = _autograd._of_all_samples(stack(samples, dim))
        return x.narrow(dim, 0, 0) if self.is_empty else x


def _differ(x, y):
    plain = (int, float, complex, str)
    return isinstance(x, plain) and isinstance(y, plain) and x != y and x == x


def is_mapped(tree, number):
    """Whether something there depends on a sample of the transform of this number."""
    return any(is_tensor(x) and _autograd._depends_on(x, number) for x in tree_flatten(tree)[0])


@contextmanager
def _outside(transform):
    """Outside of the map, as before it began."""
    _autograd._step_out(transform.before)
    try:
        yield
    finally:
        _autograd._step_in()


class _Answer:
    """What a Function answers for a batch, to be taken apart."""

    def __init__(self, batches, dims, answer, size):
        outputs, out_dims, self.spec = _checked(answer)
        for y, dim in zip(outputs, out_dims):
            if dim is not None and y.size(dim) != size:
                raise RuntimeError(f"the vmap staticmethod returned {y.size(dim)} samples along dim {dim} for a batch of {size}")
        places = {id(x): i for i, (x, dim) in enumerate(zip(batches, dims)) if dim is not None}
        # For each output the place of the argument that it is, or its parts, or what is the same for all samples.
        self.outputs = [
            (None, None, y) if dim is None else (places.get(id(y)), _parts(y, dim), None) for y, dim in zip(outputs, out_dims)
        ]

    def note_writes(self, batches, dims, versions):
        """Notes which of the batches were written to."""
        pairs = enumerate(zip(batches, dims, versions))
        self.written = [(i, _parts(x, dim)) for i, (x, dim, version) in pairs if dim is not None and (version is None or x._version != version)]

    def part(self, place, leaves):
        """What is for one sample, whose arguments these are."""
        for i, (parts, *_) in self.written:
            leaves[i].copy_(parts[place])
        return tree_unflatten([self.output(place, leaves, *output) for output in self.outputs], self.spec)

    @staticmethod
    def output(place, leaves, argument, parts, constant):
        if argument is not None:
            return leaves[argument]
        return constant if parts is None else _autograd._sample(parts[0][place], *parts[1:])


def _parts(x, dim):
    """The samples of a batch, how far apart they lie, and what counts the writes to it. An empty batch has one all the same."""
    if x.size(dim) == 0:
        x = x.new_zeros([1 if d == dim % x.dim() else size for d, size in enumerate(x.shape)])
    return x.unbind(dim), x.stride(dim), _autograd._writes_to_batch(x)


def _checked(answer):
    """The leaves of an output of ``vmap``, their dims, and its structure."""
    if not (isinstance(answer, tuple) and len(answer) == 2):
        got = f"{len(answer)} returns" if isinstance(answer, tuple) else f"a {type(answer)}"
        raise RuntimeError(
            "Expected the vmap staticmethod to have two returns, an output and out_dims with pytree structure compatible with the "
            f"output. Got {got} instead"
        )
    output, out_dims = answer
    leaves, spec = tree_flatten(output)
    dims = flatten_like(out_dims, spec)
    if dims is None or not all(dim is None or isinstance(dim, int) for dim in dims):
        raise RuntimeError(
            "The autograd.Function's vmap staticmethod returned an incompatible (output, out_dims) tuple. Expected out_dims to be "
            f"compatible with the structure of the output. out_dims has structure {tree_flatten(out_dims)[1]} but output has "
            f"structure {spec}."
        )
    return leaves, dims, spec
