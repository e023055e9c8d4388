"""An embedded Runge–Kutta pair on the sphere: a step of a model is refined until its error is below a tolerance."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from chaosphere.common.checks import Floats, Tokens
from chaosphere.geometry import sphere
from chaosphere.models.protocol import Inside
from chaosphere.models.schemes import SCHEMES, Flow, Scheme

_A = (
    (1 / 5,),
    (3 / 40, 9 / 40),
    (44 / 45, -56 / 15, 32 / 9),
    (19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729),
    (9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656),
)
_B = (35 / 384, 0.0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84)
_C = (1 / 5, 3 / 10, 4 / 5, 8 / 9, 1.0)
_E = (-71 / 57600, 0.0, 71 / 16695, -71 / 1920, 17253 / 339200, -22 / 525, 1 / 40)  # of the difference of the orders
# Of the powers θ … θ⁴ in the continuous extension of order 4: y(t + θh) = y + h Σ b(θ) k.
_D = (
    (1.0, -8048581381 / 2820520608, 8663915743 / 2820520608, -12715105075 / 11282082432),
    (0.0, 0.0, 0.0, 0.0),
    (0.0, 131558114200 / 32700410799, -68118460800 / 10900136933, 87487479700 / 32700410799),
    (0.0, -1754552775 / 470086768, 14199869525 / 1410260304, -10690763975 / 1880347072),
    (0.0, 127303824393 / 49829197408, -318862633887 / 49829197408, 701980252875 / 199316789632),
    (0.0, -282668133 / 205662961, 2019193451 / 616988883, -1453857185 / 822651844),
    (0.0, 40617522 / 29380423, -110615467 / 29380423, 69997945 / 29380423),
)
SAFETY, SHRINK, GROW = 0.9, 0.2, 5.0
MAX_INNER_STEPS = 1_000_000  # of one step of a model
MAX_ANGLE = 0.5  # of an inner step, so that the stages stay far from the origin


class InnerStepsError(ArithmeticError):
    """A step of a model takes more inner steps than are allowed."""


@dataclass(frozen=True)
class DormandPrince(Scheme):
    """Dormand and Prince's pair of orders 5 and 4 for y ↦ P_{LN y} Attn(LN y), whose flow keeps the sphere.

    The field has degree 0, so its slope after the projection LN is that before it, and the last stage of an inner step
    serves the next. The projection moves a token by its distance from the sphere, which is an error of the step: the
    orders remain. Each replica has inner steps of its own. They start anew in each step of the model, so that the
    tokens are the state.

    Between the ends of an inner step the pair has a continuous extension of order 4, without another evaluation
    (Hairer, Nørsett and Wanner, Solving Ordinary Differential Equations I, section II.6). It is projected, too: the
    exact solution from a token on the sphere stays there, so that the projection at most doubles its error.
    """

    tolerance: float | None = None  # 1e-8, and 1e-5 for float32
    order = 5
    strong_order = None
    weak_order = None
    evaluations = 7

    def step(self, x: Any, flow: Flow) -> Any:
        """Return the tokens at the end of the step."""
        if flow.recorder is not None:
            raise TypeError("its inner steps depend on the tokens")
        return self.refine(x, flow)[0]

    def refine(
        self,
        x: Tokens,
        flow: Flow,
        *,
        start: float = 0.0,
        stop: Callable[[Tokens], bool] | None = None,
        inside: Inside | None = None,
    ) -> tuple[Tokens, float | None]:
        """Return the tokens at the end and None, or where `stop` first holds, and the time since the start."""
        tolerance = tolerance_of(self.tolerance, x.dtype)
        return integrate(x, flow, tolerance=tolerance, start=start, stop=stop, inside=inside)


def tolerance_of(tolerance: float | None, dtype: Any) -> float:
    """Return the tolerance for tokens of a type.

    Raises
    ------
    ValueError
        If it is below what rounding allows.
    """
    is_single = bool(dtype == np.float32)
    if tolerance is None:
        return 1e-5 if is_single else 1e-8
    if is_single and tolerance < 1e-6:
        raise ValueError(f"tolerance must be at least 1e-6 for tokens of float32, got {tolerance:g}")
    return tolerance


def integrate(
    x: Tokens,
    flow: Flow,
    *,
    tolerance: float,
    start: float = 0.0,
    stop: Callable[[Tokens], bool] | None = None,
    inside: Inside | None = None,
) -> tuple[Tokens, float | None]:
    """Return the tokens (R, N, d) after a step of a model, each inner step with an error below a tolerance.

    The error of an inner step is the largest, over the tokens, of the distance between the two orders. What is inside
    the step does not change the inner steps.

    Raises
    ------
    InnerStepsError
        If there are too many inner steps.
    """
    n_replicas, duration = len(x), flow.step_size
    times, last_errors = [start] * n_replicas, [1.0] * n_replicas
    slope = _slope(x, flow, times)
    sizes = [min(duration, _first_step(size, tolerance)) for size in _sizes(slope)]
    sizes_of_slope = _sizes(slope)
    n_inner_steps = 0
    while any(time < duration for time in times):
        n_inner_steps += 1
        if n_inner_steps > MAX_INNER_STEPS:
            raise InnerStepsError(
                f"more than {MAX_INNER_STEPS} inner steps, as where a cluster lasts for long; merge clusters by "
                "coalesce, or take a larger tolerance or more steps"
            )
        steps = []
        for time, size, speed in zip(times, sizes, sizes_of_slope, strict=True):
            longest = min(size, MAX_ANGLE / speed if speed > 0 else duration)
            # The last two steps are of one length, so that none is cut to almost nothing.
            left = duration - time
            steps.append(left if longest >= left else min(longest, left / 2) if longest > left / 2 else longest)
        h = np.array(steps)[:, None, None].astype(x.dtype)
        slopes = [slope]
        for row, node in zip(_A, _C, strict=True):
            stage = _moved(x, h, slopes, row, flow.n_threads)
            slopes.append(_slope(stage, flow, [t + node * s for t, s in zip(times, steps, strict=True)]))
        end = _moved(x, h, slopes, _B, flow.n_threads)
        slopes.append(_slope(end, flow, [t + s for t, s in zip(times, steps, strict=True)]))
        errors = [size / tolerance for size in _sizes(h * _combined(slopes, _E))]
        is_taken = np.zeros((n_replicas, 1, 1), dtype=bool)
        for r, (error, step) in enumerate(zip(errors, steps, strict=True)):
            if times[r] >= duration:
                continue
            if error <= 1 or step <= 4 * math.ulp(times[r]):
                is_taken[r] = True
                before = times[r]
                times[r] = duration if step >= duration - times[r] else times[r] + step
                factor = SAFETY * max(error, 1e-12) ** (-0.7 / 5) * last_errors[r] ** (0.4 / 5)
                last_errors[r] = max(error, 1e-4)
                sizes[r] = step * min(GROW, max(SHRINK, factor))
                if inside is not None:
                    only = slice(r, r + 1)
                    _fill(
                        inside,
                        only,
                        x=x[only],
                        slopes=[k[only] for k in slopes],
                        span=(before, times[r], step),
                        flow=flow,
                    )
            else:
                sizes[r] = step * max(SHRINK, SAFETY * error**-0.2)
        x = np.where(is_taken, end, x)
        slope = np.where(is_taken, slopes[-1], slope)
        sizes_of_slope = _sizes(slope)
        if stop is not None and is_taken.any() and times[0] < duration and stop(x):
            return x, times[0]
    return x, None


def _fill(
    inside: Inside, only: slice, *, x: Tokens, slopes: Sequence[Tokens], span: tuple[float, float, float], flow: Flow
) -> None:
    """Fill in one replica at the times within an inner step, which has a start, an end and a length."""
    before, after, step = span
    h = np.full((1, 1, 1), step, dtype=x.dtype)
    for k in np.flatnonzero((inside.times > before) & (inside.times <= after)):
        share = (float(inside.times[k]) - before) / step
        row = [share * (a + share * (b + share * (c + share * d))) for a, b, c, d in _D]
        inside.states[k, only] = _moved(x, h, slopes, row, flow.n_threads)


def _slope(x: Tokens, flow: Flow, times: Sequence[float]) -> Tokens:
    """Return P_x Attn at the time of each replica, from the start of the step."""
    interaction = flow.interaction
    assert interaction is not None
    if interaction.at(0.0, step=0) is interaction:
        return interaction.tangential_drift(x, n_threads=flow.n_threads)
    result = np.empty_like(x)
    for time in sorted(set(times)):
        mine = np.array(times) == time
        plan = interaction.at(flow.time + time, step=flow.step)
        result[mine] = plan.tangential_drift(x[mine], n_threads=flow.n_threads)
    return result


def _combined(slopes: Sequence[Tokens], coefficients: Sequence[float]) -> Floats:
    """Return Σ c k, term by term, so that the bits depend on nothing else."""
    total = np.zeros_like(slopes[0])
    for c, k in zip(coefficients, slopes, strict=True):
        if c != 0:
            total += c * k
    return total


def _moved(x: Tokens, h: Floats, slopes: Sequence[Tokens], row: Sequence[float], n_threads: int) -> Tokens:
    """Return LN(x + h Σ a k)."""
    return sphere.layer_norm_step(x, h * _combined(slopes, row), 1.0, n_threads)


def _sizes(v: Tokens) -> list[float]:
    """Return the largest norm of the vectors of each replica."""
    squares: list[float] = (v * v).sum(axis=2).max(axis=1).tolist()
    return [math.sqrt(square) for square in squares]


def _first_step(speed: float, tolerance: float) -> float:
    """Return a step in which tokens of this speed move by the fifth root of the tolerance."""
    return tolerance**0.2 / speed if speed > 0 else math.inf


SCHEMES["dormand-prince"] = DormandPrince()
