"""Parametrizations: orthogonal matrices, weights as length times direction, weights of spectral norm 1."""

from enum import Enum, auto

import ferrograd
from ferrograd._C import Tensor
from ferrograd.nn.functional import normalize
from ferrograd.nn.modules.module import Module
from ferrograd.nn.utils.parametrize import register_parametrization
from ferrograd.nn.utils.spectral_norm import as_matrix, default_dim
from ferrograd.nn.utils.weight_norm import norm_except_dim, scaled

__all__ = ["orthogonal", "spectral_norm", "weight_norm"]


def _is_orthogonal(q):
    n, k = q.shape[-2:]
    return ferrograd.allclose(q.mH @ q, ferrograd.eye(k, dtype=q.dtype), atol=10.0 * n * ferrograd.finfo(q.dtype).eps)


def _make_orthogonal(x):
    """The Q of the QR decomposition whose R has a positive diagonal."""
    x, tau = ferrograd.geqrf(x)
    return ferrograd.linalg.householder_product(x, tau) * x.diagonal(dim1=-2, dim2=-1).sgn().unsqueeze(-2)


class _OrthMaps(Enum):
    matrix_exp = auto()
    cayley = auto()
    householder = auto()


class _Orthogonal(Module):
    def __init__(self, weight, orthogonal_map, *, use_trivialization=True):
        super().__init__()
        if weight.is_complex() and orthogonal_map == _OrthMaps.householder:
            raise ValueError("The householder parametrization does not support complex tensors.")
        self.shape = weight.shape
        self.orthogonal_map = orthogonal_map
        if use_trivialization:
            # The map is centred at this matrix.
            self.register_buffer("base", None)

    def forward(self, x):
        wide = x.size(-2) < x.size(-1)
        q = self._tall(x.mT if wide else x)
        if hasattr(self, "base"):
            q = self.base @ q
        return q.mT if wide else q

    def _tall(self, x):
        n, k = x.shape[-2:]
        if self.orthogonal_map == _OrthMaps.householder:
            a = x.tril(-1)
            tau = 2.0 / (1.0 + (a * a).sum(-2))
            # The diagonal holds signs; the conversion keeps it off the tape.
            return ferrograd.linalg.householder_product(a, tau) * x.diagonal(dim1=-2, dim2=-1).int().unsqueeze(-2)
        x = x.tril()
        if n != k:
            x = ferrograd.cat([x, x.new_zeros(n, n - k).expand(*x.shape[:-2], -1, -1)], -1)
        skew = x - x.mH
        if self.orthogonal_map == _OrthMaps.matrix_exp:
            q = ferrograd.matrix_exp(skew)
        else:
            eye = ferrograd.eye(n, dtype=skew.dtype)
            q = ferrograd.linalg.solve(eye.add(skew, alpha=-0.5), eye.add(skew, alpha=0.5))
        return q[..., :k] if n != k else q

    @ferrograd.no_grad()
    def right_inverse(self, q):
        """The original of an orthogonal matrix; of the nearest one in the sense of QR for others."""
        if q.shape != self.shape:
            raise ValueError(f"Expected a matrix or batch of matrices of shape {self.shape}. Got a tensor of shape {q.shape}.")
        original = q
        wide = q.size(-2) < q.size(-1)
        q = q.mT if wide else q
        n, k = q.shape[-2:]
        if not hasattr(self, "base"):
            if self.orthogonal_map != _OrthMaps.householder:
                raise NotImplementedError(
                    "It is not possible to assign to the matrix exponential or the Cayley parametrizations when use_trivialization=False."
                )
            a, tau = ferrograd.geqrf(q)
            diagonal = a.diagonal(dim1=-2, dim2=-1)
            diagonal.sign_()
            # A zero tau is a reflection that is left out.
            diagonal[tau == 0.0] *= -1
            return a.mT if wide else a
        if n != k:
            noise = ferrograd.randn(*q.shape[:-2], n, n - k, dtype=q.dtype)
            q = _make_orthogonal(ferrograd.cat([q, noise], -1))
        else:
            q = q.clone() if _is_orthogonal(q) else _make_orthogonal(q)
        self.base = q
        # Minus the identity: its lower triangle makes a zero skew matrix, and its diagonal gives the signs of householder.
        identity = ferrograd.zeros_like(original)
        identity.diagonal(dim1=-2, dim2=-1).fill_(-1.0)
        return identity


