"""What all solvers for densities ask: whether modes, steps and noise resolve the density."""

from __future__ import annotations

from typing import Any

from chaosphere.common import messages
from chaosphere.common.errors import Picklable
from chaosphere.interactions.circle import PartitionError
from chaosphere.models.sde import LimitSDE
from chaosphere.noise.gaussian import GaussianField

# A density is resolved while its modes above ¾ n_modes stay below this.
LARGEST_TAIL = 1e-6
MIN_MODES = 128  # that set the substeps: with fewer accuracy decides
_MAX_SUBSTEPS = 2**24  # of a step: a quarter of an hour at the least


class UnresolvedDensityError(Picklable, ValueError):
    """A density has become too steep for its number of modes.

    Parameters
    ----------
    message : str
        What happened, and what to do.
    step : int
        Steps made when it was found, 0 for the initial law.
    n_modes : int
        A larger number of modes to use.

    See Also
    --------
    chaosphere.CircleDensity : The mean-field limit on the circle, solved for its density.
    chaosphere.CircleDensity.solve : Run from the initial law.
    chaosphere.AxisymmetricDensity : The mean-field limit of densities that are symmetric about an axis.
    chaosphere.AxisymmetricDensity.solve : Run from the initial law.
    chaosphere.SphereDensity : The mean-field limit on S², solved for its density.
    chaosphere.SphereDensity.solve : Run from the initial law, or resume.

    Examples
    --------
    >>> import chaosphere as cs
    >>> attention = cs.SoftmaxAttention()
    >>> model = cs.LimitSDE(attention=attention, field=None, horizon=1.0, n_steps=10)
    >>> law = cs.laws.VonMisesFisher(mean_direction=(1.0, 0.0), concentration=100.0)
    >>> try:
    ...     cs.CircleDensity(model=model, law=law, n_modes=16).solve(rng=0)
    ... except cs.UnresolvedDensityError as error:
    ...     error.step, error.n_modes
    (0, 128)
    """

    def __init__(self, message: str, *, step: int, n_modes: int) -> None:
        super().__init__(message)
        self.step = step
        self.n_modes = n_modes


def check_substeps(n_substeps: float, *, max_speed: float) -> None:
    """Raise ValueError if the drift is so fast that a step takes too many substeps."""
    if not n_substeps <= _MAX_SUBSTEPS:
        raise ValueError(
            f"model must have attention that takes at most {_MAX_SUBSTEPS} substeps a step, got {n_substeps:.3g}: "
            f"its drift may reach {max_speed:.3g}; scale it down, or raise n_steps"
        )


def check_field(field: Any, *, dim: int, surface: str, n_points: int) -> None:
    """Raise ValueError unless a field is None, or a function of position on the sphere of this dimension."""
    if field is None:
        return
    if not isinstance(field, GaussianField):
        raise ValueError(
            f"model must have a GaussianField or no field, got {messages.shown(field)}: its modes make the noise"
        )
    if field.kernel.dim != dim:
        raise ValueError(f"model must have a field whose kernel has dim {dim}, {surface}; got {field.kernel.dim}")
    if field.resolve(n_points).method == "dense":
        raise ValueError("model must have a field that is a function of position, got method 'dense'")


def unresolved(model: LimitSDE, n_modes: int, *, step: int, what: str, factor: int = 2) -> UnresolvedDensityError:
    """Return the error of a density after some steps; `factor` times as many modes may resolve it."""
    time, enough = step * model.horizon / model.n_steps, factor * n_modes
    return UnresolvedDensityError(
        f"n_modes = {n_modes} does not resolve the density after step {step} (time {time:g}): {what}; use "
        f"n_modes = {enough} or more",
        step=step,
        n_modes=enough,
    )


def without_partition(model: LimitSDE, n_modes: int, *, step: int, error: PartitionError) -> ValueError:
    """Return the error of a density whose partition function has a zero: it is not resolved, or lost to rounding."""
    if not error.is_rounding:
        return unresolved(model, n_modes, step=step, what="its partition function loses its sign")
    return ValueError(
        f"beta = {error.beta:g} is too large for this density: attention is lost to rounding where "
        "there is next to no mass; lower it, or use MeanField"
    )
