"""Products of tensors summed over dims: `einsum`, `tensordot` and chains of matrices."""

import operator
from functools import lru_cache
from math import prod

from ferrograd._checks import check_tensor, check_tensors, overridable, warn_once, with_out
from ferrograd import _C
from ferrograd._C import Tensor

_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


def _labels(part, number):
    """The labels of one operand, or of the output: letters and at most one "..."."""
    labels, rest = [], part
    while rest:
        if rest.startswith("..."):
            if "..." in labels:
                raise RuntimeError(f"einsum(): found '.' for {number} for which an ellipsis was already found")
            labels, rest = labels + ["..."], rest[3:]
        elif rest[0] == ".":
            raise RuntimeError(f"einsum(): found '.' for {number} that is not part of any ellipsis")
        elif rest[0] in _LETTERS:
            labels, rest = labels + [rest[0]], rest[1:]
        else:
            raise RuntimeError(f"einsum(): invalid subscript {rest[0]!r} in {part!r}, subscripts must be in [a-zA-Z]")
    return labels


@lru_cache(maxsize=256)
def _parsed(equation, ranks):
    """The labels of each operand and of the output, where those of an ellipsis are numbers, counted from its end."""
    left, arrow, right = equation.replace(" ", "").partition("->")
    parts = left.split(",")
    if len(parts) != len(ranks):
        few = "more" if len(parts) < len(ranks) else "fewer"
        raise RuntimeError(f"einsum(): {few} operands were provided than specified in the equation {equation!r}")
    operands, covered = [], 0
    for i, (part, rank) in enumerate(zip(parts, ranks)):
        labels = _labels(part, f"operand {i}")
        spare = rank - (len(labels) - ("..." in labels))
        if spare < 0 or spare > 0 and "..." not in labels:
            raise RuntimeError(
                f"einsum(): the number of subscripts in the equation ({len(labels)}) does not match the number of dimensions "
                f"({rank}) for operand {i}"
            )
        covered = max(covered, spare if "..." in labels else 0)
        operands.append([x for label in labels for x in (range(spare, 0, -1) if label == "..." else [label])])
    ellipsis = list(range(covered, 0, -1))
    used = [label for labels in operands for label in labels]
    if arrow:
        labels = _labels(right, "the output")
        for label in labels:
            if labels.count(label) > 1:
                raise RuntimeError(f"einsum(): output subscript {label} appears more than once in the output")
            if label != "..." and label not in used:
                raise RuntimeError(f"einsum(): output subscript {label} does not appear in the equation for any input operand")
        output = [x for label in labels for x in (ellipsis if label == "..." else [label])]
    else:
        output = ellipsis + [label for label in _LETTERS if used.count(label) == 1]
    order = output + [label for label in dict.fromkeys(ellipsis + used) if label not in output]
    return operands, order, len(output)


def _with_dims(x, labels, order, number):
    """The operand with one dim for each label in `order`, of size 1 where it has none; of repeated labels the diagonal."""
    labels = list(labels)
    for label in dict.fromkeys(labels):
        while labels.count(label) > 1:
            first = labels.index(label)
            second = labels.index(label, first + 1)
            if x.shape[first] != x.shape[second]:
                raise RuntimeError(
                    f"einsum(): subscript {label} is repeated for operand {number} but the sizes don't match, "
                    f"{x.shape[second]} != {x.shape[first]}"
                )
            x = x.diagonal(0, first, second)
            x = x.movedim(-1, first)
            del labels[second]
    for label in order:
        if label not in labels:
            x = x.unsqueeze(-1)
            labels.append(label)
    return x.permute([labels.index(label) for label in order])


def _product(a, b, summed):
    """The product of tensors of equally many dims, summed over some in which both have more than one place; these stay."""
    if not summed:
        return a * b
    dims = range(a.dim())
    both = [d for d in dims if d not in summed and a.shape[d] != 1 and b.shape[d] != 1]
    left = [d for d in dims if d not in summed and d not in both and b.shape[d] == 1]
    right = [d for d in dims if d not in summed and d not in both and b.shape[d] != 1]
    batch, rows, inner = (prod(a.shape[d] for d in part) for part in (both, left, summed))
    columns = prod(b.shape[d] for d in right)
    x = a.permute(both + left + summed + right).reshape(batch, rows, inner)
    y = b.permute(both + summed + right + left).reshape(batch, inner, columns)
    order = both + left + summed + right
    sizes = [a.shape[d] for d in both + left] + [1] * len(summed) + [b.shape[d] for d in right]
    return x.bmm(y).view(sizes).permute([order.index(d) for d in dims])


