"""Functions that answer a copy where the method of the same name answers a view: `view_copy`, `expand_copy`, …."""

from ferrograd._C import contiguous_format

METHODS = (
    "as_strided",
    "detach",
    "diagonal",
    "expand",
    "narrow",
    "permute",
    "select",
    "split",
    "split_with_sizes",
    "squeeze",
    "t",
    "transpose",
    "unbind",
    "unfold",
    "unsqueeze",
    "view_as_complex",
    "view_as_real",
)


def _copied(value):
    if isinstance(value, tuple):
        return tuple(_copied(part) for part in value)
    return value.clone(memory_format=contiguous_format)


def alias_copy(input):
    """A copy."""
    return _copied(input)


def slice_copy(input, dim=0, start=None, end=None, step=1):
    """A copy of a slice along `dim`."""
    return _copied(input[(slice(None),) * (dim % max(input.dim(), 1)) + (slice(start, end, step),)])


def view_copy(input, size=None, dtype=None):
    """A copy in another shape, or of the same bytes as another dtype."""
    if isinstance(size, tuple | list):
        return _copied(input.reshape(size))
    return _copied(input.view(dtype if size is None else size))


def copy_forms(tensor_class, make):
    """The functions by name, each made by `make`."""

    def form(name):
        method = getattr(tensor_class, name)

        def copy_form(input, *args, **kwargs):
            return _copied(method(input, *args, **kwargs))

        copy_form.__name__ = copy_form.__qualname__ = f"{name}_copy"
        copy_form.__doc__ = f"A copy of what `Tensor.{name}` views."
        return copy_form

    functions = [*map(form, METHODS), alias_copy, slice_copy, view_copy]
    return {function.__name__: make(function, out="same") for function in functions}
