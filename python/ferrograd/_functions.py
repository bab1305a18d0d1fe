"""Which methods have a function form, as `ferrograd.exp(x)` for `x.exp()`, and which take a number as first operand."""

import importlib
import sys

# Methods that are methods only.
_METHODS_ONLY = frozenset(
    """
    as_subclass backward bool byte cdouble cfloat char const_data_ptr contiguous cpu cuda data_ptr dim dim_order double element_size expand
    expand_as float half int is_contiguous is_pinned is_set_to is_shared item long ndimension nelement new new_empty
    new_empty_strided new_full new_ones new_tensor new_zeros numpy pin_memory register_hook
    register_post_accumulate_grad_hook repeat reshape_as resize resize_as retain_grad short size storage storage_offset
    stride sum_to_size to tolist type type_as unfold untyped_storage view view_as
    """.split()
)

# In-place methods that are functions, too.
_IN_PLACE = frozenset(
    """
    abs_ acos_ acosh_ addmv_ arccos_ arccosh_ arcsin_ arcsinh_ arctan_ arctanh_ as_strided_ asin_ asinh_ atan_ atanh_ ceil_
    clamp_ clamp_max_ clamp_min_ clip_ conj_physical_ cos_ cosh_ deg2rad_ detach_ erf_ erfc_ exp2_ exp_ expm1_ fill_ fix_
    floor_ frac_ gcd_ i0_ index_put_ lcm_ ldexp_ log10_ log1p_ log2_ log_ logit_ nan_to_num_ neg_ negative_ rad2deg_
    reciprocal_ relu_ resize_as_ round_ rsqrt_ sigmoid_ sin_ sinc_ sinh_ sqrt_ square_ tan_ tanh_ trunc_ xlogy_ zero_
    """.split()
)

# Functions whose first operand may be a number: whatever comes second, or only beside a tensor; or the factor of the second.
_FIRST = {
    **dict.fromkeys("add div divide floor_divide mul multiply sub subtract true_divide".split(), "number"),
    **dict.fromkeys(
        """
        bitwise_and bitwise_left_shift bitwise_or bitwise_right_shift bitwise_xor float_power pow remainder xlogy
        """.split(),
        "number beside tensor",
    ),
    **dict.fromkeys("addbmm addmm addmv addr baddbmm".split(), "factor"),
}

# Functions without `out`, besides those in place.
_WITHOUT_OUT = frozenset(
    """
    adjoint allclose argsort argwhere as_strided as_strided_scatter bincount broadcast_to chunk clone conj corrcoef count_nonzero cov detach
    diag_embed diagflat diagonal diagonal_scatter dist dsplit equal flatten flip fliplr flipud get_device hsplit index_fill index_put
    is_conj is_floating_point is_inference is_neg is_nonzero is_signed isclose isfinite isinf isnan isreal masked_fill masked_scatter moveaxis
    movedim narrow numel permute positive prelu put ravel relu repeat_interleave reshape resolve_conj resolve_neg roll rot90 rsub select
    istft select_scatter split stft split_with_sizes squeeze std_mean swapaxes swapdims t tensor_split tile trace transpose unbind unflatten
    unique unique_consecutive unsafe_chunk unsafe_split unsafe_split_with_sizes unsqueeze var_mean view_as_complex view_as_real
    vsplit
    det logdet matrix_exp pinverse
    """.split()
)

# Functions whose `out` must have the dtype of the result.
_SAME = frozenset(
    """
    abs absolute addbmm addmm addmv all amax amin any argmax argmin baddbmm bitwise_not bmm ceil conj_physical cross diag dot fix
    float_power floor frac gather hardshrink heaviside histc index_add index_copy index_reduce index_select inner isneginf isposinf
    log_softmax logcumsumexp masked_select matmul matrix_power mm msort multinomial mv nan_to_num nanquantile neg negative nonzero
    nonzero_static norm quantile renorm round scatter scatter_add scatter_reduce sgn sign signbit slice_scatter softmax take
    take_along_dim tril triu trunc vdot
    inverse lu_solve ormqr
    """.split()
)

# The same, if they are called with numbers.
_SAME_WITH_NUMBERS = frozenset("clamp clamp_max clamp_min clip".split())

# Functions that compute in the dtype of `out`.
_DECIDES = frozenset("cumprod cumsum mean nansum prod sum".split())

# Functions that take `out` only beside a second argument.
_SECOND = frozenset("median nanmedian prod sum".split())

# Functions whose operands may lie in the memory of `out` in other ways than as a whole.
_OVERLAP = {
    **dict.fromkeys(
        """
        all amax amin any argmax argmin bmm cholesky cholesky_inverse cholesky_solve cummax cummin diag dot geqrf histc inner
        inverse isneginf isposinf log_softmax logsumexp lu lu_solve matmul matrix_power mean median mm multinomial mv mvlgamma
        nanmean nanmedian nanquantile nansum narrow_copy nonzero nonzero_static norm orgqr ormqr prod qr quantile signbit
        slice_scatter slogdet softmax std sum svd triangular_solve tril triu var vdot
        """.split(),
        "any",
    ),
    **dict.fromkeys("addbmm addmm addmv addr baddbmm ldexp".split(), "whole first"),
    **dict.fromkeys("index_add index_copy index_reduce scatter scatter_add scatter_reduce".split(), "whole first only"),
    **dict.fromkeys("aminmax kthvalue max min mode".split(), "whole if one"),
    **dict.fromkeys("complex cross diff index_select kron masked_select polar take".split(), "none"),
    **dict.fromkeys(["gather", "take_along_dim"], "whole but first"),
}


def overlap_of(name):
    """Which operands of a function may lie in the memory of `out`: as a whole if they are read element by element."""
    return _OVERLAP.get(name, "whole")


# Functions that are no methods: name, what stands first, which dtypes `out` may have.
PLAIN = (
    *((f"{name}_like", "tensor", None) for name in ("empty", "full", "ones", "rand", "randint", "randn", "zeros")),
    ("bucketize", "any", "same"),
    ("complex", "any", "same"),
    ("lu_unpack", "any", "same"),
    ("polar", "any", "same"),
    ("polygamma", "any", "castable"),
    ("searchsorted", "any", "same"),
    ("where", "any", "same"),
)


def _found(module, name):
    return getattr(importlib.import_module(module), name)


def reduced(form):
    """What pickle and copy need to know of a function form: where it is found."""
    name = form.__name__
    for module in ("ferrograd", *(f"ferrograd.{part}" for part in ("nn.functional", "special", "linalg", "fft"))):
        if getattr(sys.modules.get(module), name, None) is form:
            return _found, (module, name)
    return name


def _out_of(name):
    if name.endswith("_") or name in _WITHOUT_OUT:
        return None
    if name in _SAME_WITH_NUMBERS:
        return "same with numbers"
    return "same" if name in _SAME else "decides" if name in _DECIDES else "castable"


def function_forms(cls, make):
    """Name and function of each method of `cls` that has a function form, each made by `make`."""
    kinds = type(cls.numel), type(cls.sum), type(cls.addmm)
    return {
        name: make(method, first=_FIRST.get(name, "tensor"), out=_out_of(name), overlap=overlap_of(name), second=name in _SECOND)
        for name, method in vars(cls).items()
        if isinstance(method, kinds)
        and not name.startswith("_")
        and (name in _IN_PLACE if name.endswith("_") else name not in _METHODS_ONLY)
    }
