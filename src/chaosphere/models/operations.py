"""What the steps of all models are made of, each with its derivative and the transpose of that.

A step is written once, as calls of `Operations`. Run with `Operations` itself it computes. Run with a `Recorder` it
also keeps a list of its operations, in order, which is read forward for the derivative in a direction (`push`), and
backward for gradients (`pull`). To add an operation, write its value in `Operations` and its two derivatives in
`Recorder`.

Below, P_y v = v − ⟨y, v⟩ y.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from chaosphere.common.checks import Tokens
from chaosphere.common.plans import check_vectors, name_of
from chaosphere.common.pullback import NoDerivativeError, Pullback
from chaosphere.geometry import sphere

# (cos l − sin l / l)/l² = Σ_k (−1)^k 2k/(2k + 1)! l^{2k−2}; ten terms are exact in float64 for l <= 1.
_SERIES = [(-1) ** k * 2 * k / math.factorial(2 * k + 1) for k in range(10, 0, -1)]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Velocity:
    """A function of the tokens that moves them: the drift, the noise of a step or a layer.

    Attributes
    ----------
    value : callable
        (tokens, n_threads=) ↦ the vector at every token.
    source : object
        With the methods jvp(tokens, tangent, n_threads=), its derivative, and vjp(tokens, cotangent, n_threads=), which
        returns a `Pullback`. They are looked up for derivatives alone. A method linearized(tokens, n_threads=) may
        return jvp at these tokens as a function of the tangent, where several tangents share work.
    part : str
        The argument of the model that it comes from.
    """

    value: Callable[..., Tokens]
    source: Any
    part: str

    def derivative(self, x: Tokens, *, n_threads: int) -> Callable[[Tokens], Tokens]:
        """Return the derivative at tokens, as a function of the tangent; NoDerivativeError if there is none."""
        if missing := [name for name in ("jvp", "vjp") if not hasattr(self.source, name)]:
            raise NoDerivativeError(f"{self.part}: {name_of(self.source)} has no derivative, no method {missing[0]}")
        if linearized := getattr(self.source, "linearized", None):
            derivative: Callable[[Tokens], Tokens] = linearized(x, n_threads=n_threads)
            return derivative
        return partial(self.source.jvp, x, n_threads=n_threads)


class Operations:
    """Steps as they are computed, on arrays (R, N, d).

    Parameters
    ----------
    n_threads : int
    """

    def __init__(self, n_threads: int) -> None:
        self.n_threads = n_threads

    def constant(self, value: Tokens) -> Any:
        """Return what does not depend on the state."""
        return value

    def evaluate(self, x: Any, velocity: Velocity) -> Any:
        """Return a velocity at the unit tokens x, an array of its own."""
        vectors = velocity.value(x, n_threads=self.n_threads)
        check_vectors(vectors, name_of(velocity.value), x=x)
        return vectors

    def move(self, x: Any, velocity: Velocity, *, step: float, fused: Callable[..., Tokens]) -> Any:
        """Return LN(x + step · velocity(x)), by a function that computes it in one pass."""
        return fused(x, step, n_threads=self.n_threads)

    def layer_norm_step(self, x: Any, v: Any, *, alpha: float, in_place: bool = False) -> Any:
        """Return LN(x + αv), written over v if in_place."""
        return sphere.layer_norm_step(x, v, alpha, self.n_threads, in_place=in_place)

    def directions(self, x: Any, *, what: str = "x") -> Any:
        """Return x/|x|; `what` x is is for the error."""
        return sphere.directions(x, self.n_threads, what=what)

    def sum(self, x: Any, v: Any, *, alpha: float) -> Any:
        """Return x + αv; DegenerateTokenError where that is zero or not finite."""
        with np.errstate(over="ignore", invalid="ignore"):
            end = alpha * v
            end += x
        sphere.directions(end, self.n_threads, what="x + alpha v")
        return end

    def tangent(self, x: Any, v: Any) -> Any:
        """Return P_x v, the part of v that is orthogonal to x."""
        return projected(x, v)

    def geodesic(self, x: Any, v: Any) -> Any:
        """Return the end of the great circle from x along v, which is orthogonal to x: cos |v| x + sin |v| v/|v|."""
        length = np.sqrt(_dot(v, v))
        return sphere.normalize(np.cos(length) * x + np.sinc(length / np.pi) * v)


class Variable:
    """A value of a `Recorder`: what the operations of a step take and return. Sums and multiples are recorded, too."""

    __array_ufunc__ = None  # arrays leave sums with a Variable to it
    __slots__ = ("_recorder", "place", "value")

    def __init__(self, recorder: Recorder, value: Tokens, *, place: int) -> None:
        self._recorder, self.value, self.place = recorder, value, place

    @property
    def dtype(self) -> Any:
        """The dtype of the value."""
        return self.value.dtype

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the value."""
        return self.value.shape

    def __add__(self, other: Any) -> Variable:
        if isinstance(other, Variable):
            return self._recorder.linear(self, other)
        return self._recorder.shift(self, other)

    __radd__ = __add__

    def __rmul__(self, factor: float) -> Variable:
        return self._recorder.scale(self, factor)


