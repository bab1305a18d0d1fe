"""Recurrent layers and cells."""

import math
import numbers
import warnings

from ferrograd._C import zeros
from ferrograd.nn import _recurrent, init
from ferrograd.nn.modules.module import Module
from ferrograd.nn.modules.utils import register_parameter
from ferrograd.nn.utils.rnn import PackedSequence

__all__ = ["GRU", "GRUCell", "LSTM", "LSTMCell", "RNN", "RNNBase", "RNNCell", "RNNCellBase"]

_GATES = {"LSTM": 4, "GRU": 3, "RNN_TANH": 1, "RNN_RELU": 1}


def _reset(module):
    bound = 1.0 / math.sqrt(module.hidden_size) if module.hidden_size > 0 else 0
    for weight in module.parameters():
        init.uniform_(weight, -bound, bound)


class RNNBase(Module):
    """What `RNN`, `LSTM` and `GRU` share: layers of one kind (`mode`), each of which gets the states of the one before.

    `bidirectional` layers have a second half that reads backwards, and both halves' states side by side. `dropout` is the part of
    states that is dropped between layers, and `proj_size` of an LSTM the size that states are projected to.
    """

    def __init__(
        self,
        mode,
        input_size,
        hidden_size,
        num_layers=1,
        bias=True,
        batch_first=False,
        dropout=0.0,
        bidirectional=False,
        proj_size=0,
        device=None,
        dtype=None,
    ):
        super().__init__()
        self.mode = mode
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.num_layers = num_layers
        self.bias = bias
        self.batch_first = batch_first
        self.dropout = float(dropout)
        self.bidirectional = bidirectional
        self.proj_size = proj_size
        self._check_arguments(dropout)
        rows, out = _GATES[mode] * hidden_size, proj_size or hidden_size
        directions = ("", "_reverse") if bidirectional else ("",)
        self._all_weights = []
        for layer in range(num_layers):
            for suffix in directions:
                shapes = {
                    "weight_ih": (rows, input_size if layer == 0 else out * len(directions)),
                    "weight_hh": (rows, out),
                    **({"bias_ih": (rows,), "bias_hh": (rows,)} if bias else {}),
                    **({"weight_hr": (proj_size, hidden_size)} if proj_size else {}),
                }
                shapes = {f"{name}_l{layer}{suffix}": shape for name, shape in shapes.items()}
                for name, shape in shapes.items():
                    register_parameter(self, name, shape, True, device, dtype)
                self._all_weights.append(list(shapes))
        self._flat_weights_names = [name for names in self._all_weights for name in names]
        self.reset_parameters()

    def _check_arguments(self, dropout):
        if not isinstance(dropout, numbers.Number) or not 0 <= dropout <= 1 or isinstance(dropout, bool):
            raise ValueError("dropout should be a number in range [0, 1] representing the probability of an element being zeroed")
        if dropout > 0 and self.num_layers == 1:
            warnings.warn(
                "dropout option adds dropout after all but last recurrent layer, so non-zero dropout expects num_layers greater "
                f"than 1, but got dropout={dropout} and num_layers={self.num_layers}",
                stacklevel=4,
            )
        for name, kind in (("bias", bool), ("batch_first", bool), ("input_size", int), ("hidden_size", int)):
            value = getattr(self, name)
            if not isinstance(value, kind):
                raise TypeError(f"{name} should be of type {kind.__name__}, got: {type(value).__name__}")
            if kind is int and value <= 0:
                raise ValueError(f"{name} must be greater than zero")
        if self.num_layers <= 0:
            raise ValueError("num_layers must be greater than zero")
        if self.proj_size < 0:
            raise ValueError("proj_size should be a positive integer or zero to disable projections")
        if self.proj_size >= self.hidden_size:
            raise ValueError("proj_size has to be smaller than hidden_size")
        if self.mode not in _GATES:
            raise ValueError("Unrecognized RNN mode: " + self.mode)

    def reset_parameters(self):
        """Draws all weights from (-k, k) with k = 1 / sqrt(hidden_size)."""
        _reset(self)

    def flatten_parameters(self):
        """Does nothing: weights need not lie side by side in memory."""

    @property
    def _flat_weights(self):
        return [getattr(self, name, None) for name in self._flat_weights_names]

    @property
    def all_weights(self):
        """The parameters of each layer and direction."""
        return [[getattr(self, name) for name in names] for names in self._all_weights]

    def extra_repr(self):
        shown = [f"{self.input_size}, {self.hidden_size}"]
        defaults = {"proj_size": 0, "num_layers": 1, "bias": True, "batch_first": False, "dropout": 0, "bidirectional": False}
        shown += [f"{name}={getattr(self, name)}" for name, default in defaults.items() if getattr(self, name) != default]
        return ", ".join(shown)

    def _state_shapes(self, batch):
        """Of the states, and of those of an LSTM's cells."""
        count = self.num_layers * (2 if self.bidirectional else 1)
        shapes = (count, batch, self.proj_size or self.hidden_size), (count, batch, self.hidden_size)
        return shapes if self.mode == "LSTM" else shapes[:1]

    def _check_input(self, input, hx, shapes, dims):
        weight = self._parameters.get("weight_ih_l0")
        if weight is not None and input.dtype != weight.dtype:
            raise ValueError(
                f"RNN input dtype ({input.dtype}) does not match weight dtype ({weight.dtype}). "
                f"Convert input: input.to({weight.dtype}), or convert model: model.to({input.dtype})"
            )
        if input.dim() != dims:
            raise RuntimeError(f"input must have {dims} dimensions, got {input.dim()}")
        if input.size(-1) != self.input_size:
            raise RuntimeError(
                f"input.size(-1) must be equal to input_size. Expected {self.input_size}, got {input.size(-1)}"
            )
        for i, (state, shape) in enumerate(zip(hx, shapes)):
            if state.shape != shape:
                name = f"hidden[{i}]" if len(shapes) > 1 else "hidden"
                raise RuntimeError(f"Expected {name} size {shape}, got {list(state.shape)}")

    def _run(self, input, hx):
        """The states of the last layer, and the last states of all, as many as are in `hx`."""
        kind = self.mode.lower()
        rest = self._flat_weights, self.bias, self.num_layers, self.dropout, self.training, self.bidirectional
        if isinstance(input, PackedSequence):
            data, batch_sizes, sorted_indices, unsorted_indices = input
            shapes = self._state_shapes(int(batch_sizes[0]))
            hx = _zeros(shapes, data) if hx is None else _permuted(hx, sorted_indices)
            if len(shapes) == 1:
                self._check_input(data, hx, shapes, 2)
            states, *last = _recurrent._packed(kind, data, batch_sizes, hx, *rest)
            return PackedSequence(states, batch_sizes, sorted_indices, unsorted_indices), _permuted(last, unsorted_indices)
        if input.dim() not in (2, 3):
            raise ValueError(f"{type(self).__name__}: Expected input to be 2D or 3D, got {input.dim()}D tensor instead")
        dims, batch_dim = input.dim(), 0 if self.batch_first else 1
        if hx is not None and any(state.dim() != dims for state in hx):
            found = " and ".join(f"{state.dim()}-D" for state in hx)
            batched = "batched" if dims == 3 else "unbatched"
            raise RuntimeError(f"For {batched} {dims}-D input, hx should also be {dims}-D but got {found}")
        if dims == 2:
            input, hx = input.unsqueeze(batch_dim), hx and [state.unsqueeze(1) for state in hx]
        shapes = self._state_shapes(input.size(batch_dim))
        if hx is None:
            hx = _zeros(shapes, input)
        self._check_input(input, hx, shapes, 3)
        states, *last = _recurrent._padded(kind, input, hx, *rest, self.batch_first)
        if dims == 2:
            states, last = states.squeeze(batch_dim), [state.squeeze(1) for state in last]
        return states, last


