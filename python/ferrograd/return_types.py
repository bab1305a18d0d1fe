"""What ops with several results return: tuples whose items also have names."""

from operator import itemgetter


class _Results(tuple):
    """A tuple with names for its items; made from a sequence of them."""

    __slots__ = ()
    n_unnamed_fields = 0

    def __repr__(self):
        items = ",\n".join(f"{name}={item!r}" for name, item in zip(self.__match_args__, self))
        return f"torch.return_types.{type(self).__name__}(\n{items})"

    def __reduce__(self):
        return type(self), (tuple(self),)


def _results(name, *fields):
    properties = {field: property(itemgetter(i), doc=f"Item {i}.") for i, field in enumerate(fields)}
    count = len(fields)
    counts = {"n_sequence_fields": count, "n_fields": count}
    return type(name, (_Results,), {"__slots__": (), "__match_args__": fields, "__module__": __name__, **counts, **properties})


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
_lu_with_info = _results("_lu_with_info", "LU", "pivots", "info")
geqrf = _results("geqrf", "a", "tau")
linalg_cholesky_ex = _results("linalg_cholesky_ex", "L", "info")
linalg_eig = _results("linalg_eig", "eigenvalues", "eigenvectors")
linalg_eigh = _results("linalg_eigh", "eigenvalues", "eigenvectors")
linalg_inv_ex = _results("linalg_inv_ex", "inverse", "info")
linalg_ldl_factor = _results("linalg_ldl_factor", "LD", "pivots")
linalg_ldl_factor_ex = _results("linalg_ldl_factor_ex", "LD", "pivots", "info")
linalg_lstsq = _results("linalg_lstsq", "solution", "residuals", "rank", "singular_values")
linalg_lu = _results("linalg_lu", "P", "L", "U")
linalg_lu_factor = _results("linalg_lu_factor", "LU", "pivots")
linalg_lu_factor_ex = _results("linalg_lu_factor_ex", "LU", "pivots", "info")
linalg_qr = _results("linalg_qr", "Q", "R")
linalg_slogdet = _results("linalg_slogdet", "sign", "logabsdet")
linalg_solve_ex = _results("linalg_solve_ex", "result", "info")
linalg_svd = _results("linalg_svd", "U", "S", "Vh")
lu_unpack = _results("lu_unpack", "P", "L", "U")
qr = _results("qr", "Q", "R")
slogdet = _results("slogdet", "sign", "logabsdet")
svd = _results("svd", "U", "S", "V")
triangular_solve = _results("triangular_solve", "solution", "cloned_coefficient")
frexp = _results("frexp", "mantissa", "exponent")
histogram = _results("histogram", "hist", "bin_edges")
histogramdd = _results("histogramdd", "hist", "bin_edges")
