"""Recurrent layers and cells as functions of their inputs, states and weights."""

from ferrograd import _C
from ferrograd._C import Tensor, _autograd, _nn, cat, stack, zeros_like
from ferrograd._checks import overridable

__all__ = ["gru", "gru_cell", "lstm", "lstm_cell", "rnn_relu", "rnn_relu_cell", "rnn_tanh", "rnn_tanh_cell"]


def _layers(kind, input, sizes, hx, params, has_biases, num_layers, dropout, train, bidirectional):
    """The states of the last layer, and the last states of all layers and directions, for each of `hx`."""
    directions = 2 if bidirectional else 1
    count = num_layers * directions
    each = len(params) // count
    if len(params) != each * count:
        raise RuntimeError(f"{kind}: got an incorrect number of RNN parameters")
    for x in hx:
        if x.dim() != 3 or x.shape[0] != count:
            raise RuntimeError(f"{kind}: expected states of shape ({count}, batch, size), got {tuple(x.shape)}")
    last = []
    for layer in range(num_layers):
        outputs = []
        for direction in range(directions):
            i = layer * directions + direction
            states, *ends = _nn._recurrent_layer(
                kind, input, sizes, [x[i] for x in hx], params[i * each : (i + 1) * each], has_biases, direction == 1
            )
            outputs.append(states)
            last.append(ends)
        input = outputs[0] if directions == 1 else cat(outputs, -1)
        if dropout and train and layer < num_layers - 1:
            input = _C.dropout(input, dropout, True)
    return input, *(stack(ends) for ends in zip(*last))


def _padded(kind, input, hx, params, has_biases, num_layers, dropout, train, bidirectional, batch_first):
    if input.dim() != 3:
        raise RuntimeError(f"{kind}: expected a 3-d input, got one of shape {tuple(input.shape)}")
    if batch_first:
        input = input.transpose(0, 1)
    states, *last = _layers(kind, input, None, hx, params, has_biases, num_layers, dropout, train, bidirectional)
    return states.transpose(0, 1) if batch_first else states, *last


def _packed(kind, data, batch_sizes, hx, params, has_biases, num_layers, dropout, train, bidirectional):
    sizes = batch_sizes.tolist()
    return _layers(kind, data, sizes, hx, params, has_biases, num_layers, dropout, train, bidirectional)


def _states(hx):
    if len(hx) != 2:
        raise RuntimeError("lstm expects two hidden states")
    return hx


def _lstm(input, hx, params, has_biases, num_layers, dropout, train, bidirectional, batch_first):
    rest = params, has_biases, num_layers, dropout, train, bidirectional, batch_first
    return _padded("lstm", input, _states(hx), *rest)


def _lstm_packed(data, batch_sizes, hx, params, has_biases, num_layers, dropout, train, bidirectional):
    rest = params, has_biases, num_layers, dropout, train, bidirectional
    return _packed("lstm", data, batch_sizes, _states(hx), *rest)


@overridable
def lstm(*args, **kwargs):
    """The states of an LSTM's last layer, and the last states and cells of all layers: see `nn.LSTM`.

    `lstm(input, hx, params, has_biases, num_layers, dropout, train, bidirectional, batch_first)` of padded sequences, or
    `lstm(data, batch_sizes, hx, params, has_biases, num_layers, dropout, train, bidirectional)` of packed ones.
    """
    packed = "batch_sizes" in kwargs or isinstance(args[1] if len(args) > 1 else None, Tensor)
    return (_lstm_packed if packed else _lstm)(*args, **kwargs)


def _of_one_state(kind, name):
    def padded(input, hx, params, has_biases, num_layers, dropout, train, bidirectional, batch_first):
        return _padded(kind, input, (hx,), params, has_biases, num_layers, dropout, train, bidirectional, batch_first)

    def packed(data, batch_sizes, hx, params, has_biases, num_layers, dropout, train, bidirectional):
        return _packed(kind, data, batch_sizes, (hx,), params, has_biases, num_layers, dropout, train, bidirectional)

    def function(*args, **kwargs):
        is_packed = "batch_sizes" in kwargs or isinstance(args[2] if len(args) > 2 else None, Tensor)
        return (packed if is_packed else padded)(*args, **kwargs)

    function.__name__ = function.__qualname__ = kind
    function.__doc__ = f"The states of the last layer, and the last states of all layers: see `nn.{name}`; arguments as of `lstm`."
    return function


gru = _of_one_state("gru", "GRU")
rnn_relu = _of_one_state("rnn_relu", "RNN")
rnn_tanh = _of_one_state("rnn_tanh", "RNN")


def _cell(kind, input, hx, w_ih, w_hh, b_ih, b_hh):
    """One step."""
    if input.dim() != 2 or any(x.dim() != 2 for x in hx):
        raise RuntimeError(f"{kind}_cell: expected an input and states of 2 dims")
    if b_ih is None and b_hh is None:
        params = w_ih, w_hh
    else:
        params = w_ih, w_hh, zeros_like(b_hh) if b_ih is None else b_ih, zeros_like(b_ih) if b_hh is None else b_hh
    state, *others = _nn._recurrent_layer(kind, input, [input.shape[0]], hx, params, len(params) == 4, False)
    # The derivatives of the plain ones are made of their results.
    return [_autograd._saving(state, ()) if kind.startswith("rnn") else state, *others]


@overridable
def lstm_cell(input, hx, w_ih, w_hh, b_ih=None, b_hh=None):
    """The next state and cell: see `nn.LSTMCell`."""
    state, _, cell = _cell("lstm", input, _states(hx), w_ih, w_hh, b_ih, b_hh)
    return state, cell


@overridable
def gru_cell(input, hx, w_ih, w_hh, b_ih=None, b_hh=None):
    """The next state: see `nn.GRUCell`."""
    return _cell("gru", input, (hx,), w_ih, w_hh, b_ih, b_hh)[0]


@overridable
def rnn_tanh_cell(input, hx, w_ih, w_hh, b_ih=None, b_hh=None):
    """The next state: see `nn.RNNCell`."""
    return _cell("rnn_tanh", input, (hx,), w_ih, w_hh, b_ih, b_hh)[0]


@overridable
def rnn_relu_cell(input, hx, w_ih, w_hh, b_ih=None, b_hh=None):
    """The next state: see `nn.RNNCell`."""
    return _cell("rnn_relu", input, (hx,), w_ih, w_hh, b_ih, b_hh)[0]