def _zeros(shapes, input):
    return [zeros(shape, dtype=input.dtype) for shape in shapes]


def _permuted(states, order):
    return states if order is None else [state.index_select(1, order) for state in states]


class _OneState(RNNBase):
    """A layer whose only state is its output."""

    def forward(self, input, hx=None):
        states, (last,) = self._run(input, None if hx is None else (hx,))
        return states, last


class RNN(_OneState):
    """h_t = tanh(W_ih x_t + b_ih + W_hh h_(t-1) + b_hh) for each step t, or relu of that (`nonlinearity`); see `RNNBase`.

    `RNN(input_size, hidden_size, num_layers=1, nonlinearity="tanh", bias=True, batch_first=False, dropout=0.0, bidirectional=False)`;
    in (t, n, i) and optionally the first states (layers * directions, n, h), out (t, n, directions * h) and the last states. With
    `batch_first` n comes first in inputs and outputs; without a batch, n is missing everywhere. Also takes a `PackedSequence`.
    """

    def __init__(self, *args, **kwargs):
        if "proj_size" in kwargs:
            raise ValueError("proj_size argument is only supported for LSTM, not RNN or GRU")
        if len(args) > 3:
            nonlinearity, args = args[3], args[:3] + args[4:]
        else:
            nonlinearity = kwargs.pop("nonlinearity", "tanh")
        if nonlinearity not in ("tanh", "relu"):
            raise ValueError(f"Unknown nonlinearity '{nonlinearity}'. Select from 'tanh' or 'relu'.")
        super().__init__("RNN_" + nonlinearity.upper(), *args, **kwargs)
        self.nonlinearity = nonlinearity


