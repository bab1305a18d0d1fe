"""Tensors that a module owns: what it learns, and what it only carries along."""

import ferrograd
from ferrograd._C import _disabled_torch_function_impl, Tensor

__all__ = ["Buffer", "Parameter", "UninitializedBuffer", "UninitializedParameter", "UninitializedTensorMixin", "is_lazy"]


class _ParameterType(type(Tensor)):
    # Tensors of other classes are parameters by a mark.
    def __instancecheck__(cls, x):
        marked = cls is Parameter and isinstance(x, Tensor) and getattr(x, "_is_param", False)
        return marked or super().__instancecheck__(x)


class Parameter(Tensor, metaclass=_ParameterType):
    """A tensor that a module registers as its parameter when it becomes an attribute.

    Shares memory with `data` and is a leaf that asks for a gradient, also under `no_grad`. What is computed from it is a
    plain tensor.
    """

    __torch_function__ = _disabled_torch_function_impl

    def __new__(cls, data=None, requires_grad=True):
        if data is None:
            data = ferrograd.empty(0)
        if type(data) is Tensor or type(data) is Parameter:
            return Tensor._make_subclass(cls, data, requires_grad)
        x = data.detach().requires_grad_(requires_grad)
        if type(x) is not type(data):
            # The methods of a subclass give plain tensors, where it does not say otherwise.
            if type(x) is not Tensor:
                raise RuntimeError(
                    f"Creating a Parameter from an instance of type {type(data).__name__} requires that detach() returns an "
                    f"instance of the same type, but it returned {type(x).__name__}"
                )
            x = Tensor._make_subclass(type(data), x, requires_grad)
        x._is_param = True
        return x

    def __deepcopy__(self, memo):
        if id(self) not in memo:
            memo[id(self)] = type(self)(self.data.clone(memory_format=ferrograd.preserve_format), self.requires_grad)
        return memo[id(self)]

    def __copy__(self):
        return _rebuild(type(self), self.data, self.requires_grad, dict(self.__dict__))

    def __repr__(self):
        plain = type(self) is Parameter
        text = self._text("tensor(") if plain else f"Parameter({self._text(f'{type(self).__name__}(')})"
        return f"Parameter containing:\n{text}"

    def __reduce_ex__(self, protocol):
        return _rebuild, (type(self), self.data, self.requires_grad, dict(self.__dict__))


def _rebuild(cls, data, requires_grad, attributes):
    x = cls(data, requires_grad)
    x.__dict__.update(attributes)
    return x


class _BufferType(type(Tensor)):
    def __instancecheck__(cls, x):
        marked = cls is Buffer and isinstance(x, Tensor) and getattr(x, "_is_buffer", False)
        return marked or super().__instancecheck__(x)


class Buffer(Tensor, metaclass=_BufferType):
    """A tensor that a module registers as its buffer when it becomes an attribute: part of its state, but not learned.

    ``Buffer(x)`` is a plain tensor that shares memory with `x` and bears a mark. If not `persistent`, the state_dict leaves it out.
    """

    __torch_function__ = _disabled_torch_function_impl

    def __new__(cls, data=None, *, persistent=True):
        if data is None:
            data = ferrograd.empty(0)
        x = data.detach().requires_grad_(data.requires_grad)
        x.persistent = persistent
        x._is_buffer = True
        return x


def is_lazy(param):
    """Whether this is a parameter or buffer without a shape yet."""
    return isinstance(param, UninitializedTensorMixin)


# What a tensor without a shape can do.
_ALLOWED = frozenset(
    "materialize cls_to_become data device dtype grad grad_fn requires_grad requires_grad_ is_leaf is_complex is_floating_point"
    " is_meta size copy_ get_device shape share_memory_ persistent"
    " _is_buffer _is_param _backward_hooks layout is_sparse is_cuda is_quantized names".split()
)


# What is done to its data, which are no tensor without a shape.
_CASTS = frozenset("half float double bfloat16 char short int long cuda cpu to type".split())


class UninitializedTensorMixin:
    """A tensor whose shape is known only once the first input is seen."""

    def materialize(self, shape, device=None, dtype=None):
        """Becomes a tensor of this shape with arbitrary contents, on the same device and of the same dtype where not given."""
        data = self.data
        self.data = ferrograd.empty(
            shape, device=data.device if device is None else device, dtype=data.dtype if dtype is None else dtype
        )
        Tensor._set_missing(self, False)
        self.__class__ = self.cls_to_become

    def __getattribute__(self, name):
        if name in _CASTS:
            return getattr(super().__getattribute__("data"), name)
        if name in _ALLOWED or name.startswith("__"):
            return super().__getattribute__(name)
        if hasattr(Tensor, name):
            raise _unusable(type(self), name)
        return super().__getattribute__(name)

    @property
    def shape(self):
        raise RuntimeError(
            "Can't access the shape of an uninitialized parameter or buffer: it gets one in the first `forward`. An uninitialized "
            "parameter cannot be loaded into an initialized one."
        )

    def share_memory_(self):
        raise RuntimeError("Can't share memory on an uninitialized parameter or buffer: call `forward` first.")

    def __repr__(self):
        return f"<{type(self).__name__}>"

    def __reduce_ex__(self, protocol):
        return type(self), (self.requires_grad, None, self.data.dtype)


def _unusable(cls, name):
    return ValueError(
        f"Attempted to use an uninitialized parameter in {name}. It belongs to a lazy module (or is a {cls.__name__} made by hand): "
        "call the module's `forward` with a batch first."
    )


def _refusing(name):
    def method(self, *args):
        raise _unusable(type(self), name)

    return method


for _name in ("add", "sub", "mul", "matmul", "truediv", "floordiv", "mod", "pow", "and", "or", "xor", "lshift", "rshift"):
    for _form in (f"__{_name}__", f"__r{_name}__", f"__i{_name}__"):
        setattr(UninitializedTensorMixin, _form, _refusing(_form))
for _form in "neg abs invert eq ne lt le gt ge bool getitem setitem len".split():
    _form = f"__{_form}__"
    setattr(UninitializedTensorMixin, _form, _refusing(_form))


class UninitializedParameter(UninitializedTensorMixin, Parameter):
    """A parameter without a shape: `materialize` gives it one and makes it a `Parameter`."""

    cls_to_become = Parameter

    def __new__(cls, requires_grad=True, device=None, dtype=None):
        x = Tensor._make_subclass(cls, ferrograd.empty(0, device=device, dtype=dtype), requires_grad)
        Tensor._set_missing(x, True)
        return x

    def __deepcopy__(self, memo):
        if id(self) not in memo:
            memo[id(self)] = type(self)(self.requires_grad, self.data.device, self.data.dtype)
        return memo[id(self)]


class UninitializedBuffer(UninitializedTensorMixin, Tensor):
    """A buffer without a shape: `materialize` gives it one and makes it a plain tensor."""

    cls_to_become = Tensor

    __torch_function__ = _disabled_torch_function_impl

    def __new__(cls, requires_grad=False, device=None, dtype=None, persistent=True):
        x = Tensor._make_subclass(cls, ferrograd.empty(0, device=device, dtype=dtype), requires_grad)
        Tensor._set_missing(x, True)
        x.persistent = persistent
        x._is_buffer = True
        return x

    def __deepcopy__(self, memo):
        if id(self) not in memo:
            memo[id(self)] = type(self)(self.requires_grad, self.data.device, self.data.dtype, self.persistent)
        return memo[id(self)]
