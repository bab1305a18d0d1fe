"""Weights of convolutions in another layout of memory."""

__all__ = ["convert_conv2d_weight_memory_format", "convert_conv3d_weight_memory_format"]


def convert_conv2d_weight_memory_format(module, memory_format):
    """Lays out the weights of all 2-d convolutions of a module like this."""
    from ferrograd import nn

    return _converted(module, (nn.Conv2d, nn.ConvTranspose2d), memory_format)


def convert_conv3d_weight_memory_format(module, memory_format):
    """Lays out the weights of all 3-d convolutions of a module like this."""
    from ferrograd import nn

    return _converted(module, (nn.Conv3d, nn.ConvTranspose3d), memory_format)


def _converted(module, classes, memory_format):
    for layer in module.modules():
        if isinstance(layer, classes):
            layer.weight.data = layer.weight.detach().clone(memory_format=memory_format)
    return module
