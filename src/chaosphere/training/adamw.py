"""AdamW, with the ε that has a limit of many layers and heads."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from chaosphere.common import checks, messages
from chaosphere.common.checks import Floats
from chaosphere.common.reprs import Brief, Row, short

_LARGEST = 1e150  # its square is finite
_MIN_EPSILON = 1e-140  # what is lost of gradients whose squares are zero, 1e-154 of 1e-140, is less than a rounding
_BLOCK = 2**13  # numbers at once, which stay in the cache from one operation to the next


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class AdamWState(Brief):
    """Parameters, and what AdamW remembers of the gradients.

    Parameters
    ----------
    parameters : ndarray of float64
        θ, of entries <= 1e150 in size.
    first : ndarray of float64, of the shape of the parameters
        m, the decayed mean of the gradients, of entries <= 1e150 in size.
    second : ndarray of float64, of the shape of the parameters
        v, the decayed mean of their squares, of entries from 0 to 1e300.
    step : int
        t >= 0, how many steps were taken.

    Raises
    ------
    TypeError, ValueError
        If an argument is out of range, or the arrays are of several shapes.

    See Also
    --------
    chaosphere.training.AdamW.start : The state before the first step.
    chaosphere.training.Training : The result of a training, which has one.

    Examples
    --------
    >>> import numpy as np
    >>> import chaosphere as cs
    >>> cs.training.AdamW().start(np.ones(2)).step
    0
    """

    parameters: Floats
    first: Floats
    second: Floats
    step: int

    def __post_init__(self) -> None:
        """Check."""
        shape = _checked(self.parameters, "parameters").shape
        _checked(self.first, "first")
        _checked(self.second, "second", low=0, high=_LARGEST**2)
        for name, values in (("first", self.first), ("second", self.second)):
            if values.shape != shape:
                raise ValueError(f"{name} must have the shape of the parameters, {shape}, got {values.shape}")
        checks.integers(self, "step", low=0)

    def _rows(self) -> list[Row]:
        return [("step", short(self.step)), ("parameters", short(self.parameters.shape))]


@dataclass(frozen=True, slots=True, kw_only=True)
class AdamW:
    """Adam with decoupled weight decay (Loshchilov & Hutter, arXiv:1711.05101, algorithm 2, with a constant schedule).

    m ← β₁ m + (1 − β₁) g and v ← β₂ v + (1 − β₂) g², then θ ← (1 − ηλ) θ − η m̂/(√v̂ + ε), with m̂ = m/(1 − β₁^t) and
    v̂ = v/(1 − β₂^t).

    Parameters
    ----------
    learning_rate : float
        η > 0. The decay is by ηλ a step, as in PyTorch; in the article it is λ, with η a part of the schedule.
    beta1, beta2 : float
        β₁ and β₂, in [0, 1).
    epsilon : float
        ε >= 1e-140, for gradients of the size 1.
    weight_decay : float
        λ >= 0.

    Raises
    ------
    TypeError, ValueError
        If an argument is out of range.

    See Also
    --------
    chaosphere.training.AttentionNetwork : What it trains.

    Examples
    --------
    The first step has the size η, for gradients far above ε:

    >>> import numpy as np
    >>> import chaosphere as cs
    >>> adamw = cs.training.AdamW(learning_rate=0.1)
    >>> state = adamw.step(adamw.start(np.zeros(2)), np.array([3.0, -5.0]))
    >>> bool(np.allclose(state.parameters, [-0.1, 0.1]))
    True
    """

    learning_rate: float = 1e-3
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        """Check."""
        checks.numbers(self, "learning_rate", above=0)
        checks.numbers(self, "epsilon", low=_MIN_EPSILON)
        checks.numbers(self, "weight_decay", low=0)
        checks.numbers(self, "beta1", "beta2", low=0, high=float(np.nextafter(1, 0)))

    def start(self, parameters: Floats) -> AdamWState:
        """Return the state before the first step.

        Parameters
        ----------
        parameters : ndarray of float64
            θ, of any shape.

        Returns
        -------
        AdamWState
            With m = v = 0.

        Raises
        ------
        TypeError, ValueError
            If the parameters are no float64 array with entries <= 1e150 in size.

        See Also
        --------
        chaosphere.training.AdamW.step : The state after a step.
        chaosphere.training.AdamWState : What it holds.

        Examples
        --------
        >>> import numpy as np
        >>> import chaosphere as cs
        >>> cs.training.AdamW().start(np.ones(2)).first
        array([0., 0.])
        """
        zeros = np.zeros_like(_checked(parameters, "parameters"))
        return AdamWState(parameters=parameters.copy(), first=zeros, second=zeros.copy(), step=0)

    def step(self, state: AdamWState, gradient: Floats, *, n_units: int = 1) -> AdamWState:
        """Return the state after a step.

        Parameters
        ----------
        state : AdamWState
            From `start` or a step before.
        gradient : ndarray of float64, of the shape of the parameters
            g.
        n_units : int
            L H, the number of heads that share the loss, >= 1. Their gradients are of the size 1/(L H), and ε is
            divided by that number: the step is the one of the gradients L H g with ε itself.

        Returns
        -------
        AdamWState
            New arrays.

        Raises
        ------
        TypeError, ValueError
            If the gradient is no float64 array of the shape of the parameters with entries <= 1e150 in size, if
            n_units < 1 or ε over n_units is less than 1e-140, or if a parameter would be more than 1e150 in size.

        See Also
        --------
        chaosphere.training.AdamW.start : The state before the first step.
        chaosphere.training.AttentionNetwork.n_units : The number of heads of a network.
        chaosphere.training.TrainingLimit.n_units : The number of heads of the limit.
        chaosphere.training.train : The steps of a training.

        Examples
        --------
        >>> import numpy as np
        >>> import chaosphere as cs
        >>> adamw, g = cs.training.AdamW(epsilon=0.1), np.array([0.5])
        >>> start = adamw.start(np.ones(1))
        >>> one, other = adamw.step(start, g), adamw.step(start, g / 4, n_units=4)
        >>> bool((one.parameters == other.parameters).all())
        True
        """
        n_units = checks.integer(n_units, "n_units", low=1)
        if not isinstance(state, AdamWState):
            raise TypeError(f"state must be an AdamWState, got {messages.shown(state)}")
        if _checked(gradient, "gradient").shape != state.parameters.shape:
            raise ValueError(
                f"gradient must have the shape of the parameters, {state.parameters.shape}, got {gradient.shape}"
            )
        epsilon, t = self.epsilon / n_units, state.step + 1
        if not epsilon >= _MIN_EPSILON:
            raise ValueError(f"n_units must be <= epsilon / {_MIN_EPSILON:g}, got {n_units} and {self.epsilon!r}")
        flat = [np.ravel(values) for values in (gradient, state.first, state.second, state.parameters)]
        new = np.empty((3, gradient.size))
        for start in range(0, gradient.size, _BLOCK):
            part = slice(start, start + _BLOCK)
            g, m, v, theta = (values[part] for values in flat)
            first, second = self.beta1 * m + (1 - self.beta1) * g, self.beta2 * v + (1 - self.beta2) * np.square(g)
            size = np.sqrt(second) / math.sqrt(1 - self.beta2**t) + epsilon
            with np.errstate(over="ignore", invalid="ignore"):
                kept = (1 - self.learning_rate * self.weight_decay) * theta
                new[0, part] = kept - self.learning_rate * (first / (1 - self.beta1**t)) / size
            new[1, part], new[2, part] = first, second
        parameters, first, second = new.reshape(3, *gradient.shape)
        if not _is_within(parameters, -_LARGEST, _LARGEST):
            rates = f"{self.learning_rate!r} and {self.weight_decay!r}"
            raise ValueError(
                f"learning_rate and weight_decay must be such that parameters stay <= {_LARGEST:g} in size, got {rates}"
            )
        return AdamWState(parameters=parameters, first=first, second=second, step=t)


def _checked(values: Floats, name: str, *, low: float = -_LARGEST, high: float = _LARGEST) -> Floats:
    if not isinstance(values, np.ndarray) or values.dtype != np.float64:
        kind = f"{values.dtype} array" if isinstance(values, np.ndarray) else type(values).__name__
        raise TypeError(f"{name} must be a float64 array, got {kind}")
    if not _is_within(values, low, high):
        raise ValueError(f"{name} must be finite, with entries from {low:g} to {high:g}")
    return values


def _is_within(values: Floats, low: float, high: float) -> bool:
    """Whether all entries are in [low, high]; one that is not a number is not."""
    return bool(values.min(initial=low) >= low and values.max(initial=high) <= high)
