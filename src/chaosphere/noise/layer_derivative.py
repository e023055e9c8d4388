"""The derivative of a random layer: x ↦ c + s W φ(σ U x + b), in the tokens and in the parameters.

Tokens are taken by slices and neurons by blocks, so that no array of N × m numbers exists.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from chaosphere.common.checks import Tokens
from chaosphere.common.pullback import NoDerivativeError
from chaosphere.kernels import layer as kernel
from chaosphere.kernels.rows import map_tokens
from chaosphere.noise.activations import ACTIVATIONS, Activation

_ROWS, _NEURONS = 4096, 256  # of a block
_MIN_PRODUCTS = 2**15  # of a replica, from which on it is worth a call of its own


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LayerArrays:
    """A layer for each replica, or one for all, in one dtype."""

    u: Tokens
    w: Tokens
    b: Tokens | None
    activation: Activation
    weight_std: float
    output_scale: float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Block:
    """Some neurons at some tokens: their places, their weights, and φ and φ′ of what goes in."""

    rows: slice
    neurons: slice
    u: Tokens
    w: Tokens
    value: Callable[[], Tokens]
    slope: Tokens


def slope_of(activation: Activation) -> Callable[[Tokens], Tokens]:
    """Return φ′ for arrays of any dtype; NoDerivativeError for a function that came without it."""
    if activation.kernel_id is not None and activation.name in _SLOPES:
        return _SLOPES[activation.name]
    derivative = activation.derivative
    if derivative is None:
        raise NoDerivativeError(
            f"activation: {activation.name!r} came without a derivative; pass an activations.Activation that has one, "
            "or a name"
        )

    def slope(z: Tokens) -> Tokens:
        return np.asarray(derivative(z.astype(np.float64, copy=False)), z.dtype)

    return slope


def _compiled(name: str, z: Tokens) -> Tokens:
    kernel_id = ACTIVATIONS[name].kernel_id
    assert kernel_id is not None
    return kernel.activate(z.ravel(), kernel_id).reshape(z.shape)


def _clipped(z: Tokens) -> Tokens:
    """Return arguments up to a size beyond which slopes are constant: their products with least powers are nearly 0."""
    return np.clip(z, -1e3, 1e3)


def _silu_slope(z: Tokens) -> Tokens:
    z = _clipped(z)
    s = _compiled("sigmoid", z)
    slope: Tokens = s * (1 + z * (1 - s))
    return slope


def _gelu_slope(z: Tokens) -> Tokens:
    z = _clipped(z)
    density = _compiled("gaussian", z) / math.sqrt(2 * math.pi)
    slope: Tokens = 0.5 + 0.5 * _compiled("erf", z * math.sqrt(0.5)) + z * density
    return slope


def _gaussian_slope(z: Tokens) -> Tokens:
    z = _clipped(z)
    return -z * _compiled("gaussian", z)


def _sigmoid_slope(z: Tokens) -> Tokens:
    s = _compiled("sigmoid", z)
    slope: Tokens = s * (1 - s)
    return slope


# φ′ by the compiled functions; `Activation.derivative` serves where there is none. At a kink it is the left slope.
_SLOPES: dict[str, Callable[[Tokens], Tokens]] = {
    "relu": lambda z: (z > 0).astype(z.dtype),
    "silu": _silu_slope,
    "gelu": _gelu_slope,
    "tanh": lambda z: 1 - _compiled("tanh", z) ** 2,
    "sigmoid": _sigmoid_slope,
    "erf": lambda z: 2 / math.sqrt(math.pi) * _compiled("gaussian", z * math.sqrt(2)),
    "sin": lambda z: _compiled("cos", z),
    "cos": lambda z: -_compiled("sin", z),
    "linear": np.ones_like,
    "softplus": lambda z: _compiled("sigmoid", z),
    "leaky_relu": lambda z: np.where(z > 0, 1, 0.01).astype(z.dtype),
    "elu": lambda z: 1 + _compiled("elu", np.minimum(z, 0)),
    "gaussian": _gaussian_slope,
}


def _value(activation: Activation, z: Tokens) -> Tokens:
    """Return φ of an array of any dtype."""
    if activation.kernel_id is not None:
        return _compiled(activation.name, z)
    return np.asarray(activation(z.astype(np.float64, copy=False)), z.dtype)


def push(layer: LayerArrays, x: Tokens, *, tangent: Tokens, n_threads: int) -> Tokens:
    """Return the derivative of the layer at tokens x (R, N, d) in a direction of the same shape."""
    out = np.zeros_like(x)
    for block in _blocks(layer, x, n_threads=n_threads):
        into = layer.weight_std * _mapped(tangent[:, block.rows], block.u, n_threads=n_threads)
        into *= block.slope
        out[:, block.rows] += layer.output_scale * _mapped(into, block.w, n_threads=n_threads)
    return out


def pull(layer: LayerArrays, x: Tokens, *, cotangent: Tokens, n_threads: int) -> Tokens:
    """Return the transpose of that derivative, at a cotangent of the shape of x."""
    out = np.zeros_like(x)
    for block in _blocks(layer, x, n_threads=n_threads):
        back = _before(layer, block, cotangent=cotangent, n_threads=n_threads)
        out[:, block.rows] += layer.weight_std * _mapped(back, block.u.swapaxes(1, 2), n_threads=n_threads)
    return out


def parameters(layer: LayerArrays, x: Tokens, *, cotangent: Tokens, n_threads: int) -> dict[str, Tokens]:
    """Return the gradient in U, W, b and c of each replica: (R, m, d), (R, d, m), (R, m), (R, d)."""
    (r, _, d), m = x.shape, layer.u.shape[1]
    u, w, b = np.zeros((r, m, d), x.dtype), np.zeros((r, d, m), x.dtype), np.zeros((r, m), x.dtype)
    for block in _blocks(layer, x, n_threads=n_threads):
        back = _before(layer, block, cotangent=cotangent, n_threads=n_threads)
        u[:, block.neurons] += layer.weight_std * _moments(back, x[:, block.rows], n_threads=n_threads)
        w[:, :, block.neurons] += layer.output_scale * _moments(
            cotangent[:, block.rows], block.value(), n_threads=n_threads
        )
        b[:, block.neurons] += back.sum(axis=1)
    return {"u": u, "w": w, "b": b, "c": cotangent.sum(axis=1)}


def _before(layer: LayerArrays, block: _Block, *, cotangent: Tokens, n_threads: int) -> Tokens:
    """Return the cotangent of what goes into φ, (R, rows, neurons)."""
    back = layer.output_scale * _mapped(cotangent[:, block.rows], block.w.swapaxes(1, 2), n_threads=n_threads)
    back *= block.slope
    return back


def _blocks(layer: LayerArrays, x: Tokens, *, n_threads: int) -> Iterator[_Block]:
    derivative = slope_of(layer.activation)
    for row in range(0, x.shape[1], _ROWS):
        rows = slice(row, min(row + _ROWS, x.shape[1]))
        for neuron in range(0, layer.u.shape[1], _NEURONS):
            neurons = slice(neuron, min(neuron + _NEURONS, layer.u.shape[1]))
            u, w = layer.u[:, neurons], layer.w[:, :, neurons]
            before = layer.weight_std * _mapped(x[:, rows], u, n_threads=n_threads)
            if layer.b is not None:
                before += layer.b[:, None, neurons]
            value = partial(_value, layer.activation, before)
            yield _Block(rows=rows, neurons=neurons, u=u, w=w, value=value, slope=derivative(before))


def _mapped(x: Tokens, matrices: Tokens, *, n_threads: int) -> Tokens:
    """Return A x for tokens (R, N, k) and the matrix A of each replica, or of all: (R or 1, n, k)."""
    if x.shape[1] * matrices.shape[1] * matrices.shape[2] < _MIN_PRODUCTS:
        return np.asarray(np.matmul(x, matrices.swapaxes(1, 2)))
    if len(matrices) == 1:
        return _map(x, matrices[0], n_threads=n_threads)
    pairs = zip(x, matrices, strict=True)
    return np.concatenate([_map(one[None], matrix, n_threads=n_threads) for one, matrix in pairs])


def _map(x: Tokens, matrix: Tokens, *, n_threads: int) -> Tokens:
    # Not BLAS, whose sums may depend on the number of threads.
    out: Any = map_tokens(x, np.ascontiguousarray(matrix), n_threads)
    return np.asarray(out)


def _moments(a: Tokens, b: Tokens, *, n_threads: int) -> Tokens:
    """Return Σ_i a_i b_iᵀ over the tokens of each replica: (R, N, k) and (R, N, l) give (R, k, l)."""
    return _mapped(np.ascontiguousarray(a.swapaxes(1, 2)), np.ascontiguousarray(b.swapaxes(1, 2)), n_threads=n_threads)
