"""Bilinear forms."""

from ferrograd import _C
from ferrograd._checks import overridable


def _check(input1, input2, weight, bias):
    dtypes = {x.dtype for x in (input1, input2, weight)}
    if len(dtypes) > 1:
        raise RuntimeError(f"bilinear: all tensors must have the same dtype, got {[x.dtype for x in (input1, input2, weight)]}")
    if input1.shape[:-1] != input2.shape[:-1]:
        raise RuntimeError(f"bilinear: batch dims of the inputs do not match: got {input1.shape} and {input2.shape}")
    if weight.dim() != 3:
        raise RuntimeError(f"bilinear: expected a 3-d weight, but got {weight.dim()} dims")
    for name, size, expected in (("input1", input1.size(-1), weight.size(1)), ("input2", input2.size(-1), weight.size(2))):
        if size != expected:
            raise RuntimeError(f"bilinear: {name} size does not match weight size: got {size} but expected {expected}")
    if bias is not None and bias.size(0) != weight.size(0):
        raise RuntimeError(f"bilinear: bias size does not match weight size: got {bias.size(0)} but expected {weight.size(0)}")


@overridable
def bilinear(input1, input2, weight, bias=None):
    """y_k = sum over i and j of x_i W_kij z_j, plus b_k.

    Shape: (*, m), (*, n), (out, m, n) and (out) to (*, out). Dtype: that of all.
    Raises: RuntimeError if sizes or dtypes do not match.
    """
    _check(input1, input2, weight, bias)
    out, m, n = weight.shape
    x, z = input1.reshape(input1.shape[:-1].numel(), m), input2.reshape(input2.shape[:-1].numel(), n)
    rows = (x @ weight.transpose(0, 1).reshape(m, out * n)).reshape(x.size(0), out, n)
    # Torch does it in one op, which saves of the three what another one's gradient is made of.
    factors = (x, weight, z)
    saved = [a for a in factors if any(b.requires_grad for b in factors if b is not a)]
    y = _C._autograd._saving(rows.bmm(z.unsqueeze(-1)), saved, False).reshape(*input1.shape[:-1], out)
    return y if bias is None else y + bias