def _tensor_of(module, name):
    weight = getattr(module, name, None)
    if not isinstance(weight, Tensor):
        raise ValueError(f"Module '{module}' has no parameter or buffer with name '{name}'")
    return weight


def orthogonal(module, name="weight", orthogonal_map=None, *, use_trivialization=True):
    """Makes a parameter an orthogonal matrix, or one with orthonormal rows or columns; batches likewise.

    `orthogonal_map` is ``"matrix_exp"`` (the default for square and complex ones), ``"cayley"`` or ``"householder"``.
    """
    weight = _tensor_of(module, name)
    if weight.dim() < 2:
        raise ValueError(f"Expected a matrix or batch of matrices. Got a tensor of {weight.dim()} dimensions.")
    if orthogonal_map is None:
        orthogonal_map = "matrix_exp" if weight.size(-2) == weight.size(-1) or weight.is_complex() else "householder"
    kind = getattr(_OrthMaps, orthogonal_map, None)
    if kind is None:
        raise ValueError(f'orthogonal_map has to be one of "matrix_exp", "cayley", "householder". Got: {orthogonal_map}')
    parametrization = _Orthogonal(weight, kind, use_trivialization=use_trivialization)
    return register_parametrization(module, name, parametrization, unsafe=True)


class _WeightNorm(Module):
    def __init__(self, dim=0):
        super().__init__()
        self.dim = -1 if dim is None else dim

    def forward(self, g, v):
        return scaled(v, g, self.dim)

    def right_inverse(self, weight):
        return norm_except_dim(weight, self.dim), weight


def weight_norm(module, name="weight", dim=0):
    """Makes a parameter g * v / ‖v‖ (Salimans and Kingma 2016), with one length g for each index of `dim`, or one alone for None."""
    register_parametrization(module, name, _WeightNorm(dim), unsafe=True)

    def rename(state_dict, prefix, *_):
        # States of the old form.
        old = [f"{prefix}{name}_{end}" for end in "gv"]
        if all(key in state_dict for key in old):
            for i, key in enumerate(old):
                state_dict[f"{prefix}parametrizations.{name}.original{i}"] = state_dict.pop(key)

    module._register_load_state_dict_pre_hook(rename)
    return module


class _SpectralNorm(Module):
    def __init__(self, weight, n_power_iterations=1, dim=0, eps=1e-12):
        super().__init__()
        ndim = weight.dim()
        if not -ndim <= dim < ndim:
            raise IndexError(f"Dimension out of range (expected to be in range of [-{ndim}, {ndim - 1}] but got {dim})")
        if n_power_iterations <= 0:
            raise ValueError(f"Expected n_power_iterations to be positive, but got n_power_iterations={n_power_iterations}")
        self.dim = dim % ndim
        self.eps = eps
        if ndim > 1:
            self.n_power_iterations = n_power_iterations
            matrix = as_matrix(weight, self.dim)
            for name, size in zip(("_u", "_v"), matrix.shape):
                self.register_buffer(name, normalize(matrix.new_empty(size).normal_(0, 1), dim=0, eps=eps))
            self._power_method(matrix, 15)

    @ferrograd.no_grad()
    def _power_method(self, matrix, iterations):
        for _ in range(iterations):
            normalize(matrix.mv(self._v), dim=0, eps=self.eps, out=self._u)
            normalize(matrix.mH.mv(self._u), dim=0, eps=self.eps, out=self._v)

    def forward(self, weight):
        if weight.dim() == 1:
            return normalize(weight, dim=0, eps=self.eps)
        matrix = as_matrix(weight, self.dim)
        if self.training:
            self._power_method(matrix, self.n_power_iterations)
        # The tape keeps these; the next call changes the buffers.
        u, v = self._u.clone(), self._v.clone()
        return weight / ferrograd.vdot(u, matrix.mv(v))

    def right_inverse(self, value):
        return value


def spectral_norm(module, name="weight", n_power_iterations=1, eps=1e-12, dim=None):
    """Divides a parameter by its largest singular value (Miyato et al. 2018), found by power iterations while training."""
    dim = default_dim(module) if dim is None else dim
    parametrization = _SpectralNorm(_tensor_of(module, name), n_power_iterations, dim, eps)
    return register_parametrization(module, name, parametrization)
