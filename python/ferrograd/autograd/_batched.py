"""``grad(is_grads_batched=True)``: gradients for a batch of weights."""

from ferrograd._C import _autograd, stack, zeros_like

__all__ = ["grad"]


def grad(outputs, inputs, weights, retain_graph, create_graph, allow_unused, materialize_grads):
    """The gradients for the weights along their first dim, stacked along a new first dim."""
    count = _batch_size(outputs, weights)
    rows = []
    for i in range(count):
        # The graph stays for the weights that follow.
        keep = True if i + 1 < count else retain_graph
        row = [None if w is None else w[i] for w in weights]
        rows.append(
            _autograd.grad(outputs, inputs, row, retain_graph=keep, create_graph=create_graph, allow_unused=allow_unused)
        )
    stacked = [None if column[0] is None else stack(column) for column in zip(*rows)]
    return tuple(zeros_like(x) if g is None and materialize_grads else g for g, x in zip(stacked, inputs))


def _batch_size(outputs, weights):
    sizes = set()
    for i, (y, w) in enumerate(zip(outputs, weights)):
        if w is None:
            if y.numel() != 1:
                raise RuntimeError("grad can be implicitly created only for scalar outputs")
            continue
        if w.dim() == 0:
            raise IndexError(f"grad: is_grads_batched needs a batch dim in front, but grad_output[{i}] is 0-d")
        if w.shape[1:] != y.shape:
            raise RuntimeError(
                "If `is_grads_batched=True`, we interpret the first dimension of each grad_output as the batch dimension; the rest must be "
                f"the shape of its output, but grad_output[{i}] has {w.shape[1:]} and output[{i}] has {y.shape}. For batches of some "
                "gradients only there is vmap."
            )
        sizes.add(w.shape[0])
    if len(sizes) != 1:
        raise ValueError(f"grad: is_grads_batched needs grad_outputs whose first dims are of one size, got sizes {sorted(sizes)}")
    return sizes.pop()