def _contract(operands, order, kept):
    """The product of operands with equal dims, summed over all but the first `kept`."""
    sizes = {}
    for i, x in enumerate(operands):
        for d, size in enumerate(x.shape):
            if size != 1 and sizes.setdefault(d, size) != size:
                raise RuntimeError(
                    f"einsum(): subscript {order[d]} has size {size} for operand {i} which does not broadcast with previously "
                    f"seen size {sizes[d]}"
                )
    if len(operands) == 1:
        return operands[0].sum(list(range(kept, len(order)))) if kept < len(order) else operands[0]
    counts = {d: sum(x.shape[d] != 1 for x in operands) for d in range(kept, len(order))}
    a = operands[0]
    for b in operands[1:]:
        summed, alone = [], ([], [])
        for d in range(kept, len(order)):
            if a.shape[d] != 1 and b.shape[d] != 1:
                counts[d] -= 1
                if counts[d] == 1:
                    summed.append(d)
            elif counts[d] == 1 and (a.shape[d] != 1 or b.shape[d] != 1):
                alone[a.shape[d] == 1].append(d)
                counts[d] = 0
        a, b = (x.sum(dims, keepdim=True) if dims else x for x, dims in zip((a, b), alone))
        a = _product(a, b, summed)
    return a.view(a.shape[:kept]) if kept < len(order) else a


def _from_lists(arguments):
    """The equation, and the operands, of arguments that name dims by lists of numbers."""

    def letters(numbers):
        if not isinstance(numbers, (list, tuple)):
            raise TypeError(f"einsum(): expected a list of dims behind each operand, got {type(numbers).__name__}")
        text = ""
        for number in numbers:
            number = "..." if number is Ellipsis else operator.index(number)
            if number != "..." and not 0 <= number < len(_LETTERS):
                raise ValueError(f"einsum(): subscript {number} is not within the valid range [0, {len(_LETTERS)})")
            text += number if number == "..." else _LETTERS[number]
        return text

    count = len(arguments) // 2
    equation = ",".join(letters(arguments[2 * i + 1]) for i in range(count))
    if len(arguments) % 2:
        equation += "->" + letters(arguments[-1])
    return equation, arguments[: 2 * count : 2]


@overridable
def einsum(*args):
    """The sum of products of elements that an equation names: "ij,jk->ik" for the product of two matrices.

    Each operand has a letter for each of its dims, or "..." for those that broadcast; dims of the same letter are the same, and
    those that the output does not name are summed over. Without "->" the output has all letters that occur once, in
    alphabetical order. Instead of an equation, each operand may be followed by a list of numbers (or `...`) for its dims; one
    more list is for the output.

    Dtype: any but bool, if something is summed over. Products are formed from left to right.
    Raises: RuntimeError for equations that are none, and operands that do not fit them.
    """
    if len(args) < 2:
        raise ValueError(
            "einsum(): must specify the equation string and at least one operand, or at least one operand and its subscripts list"
        )
    if isinstance(args[0], Tensor):
        equation, operands = _from_lists(args)
    else:
        equation, operands = args[0], args[1:]
        if len(operands) == 1 and isinstance(operands[0], (list, tuple)):
            (operands,) = operands
    if not isinstance(equation, str):
        raise TypeError(f"einsum(): argument 'equation' (position 1) must be str, not {type(equation).__name__}")
    check_tensors("einsum", operands)
    labels, order, kept = _parsed(equation, tuple(x.dim() for x in operands))
    return _contract([_with_dims(x, own, order, i) for i, (x, own) in enumerate(zip(operands, labels))], order, kept)


def _dim_lists(a, b, dims):
    """The dims of each that `tensordot` sums over."""
    if isinstance(dims, Tensor):
        dims = dims.tolist()
    if isinstance(dims, int):
        if dims < 0:
            raise RuntimeError(f"tensordot expects dims >= 0, but got dims={dims}")
        if dims > min(a.dim(), b.dim()):
            raise RuntimeError(f"tensordot expects dims < ndim_a or ndim_b, but got dims={dims}")
        return list(range(a.dim() - dims, a.dim())), list(range(dims))
    if not isinstance(dims, (list, tuple)) or len(dims) != 2:
        raise RuntimeError(f"tensordot expects dims to be int or two lists of ints, but got dims={dims}")
    if not all(isinstance(part, (list, tuple)) for part in dims):
        raise TypeError(f"tensordot: expected dims to be two lists of ints, but got dims={dims}")
    if len(dims[0]) != len(dims[1]):
        raise RuntimeError(f"tensordot: both dimension lists should have same length, but got dims={dims}")
    return tuple([_place(x, operator.index(d)) for d in part] for x, part in zip((a, b), dims))