@dataclass(frozen=True, slots=True)
class _Entry:
    """One operation: the places of what it takes, the derivative and its transpose."""

    inputs: tuple[int, ...]
    push: Callable[..., Tokens]
    pull: Callable[[Tokens], tuple[Tokens, ...]]


class Recorder(Operations):
    """A step with its operations, kept for derivatives.

    Parameters
    ----------
    x : ndarray, shape (R, N, d)
        The state before the step.
    n_threads : int
    is_exact : bool
        Whether values are bitwise those of `Operations`, at the price of evaluating a velocity twice where that takes
        it in one pass with the step.

    Attributes
    ----------
    state : ndarray, shape (R, N, d)
        What the last operation returned: at the end, the state after the step.

    Notes
    -----
    Variables refer to their recorder, and it to none of them: without cycles, memory is free once it is not in use.
    """

    def __init__(self, x: Tokens, *, n_threads: int, is_exact: bool) -> None:
        super().__init__(n_threads)
        self.state = x
        self._is_exact = is_exact
        self._entries: list[_Entry] = []
        self._pullbacks: list[tuple[str, Any]] = []  # parts of the model and their pullbacks

    def start(self) -> Variable:
        """Return the state before the step, from which the operations start."""
        return Variable(self, self.state, place=0)

    def push(self, tangent: Tokens) -> Tokens:
        """Return the derivative of the last value in the direction of a tangent at the first."""
        tangents = [tangent]
        for entry in self._entries:
            tangents.append(entry.push(*(tangents[place] for place in entry.inputs)))
        return tangents[-1]

    def pull(self, cotangent: Tokens) -> Pullback:
        """Return the gradient of ⟨cotangent, last value⟩ in the first, in weights, and in parameters by their part."""
        self._pullbacks.clear()
        cotangents: list[Tokens | None] = [None] * (len(self._entries) + 1)
        cotangents[-1] = cotangent
        for output, entry in reversed(list(enumerate(self._entries, start=1))):
            of_output, cotangents[output] = cotangents[output], None
            if of_output is None:
                continue
            for place, part in zip(entry.inputs, entry.pull(of_output), strict=True):
                before = cotangents[place]
                cotangents[place] = part if before is None else before + part
        start = cotangents[0]
        weights: Any = None
        parameters: dict[str, Any] = {}
        for part, back in reversed(self._pullbacks):  # in the order of the step
            if back.weights is not None:
                weights = back.weights if weights is None else weights + back.weights
            if back.parameters:
                parameters[part] = gradient_sum(parameters.get(part, {}), back.parameters)
        return Pullback(
            tokens=np.zeros_like(cotangent) if start is None else start, weights=weights, parameters=parameters
        )

    def constant(self, value: Tokens) -> Variable:
        """Record what does not depend on the state."""
        return self._record((), value, lambda: np.zeros_like(value), lambda c: ())

    def evaluate(self, x: Variable, velocity: Velocity) -> Variable:
        """Record a velocity."""
        at = x.value

        push = velocity.derivative(at, n_threads=self.n_threads)
        n_threads, pullbacks = self.n_threads, self._pullbacks  # not self, which would be a cycle

        def pull(c: Tokens) -> tuple[Tokens, ...]:
            back = velocity.source.vjp(at, c, n_threads=n_threads)
            pullbacks.append((velocity.part, back))
            return (back.tokens,)

        return self._record((x,), super().evaluate(at, velocity), push, pull)

    def move(self, x: Variable, velocity: Velocity, *, step: float, fused: Callable[..., Tokens]) -> Variable:
        """Record LN(x + step · velocity(x))."""
        v = self.evaluate(x, velocity)
        if not self._is_exact:
            return self.layer_norm_step(x, v, alpha=step)
        return self._layer_norm_step(x, v, alpha=step, y=super().move(x.value, velocity, step=step, fused=fused))

    def layer_norm_step(self, x: Variable, v: Variable, *, alpha: float, in_place: bool = False) -> Variable:
        """Record y = LN(x + αv)."""
        return self._layer_norm_step(x, v, alpha=alpha, y=super().layer_norm_step(x.value, v.value, alpha=alpha))

    def _layer_norm_step(self, x: Variable, v: Variable, *, alpha: float, y: Tokens) -> Variable:
        """Record y = LN(x + αv): dy = P_y (dx + α dv)/|x + αv|."""
        length = _dot(y, x.value + alpha * v.value)

        def push(dx: Tokens, dv: Tokens) -> Tokens:
            return projected(y, dx + alpha * dv) / length

        def pull(c: Tokens) -> tuple[Tokens, ...]:
            g: Tokens = projected(y, c) / length
            return g, alpha * g

        return self._record((x, v), y, push, pull)

    def directions(self, x: Variable, *, what: str = "x") -> Variable:
        """Record y = x/|x|: dy = P_y dx/|x|."""
        y: Tokens = super().directions(x.value, what=what)
        length = _dot(y, x.value)

        def push(dx: Tokens) -> Tokens:
            return projected(y, dx) / length

        return self._record((x,), y, push, lambda c: (push(c),))

    def sum(self, x: Variable, v: Variable, *, alpha: float) -> Variable:
        """Record x + αv."""
        return self._record(
            (x, v),
            super().sum(x.value, v.value, alpha=alpha),
            lambda dx, dv: dx + alpha * dv,
            lambda c: (c, alpha * c),
        )

    def tangent(self, x: Variable, v: Variable) -> Variable:
        """Record P_x v: d(P_x v) = P_x dv − ⟨dx, v⟩ x − ⟨x, v⟩ dx."""
        at, vector = x.value, v.value
        height = _dot(at, vector)

        def push(dx: Tokens, dv: Tokens) -> Tokens:
            derivative: Tokens = projected(at, dv) - _dot(dx, vector) * at - height * dx
            return derivative

        def pull(c: Tokens) -> tuple[Tokens, ...]:
            back: Tokens = -_dot(at, c) * vector - height * c
            return back, projected(at, c)

        return self._record((x, v), super().tangent(at, vector), push, pull)

    def geodesic(self, x: Variable, v: Variable) -> Variable:
        """Record y = LN(z), z = cos l x + s v, with l = |v| and s = sin l / l.

        dz = cos l dx + s dv + ⟨v, dv⟩ (q v − s x), with q = (cos l − s)/l², and |z| = 1 but for rounding.
        """
        at, vector = x.value, v.value
        y: Tokens = super().geodesic(at, vector)
        length = np.sqrt(_dot(vector, vector))
        cosine, s = np.cos(length), np.sinc(length / np.pi)
        along = _quotient(length) * vector - s * at
        size = _dot(y, cosine * at + s * vector)

        def push(dx: Tokens, dv: Tokens) -> Tokens:
            return projected(y, cosine * dx + s * dv + _dot(vector, dv) * along) / size

        def pull(c: Tokens) -> tuple[Tokens, ...]:
            g = projected(y, c) / size
            return cosine * g, s * g + _dot(along, g) * vector

        return self._record((x, v), y, push, pull)

    def linear(self, a: Variable, b: Variable) -> Variable:
        """Record a + b."""
        return self._record((a, b), a.value + b.value, lambda da, db: da + db, lambda c: (c, c))

    def scale(self, a: Variable, factor: float) -> Variable:
        """Record a multiple of a."""
        return self._record((a,), factor * a.value, lambda da: factor * da, lambda c: (factor * c,))

    def shift(self, a: Variable, constant: Tokens) -> Variable:
        """Record a plus what does not depend on the state."""
        return self._record((a,), a.value + constant, lambda da: da, lambda c: (c,))

    def _record(
        self,
        inputs: tuple[Variable, ...],
        value: Tokens,
        push: Callable[..., Tokens],
        pull: Callable[[Tokens], tuple[Tokens, ...]],
    ) -> Variable:
        self._entries.append(_Entry(tuple(v.place for v in inputs), push, pull))
        self.state = value
        return Variable(self, value, place=len(self._entries))


def gradient_sum(a: Mapping[str, Any], b: Mapping[str, Any]) -> dict[str, Any]:
    """Return two sets of gradients, by name, added."""
    return {name: a.get(name, 0.0) + b.get(name, 0.0) for name in {**a, **b}}


def _dot(a: Tokens, b: Tokens) -> Tokens:
    return np.asarray(np.einsum("rik,rik->ri", a, b)[:, :, None])


def projected(x: Tokens, v: Tokens) -> Tokens:
    """Return P_x v."""
    return np.asarray(v - _dot(x, v) * x)


def _quotient(length: Tokens) -> Tokens:
    """Return (cos l − sin l / l)/l²."""
    near = np.minimum(length, 1.0)
    far = np.maximum(length, 1.0)
    direct = (np.cos(far) - np.sin(far) / far) / far**2
    return np.where(length < 1, np.polyval(_SERIES, near**2), direct).astype(length.dtype)
