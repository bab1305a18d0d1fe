"""Functions that answer a copy where the method of the same name answers a view: `view_copy`, `expand_copy`, …."""

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
    "view",
)


def _copied(value):
    if isinstance(value, tuple):
        return tuple(_copied(part) for part in value)
    return value.clone()


def copy_forms(tensor_class):
    """The functions by name."""

    def form(name):
        method = getattr(tensor_class, name)

        def copy_form(input, *args, **kwargs):
            return _copied(method(input, *args, **kwargs))

        copy_form.__name__ = copy_form.__qualname__ = f"{name}_copy"
        copy_form.__doc__ = f"A copy of what `Tensor.{name}` views."
        return copy_form

    def alias_copy(input):
        """A copy."""
        return input.clone()

    def slice_copy(input, dim=0, start=None, end=None, step=1):
        """A copy of a slice along `dim`."""
        return input[(slice(None),) * (dim % max(input.dim(), 1)) + (slice(start, end, step),)].clone()

    forms = {f"{name}_copy": form(name) for name in METHODS}
    return forms | {"alias_copy": alias_copy, "slice_copy": slice_copy}