class GRU(_OneState):
    """Gated recurrent unit: h_t = (1 - z) n + z h_(t-1) with gates r, z and the candidate n; see `RNNBase`.

    r, z = sigmoid(W_i x_t + b_i + W_h h + b_h), each with weights of its own, and n = tanh(W_in x_t + b_in + r (W_hn h + b_hn)).
    `GRU(input_size, hidden_size, num_layers=1, bias=True, batch_first=False, dropout=0.0, bidirectional=False)`; shapes as of `RNN`.
    Source: Cho et al., "Learning phrase representations using RNN encoder-decoder", 2014.
    """

    def __init__(self, *args, **kwargs):
        if "proj_size" in kwargs:
            raise ValueError("proj_size argument is only supported for LSTM, not RNN or GRU")
        super().__init__("GRU", *args, **kwargs)


class LSTM(RNNBase):
    """Long short-term memory: c_t = f c_(t-1) + i g and h_t = o tanh(c_t) with gates i, f, g, o; see `RNNBase`.

    g = tanh(W_ig x_t + b_ig + W_hg h + b_hg), the other gates likewise with sigmoid; h_t is W_hr times that if `proj_size` is not 0.
    `LSTM(input_size, hidden_size, num_layers=1, bias=True, batch_first=False, dropout=0.0, bidirectional=False, proj_size=0)`; shapes
    as of `RNN`, but that the first and last states are pairs (h, c).
    Source: Hochreiter and Schmidhuber, "Long short-term memory", 1997.
    """

    def __init__(self, *args, **kwargs):
        super().__init__("LSTM", *args, **kwargs)

    def forward(self, input, hx=None):
        states, last = self._run(input, hx)
        return states, tuple(last)


class RNNCellBase(Module):
    """What the cells share: the weights of one step, with `num_chunks` gates."""

    def __init__(self, input_size, hidden_size, bias, num_chunks, device=None, dtype=None):
        super().__init__()
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.bias = bias
        rows = num_chunks * hidden_size
        register_parameter(self, "weight_ih", (rows, input_size), True, device, dtype)
        register_parameter(self, "weight_hh", (rows, hidden_size), True, device, dtype)
        register_parameter(self, "bias_ih", rows, bias, device, dtype)
        register_parameter(self, "bias_hh", rows, bias, device, dtype)
        self.reset_parameters()

    def reset_parameters(self):
        """Draws all weights from (-k, k) with k = 1 / sqrt(hidden_size)."""
        _reset(self)

    def extra_repr(self):
        bias = "" if self.bias is True else f", bias={self.bias}"
        nonlinearity = self.__dict__.get("nonlinearity", "tanh")
        return f"{self.input_size}, {self.hidden_size}{bias}" + ("" if nonlinearity == "tanh" else f", nonlinearity={nonlinearity}")

    def _step(self, kind, input, hx, states):
        """The next states, which are all but the second of what comes back."""
        name = type(self).__name__
        for what, x in (("input", input), *(("hx", x) for x in hx or ())):
            if x.dim() not in (1, 2):
                raise ValueError(f"{name}: Expected {what} to be 1D or 2D, got {x.dim()}D instead")
        batched = input.dim() == 2
        if not batched:
            input, hx = input.unsqueeze(0), hx and [x.unsqueeze(0) for x in hx]
        if hx is None:
            hx = [zeros(input.size(0), self.hidden_size, dtype=input.dtype)] * states
        after = _recurrent._cell(kind, input, hx, self.weight_ih, self.weight_hh, self.bias_ih, self.bias_hh)
        return after if batched else [x.squeeze(0) for x in after]


class RNNCell(RNNCellBase):
    """One step of `RNN`: h' = tanh(W_ih x + b_ih + W_hh h + b_hh), or relu of that.

    Shape: (n, i) or (i,), and optionally the state (n, h) or (h,), to the next state.
    """

    def __init__(self, input_size, hidden_size, bias=True, nonlinearity="tanh", device=None, dtype=None):
        super().__init__(input_size, hidden_size, bias, num_chunks=1, device=device, dtype=dtype)
        self.nonlinearity = nonlinearity

    def forward(self, input, hx=None):
        if self.nonlinearity not in ("tanh", "relu"):
            raise RuntimeError(f"Unknown nonlinearity: {self.nonlinearity}")
        return self._step(f"rnn_{self.nonlinearity}", input, None if hx is None else (hx,), 1)[0]


class LSTMCell(RNNCellBase):
    """One step of `LSTM`: the next state and cell of an input and, optionally, a state and cell.

    Shape: (n, i) or (i,), and the pair of (n, h) or (h,).
    """

    def __init__(self, input_size, hidden_size, bias=True, device=None, dtype=None):
        super().__init__(input_size, hidden_size, bias, num_chunks=4, device=device, dtype=dtype)

    def forward(self, input, hx=None):
        state, _, cell = self._step("lstm", input, hx, 2)
        return state, cell


class GRUCell(RNNCellBase):
    """One step of `GRU`.

    Shape: (n, i) or (i,), and optionally the state (n, h) or (h,), to the next state.
    """

    def __init__(self, input_size, hidden_size, bias=True, device=None, dtype=None):
        super().__init__(input_size, hidden_size, bias, num_chunks=3, device=device, dtype=dtype)

    def forward(self, input, hx=None):
        return self._step("gru", input, None if hx is None else (hx,), 1)[0]
