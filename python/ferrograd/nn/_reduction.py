"""What becomes of the losses of a batch, in words and as the numbers that the functions behind take."""

import warnings

_NUMBERS = {"none": 0, "mean": 1, "sum": 2}


def reduction_number(reduction):
    """The number of a word for a reduction."""
    number = _NUMBERS.get(reduction)
    if number is not None:
        return number
    if reduction == "elementwise_mean":
        warnings.warn("reduction='elementwise_mean' is deprecated. Please use reduction='mean' instead.", stacklevel=4)
        return 1
    raise ValueError(f"{reduction} is not a valid value for reduction")


def reduction_word(size_average, reduce, reduction):
    """The word for a reduction, which the older `size_average` and `reduce` go before."""
    if size_average is None and reduce is None:
        return reduction
    word = "none" if reduce is not None and not reduce else "mean" if size_average is None or size_average else "sum"
    warnings.warn(
        f"size_average and reduce args will be deprecated, please use reduction='{word}' instead.", stacklevel=4
    )
    return word


def number_of(size_average, reduce, reduction):
    """The number of a reduction that is given in either way."""
    if size_average is None and reduce is None and reduction in _NUMBERS:
        return _NUMBERS[reduction]
    return reduction_number(reduction_word(size_average, reduce, reduction))


def reduced(losses, reduction):
    """Losses after a reduction in words."""
    if reduction == "mean":
        return losses.mean()
    if reduction == "sum":
        return losses.sum()
    if reduction == "none":
        return losses
    raise ValueError(f"{reduction} is not a valid value for reduction")