def _place(x, dim):
    rank = max(x.dim(), 1)
    if not -rank <= dim < rank:
        raise IndexError(f"Dimension out of range (expected to be in range of [{-rank}, {rank - 1}], but got {dim})")
    return dim % rank


@with_out("castable")
def tensordot(a, b, dims=2):
    """The product of two tensors, summed over some dims of each: the last `dims` of `a` and the first of `b`, or those in two lists.

    Shape: what is left of `a`, then of `b`. Dtype: any but bool; the same in both.
    Raises: RuntimeError for dims that do not fit together, IndexError for those out of range.
    """
    check_tensor("tensordot", "a", a)
    check_tensor("tensordot", "b", b)
    first, second = _dim_lists(a, b, dims)
    if a.dtype != b.dtype:
        raise RuntimeError(f"tensordot: both inputs should have same dtype, got {a.dtype} and {b.dtype}")
    if len(set(first)) < len(first) or len(set(second)) < len(second):
        raise RuntimeError(f"tensordot: a dim appears multiple times in dims={dims}")
    for i, j in zip(first, second):
        n, m = a.shape[i], b.shape[j]
        if n != m and 1 not in (n, m):
            raise RuntimeError(
                f"contracted dimensions need to match, but first has size {n} in dim {i} and second has size {m} in dim {j}"
            )
        # A single place stands for all of them.
        if n != m:
            a, b = (a.sum(i, keepdim=True), b) if m == 1 else (a, b.sum(j, keepdim=True))
    rows = [d for d in range(a.dim()) if d not in first]
    columns = [d for d in range(b.dim()) if d not in second]
    inner = prod(a.shape[d] for d in first)
    left, right = [a.shape[d] for d in rows], [b.shape[d] for d in columns]
    x, y = a.permute(rows + first), b.permute(second + columns)
    if prod(left) != 1 or prod(right) != 1:
        product = x.reshape(prod(left), inner).mm(y.reshape(inner, prod(right)))
    elif x.is_contiguous() and y.is_contiguous():
        product = x.reshape(inner).dot(y.reshape(inner))
    else:
        # A single sum is not worth the copies.
        product = (x.squeeze() * y.squeeze()).sum(dtype=x.dtype)
    return product.reshape(left + right)


def _cheapest(sizes):
    """Where the chain of matrices (sizes[i], sizes[i + 1]) from i to j is cut, so that there are as few products as possible."""
    count = len(sizes) - 1
    cost, cut = [[0] * count for _ in range(count)], [[0] * count for _ in range(count)]
    for length in range(1, count):
        for i in range(count - length):
            j = i + length
            costs = [(cost[i][k] + cost[k + 1][j] + sizes[i] * sizes[k + 1] * sizes[j + 1], k) for k in range(i, j)]
            # Of equals the first, but of three matrices the first two, as in torch.
            cost[i][j], cut[i][j] = min(costs, key=lambda found: (found[0], -found[1] if count == 3 else found[1]))
    return cut


@with_out()
def multi_dot(tensors):
    """The product of two or more matrices, in the order that takes the fewest multiplications.

    The first may be a vector, which is a row, and the last one, which is a column.
    Dtype: any but bool; the same in all.
    Raises: RuntimeError for shapes that do not fit together, different dtypes, and fewer than two tensors.
    """
    op = "multi_dot"
    check_tensors(op, tensors)
    if len(tensors) < 2:
        raise RuntimeError(f"{op}(): expected at least 2 tensors but got {len(tensors)}")
    first, *middle, last = tensors
    for name, x in (("first", first), ("last", last)):
        if x.dim() not in (1, 2):
            raise RuntimeError(f"{op}(): the {name} tensor must be 1D or 2D but got {x.dim()}D")
    shape = list(first.shape[:-1]) + list(last.shape[1:])
    matrices = [first.unsqueeze(0) if first.dim() == 1 else first, *middle, last.unsqueeze(-1) if last.dim() == 1 else last]
    for i, x in enumerate(matrices):
        if x.dim() != 2:
            raise RuntimeError(f"{op}(): tensor {i} must be 2D but got {x.dim()}D")
        if x.dtype != first.dtype:
            raise RuntimeError(f"{op}(): all tensors must be of the same dtype but tensor 0 is {first.dtype} and tensor {i} {x.dtype}")
    for i, (x, y) in enumerate(zip(matrices, matrices[1:])):
        if x.shape[1] != y.shape[0]:
            raise RuntimeError(f"{op}(): tensors {i} and {i + 1} with shapes {list(x.shape)} and {list(y.shape)} cannot be multiplied")
    cut = _cheapest([x.shape[0] for x in matrices] + [matrices[-1].shape[1]])

    def product(i, j):
        return matrices[i] if i == j else product(i, cut[i][j]).mm(product(cut[i][j] + 1, j))

    return product(0, len(matrices) - 1).view(shape)


