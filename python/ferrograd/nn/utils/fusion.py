"""Batch norm in evaluation, taken into the weights of the layer before it."""

import copy

import ferrograd
from ferrograd.nn.parameter import Parameter

__all__ = ["fuse_conv_bn_eval", "fuse_conv_bn_weights", "fuse_linear_bn_eval", "fuse_linear_bn_weights"]


def fuse_conv_bn_eval(conv, bn, transpose=False):
    """A convolution that computes ``bn(conv(x))``, both in evaluation; `transpose` for transposed convolutions."""
    return _fused(conv, bn, fuse_conv_bn_weights, transpose)


def fuse_conv_bn_weights(conv_w, conv_b, bn_rm, bn_rv, bn_eps, bn_w, bn_b, transpose=False):
    """The weight and bias of `fuse_conv_bn_eval`."""
    bn_w = ferrograd.ones_like(bn_rm) if bn_w is None else bn_w
    bn_b = ferrograd.zeros_like(bn_rm) if bn_b is None else bn_b
    shape = [1] * conv_w.dim()
    shape[1 if transpose else 0] = -1
    inverse = ferrograd.rsqrt(bn_rv + bn_eps)
    # The order of the products is torch's, for equal rounding.
    return _parameters(conv_w, conv_b, bn_rm, (bn_w * inverse).reshape(shape), lambda x: x * inverse * bn_w + bn_b)


def fuse_linear_bn_eval(linear, bn):
    """A linear layer that computes ``bn(linear(x))``, both in evaluation."""
    if bn.num_features not in (linear.out_features, 1):
        raise AssertionError(
            "To fuse, linear.out_features == bn.num_features or bn.num_features == 1, got "
            f"linear.out_features={linear.out_features} and bn.num_features={bn.num_features}"
        )
    return _fused(linear, bn, fuse_linear_bn_weights)


def fuse_linear_bn_weights(linear_w, linear_b, bn_rm, bn_rv, bn_eps, bn_w, bn_b):
    """The weight and bias of `fuse_linear_bn_eval`."""
    scale = bn_w * ferrograd.rsqrt(bn_rv + bn_eps)
    return _parameters(linear_w, linear_b, bn_rm, scale.unsqueeze(-1), lambda x: x * scale + bn_b)


def _fused(layer, bn, weights, *options):
    if layer.training or bn.training:
        raise AssertionError("Fusion only for eval!")
    if bn.running_mean is None or bn.running_var is None:
        raise AssertionError("bn.running_mean and bn.running_var must not be None")
    fused = copy.deepcopy(layer)
    fused.weight, fused.bias = weights(
        fused.weight, fused.bias, bn.running_mean, bn.running_var, bn.eps, bn.weight, bn.bias, *options
    )
    return fused


def _parameters(weight, bias, mean, scale, scaled):
    dtype = weight.dtype if bias is None else bias.dtype
    bias = ferrograd.zeros_like(mean) if bias is None else bias
    fused = (weight * scale).to(weight.dtype)
    return Parameter(fused, weight.requires_grad), Parameter(scaled(bias - mean).to(dtype), bias.requires_grad)
