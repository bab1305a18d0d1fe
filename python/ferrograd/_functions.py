"""Which methods have a function form, as `ferrograd.exp(x)` for `x.exp()`, and which take a number as first operand."""

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

# Functions whose first operand may be a number.
_NUMBERS = frozenset(
    """
    add bitwise_and bitwise_left_shift bitwise_or bitwise_right_shift bitwise_xor div divide float_power floor_divide mul
    multiply pow remainder sub subtract true_divide xlogy
    """.split()
)

# Functions whose `out` must have the dtype of the result.
_EXACT = frozenset(["argmax", "argmin", "argsort", "bincount", "multinomial", "nonzero"])


def function_forms(cls, make):
    """Name and function of each method of `cls` that has a function form, each made by `make(method, numbers, exact)`."""
    kinds = type(cls.numel), type(cls.sum)
    return {
        name: make(method, name in _NUMBERS, name in _EXACT)
        for name, method in vars(cls).items()
        if isinstance(method, kinds)
        and not name.startswith("_")
        and (name in _IN_PLACE if name.endswith("_") else name not in _METHODS_ONLY)
    }