@with_out()
def chain_matmul(*matrices):
    """The product of matrices, in the order that takes the fewest multiplications; see `linalg.multi_dot`.

    Raises: RuntimeError for what is no matrix, and shapes that do not fit together.
    """
    warn_once("torch.chain_matmul is deprecated. Use torch.linalg.multi_dot, which takes a list of two or more tensors.")
    check_tensors("chain_matmul", matrices)
    if not matrices:
        raise RuntimeError("chain_matmul(): Expected one or more matrices")
    for x in matrices:
        if x.dim() != 2:
            raise RuntimeError(f"chain_matmul: Tensor dimension is {x.dim()}, expected 2 instead.")
    return matrices[0].clone() if len(matrices) == 1 else multi_dot(matrices)


@with_out("castable")
def vecdot(x, y, *, dim=-1):
    """The products of vectors in dim `dim`, of which those in `x` are conjugated.

    Shape: any, broadcast, without `dim`. Dtype: float, real or complex; the same in both.
    Raises: RuntimeError for other dtypes, IndexError if `dim` is out of range.
    """
    check_tensor("linalg.vecdot", "x", x)
    check_tensor("linalg.vecdot", "y", y)
    if not (x.is_floating_point() or x.is_complex()):
        raise RuntimeError(f"linalg.vecdot: Expected a floating point or complex tensor as input. Got {x.dtype}")
    if x.dtype != y.dtype:
        raise RuntimeError(f"linalg.vecdot: Expected x and y to have the same dtype, but found x of type {x.dtype} and y of type {y.dtype}")
    if x.dim() == y.dim() == 1:
        return x.vdot(y)
    return (x.conj() * y).sum(dim)


@overridable
def diagonal(A, *, offset=0, dim1=-2, dim2=-1):
    """A view of a diagonal of matrices, in the last two dims; see `Tensor.diagonal`."""
    check_tensor("linalg.diagonal", "A", A)
    return A.diagonal(offset, dim1, dim2)


@overridable
def linalg_vander(x, *, N=None):
    """Matrices whose columns are the powers of the elements in the last dim, from 0 to N - 1.

    Shape: (*, n) to (*, n, N); N is n if it is None. Dtype: any but bool, kept.
    Raises: RuntimeError for bools, and an N below 2.
    """
    check_tensor("linalg.vander", "x", x)
    if x.dtype == _C.bool:
        raise RuntimeError("linalg.vander supports floating point, complex, and integer tensors, but got bool")
    x = x.unsqueeze(-1) if x.dim() == 0 else x
    count = x.shape[-1] if N is None else operator.index(N)
    if count <= 1:
        raise RuntimeError(f"linalg.vander: N must be greater than 1, got {count}.")
    powers = x.unsqueeze(-1).expand(*x.shape, count - 1).cumprod(-1)
    return _C.cat([powers.new_ones(*x.shape, 1), powers], -1)


@overridable
def vander(x, N=None, increasing=False):
    """A matrix whose columns are the powers of a vector's elements, from N - 1 down to 0, or up from 0 if `increasing`.

    Shape: (n) to (n, N); N is n if it is None. Dtype: any, kept; bools and shorter integers become int64.
    Raises: RuntimeError for what is no vector, and a negative N.
    """
    check_tensor("vander", "x", x)
    if x.dim() != 1:
        raise RuntimeError(f"vander: x must be a one-dimensional tensor, got {x.dim()} dims.")
    count = len(x) if N is None else operator.index(N)
    if count < 0:
        raise RuntimeError(f"vander: N must be non-negative, got {count}.")
    if not (x.is_floating_point() or x.is_complex()):
        x = x.to(_C.int64)
    powers = x.new_ones(len(x), min(count, 1))
    if count > 1:
        powers = _C.cat([powers, x.unsqueeze(1).expand(len(x), count - 1).cumprod(1)], 1)
    return powers if increasing else powers.flip(1)
