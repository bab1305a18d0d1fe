"""What ops with several results return: tuples whose items also have names."""

from operator import itemgetter


class _Results(tuple):
    """A tuple with names for its items; made from a sequence of them."""

    __slots__ = ()
    n_sequence_fields = n_fields = 2
    n_unnamed_fields = 0

    def __repr__(self):
        items = ",\n".join(f"{name}={item!r}" for name, item in zip(self.__match_args__, self))
        return f"torch.return_types.{type(self).__name__}(\n{items})"

    def __reduce__(self):
        return type(self), (tuple(self),)


def _results(name, *fields):
    properties = {field: property(itemgetter(i), doc=f"Item {i}.") for i, field in enumerate(fields)}
    return type(name, (_Results,), {"__slots__": (), "__match_args__": fields, "__module__": __name__, **properties})


aminmax = _results("aminmax", "min", "max")
max = _results("max", "values", "indices")
min = _results("min", "values", "indices")
cummax = _results("cummax", "values", "indices")
cummin = _results("cummin", "values", "indices")
median = _results("median", "values", "indices")
nanmedian = _results("nanmedian", "values", "indices")
mode = _results("mode", "values", "indices")
kthvalue = _results("kthvalue", "values", "indices")
sort = _results("sort", "values", "indices")
topk = _results("topk", "values", "indices")
