"""What a run returns, and how it fails."""

from __future__ import annotations

import dataclasses
import json
import math
from typing import TYPE_CHECKING, Any

import numpy as np

from chaosphere.common import checks
from chaosphere.common.checks import Floats, Tokens
from chaosphere.common.errors import Picklable
from chaosphere.common.reprs import Row, block, duration, short, span, table
from chaosphere.simulation.observables import OF_CONDITION, RADIUS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_PLOTS = ("observables", "tokens", "cosines")


class SimulationError(Picklable, RuntimeError):
    """A run stopped because a token became zero or not finite, or left the sphere, or its interaction found no result.

    Parameters
    ----------
    message : str
        What happened, at which step and token.
    step : int
        The step that failed, from 0.
    last_state : ndarray
        The unit tokens before it; over ranks of MPI those that the rank owns on which it failed.

    See Also
    --------
    chaosphere.simulate : Run a model.
    chaosphere.trajectory : Iterate over a run.

    Examples
    --------
    A step of length 1 takes tokens that coincide to the origin, when each is repelled by the mean of all:

    >>> import numpy as np
    >>> import chaosphere as cs
    >>> repulsion = cs.SoftmaxAttention(beta=0.0, value_scale=-1.0)
    >>> model = cs.Transformer(attention=repulsion, mlp=None, depth=1, horizon=1.0)
    >>> try:
    ...     sol = cs.simulate(model, np.array([[1.0, 0.0], [1.0, 0.0]]), rng=0)
    ... except cs.SimulationError as error:
    ...     print(error)
    step 0 (time 0): token 0 of replica 0: x + alpha v is zero or not finite
    """

    def __init__(self, message: str, *, step: int, last_state: Tokens) -> None:
        super().__init__(message)
        self.step = step
        self.last_state = last_state


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class Solution:
    """The result of `simulate`.

    Parameters
    ----------
    times : ndarray, shape (n_times,)
        When the observables were recorded, one for each time of save_at; without save_at every step from 0 to T if
        anything is observed, else T alone. A time of save_at between two steps is labelled with the time of the step
        before it, whose state it holds; not so under the scheme "dormand-prince", which has the states at any time.
    state_times : ndarray, shape (n_states,)
        When the states were saved: `times` where there is a save_at, or T alone.
    states : ndarray, shape (n_states, N, d) or (n_states, R, N, d)
        The tokens at these times.
    final : ndarray, shape (N, d) or (R, N, d)
        The tokens at time T, or where the run stopped.
    observables : dict of ndarray
        Values of each observable, the first axis along times, of which a run may have none that it reached.
    attributes : dict
        The model, with the methods that were chosen for it, the seed, the versions of the noise streams, of chaosphere
        and of NumPy, and the instruction set, as JSON-able values.
    model : str
        The model, with the methods that were chosen for it, as it prints.
    seconds : float
        How long the call of `simulate` took; of a run that was interrupted, the last call.
    radii : ndarray, shape (n_states, N) or (n_states, R, N), or None
        The radii of the tokens in `states`; None of a model without, see `normalization` of `Transformer`.
    final_radii : ndarray, shape (N,) or (R, N), or None
        The radii at time T, or where the run stopped.
    stopped_at : float or None
        The time of the step after which the condition `until` had held for each replica, and the run stopped; None
        for a run without a condition, or that reached T before.
    hitting_times : ndarray, shape (2,) or (R, 2), or None
        Between which times the condition `until` first held: when it was called before, and when it was True. Both 0
        where it held at the start; T and infinity where it never held. None without a condition.

    See Also
    --------
    chaosphere.simulate : Run a model.
    chaosphere.CoupledRun : The solutions of a network and its limit.
    chaosphere.show_config : Print the versions and the instruction set.

    Examples
    --------
    >>> import chaosphere as cs
    >>> attention = cs.SoftmaxAttention()
    >>> model = cs.Transformer(attention=attention, mlp=None, depth=10, horizon=1.0)
    >>> x = cs.sample_uniform(50, 3, rng=0)
    >>> sol = cs.simulate(model, x, rng=0, save_at=[0.0, 0.5, 1.0])
    >>> sol.times, sol.states.shape, sol.attributes["model"]["attention"]["method"]
    (array([0. , 0.5, 1. ]), (3, 50, 3), 'direct')
    >>> print(str(sol).splitlines()[2])
      tokens       50 in dimension 3, float64
    """

    times: Floats
    state_times: Floats
    states: Tokens
    final: Tokens
    observables: dict[str, np.ndarray[Any, Any]]
    attributes: dict[str, Any]
    model: str = ""
    seconds: float = math.nan
    radii: Tokens | None = None
    final_radii: Tokens | None = None
    stopped_at: Any = None
    hitting_times: Any = None

    def _rows(self) -> list[Row]:
        replicas = [("replicas", str(len(self.final)))] if self.final.ndim == 3 else []
        n_tokens, dim = self.final.shape[-2:]
        observed = [f"{name} {short(values)}" for name, values in self.observables.items()]
        return [
            ("model", self.model),
            ("tokens", f"{n_tokens} in dimension {dim}, {self.final.dtype}"),
            *replicas,
            *([] if self.final_radii is None else [("radii", f"{_range(self.final_radii)} at the end")]),
            *([] if self.stopped_at is None else [("stopped at", f"{self.stopped_at:g}")]),
            ("times", span(self.times) if len(self.times) else "none"),
            ("states", "at these times" if self._are_states_at_times() else self._at_state_times()),
            ("observables", ", ".join(observed) or "none"),
            ("wall time", duration(self.seconds)),
        ]

    def _at_state_times(self) -> str:
        return f"at {span(self.state_times)}" if len(self.state_times) else "none"

    def __repr__(self) -> str:
        """Return a few lines: what was run, what was recorded, how long it took."""
        return block("Solution", self._rows())

    def _repr_html_(self) -> str:
        """Return a table, for notebooks."""
        return table("Solution", self._rows())

    def plot(self, kind: str | None = None, *, time: float | None = None, ax: Any = None) -> Axes:
        """Draw the run: its observables over time, or its tokens or their cosines at one time.

        Parameters
        ----------
        kind : {"observables", "tokens", "cosines"}, optional
            Default: "observables" if any were recorded, else "tokens".
        time : float, optional
            Of the tokens or cosines, one of `state_times`. Default: the final state.
        ax : matplotlib.axes.Axes, optional
            Where to draw. Default: a new figure.

        Returns
        -------
        matplotlib.axes.Axes
            With the picture.

        Raises
        ------
        ImportError
            If Matplotlib is not installed.
        TypeError, ValueError
            If an argument is out of range, or no state was saved at this time.

        See Also
        --------
        chaosphere.plot.tokens : Draw tokens.
        chaosphere.plot.observables : Draw observables over time.
        chaosphere.plot.cosines : Draw the cosines of pairs.
        chaosphere.plot.clip : Write an animation of a run.

        Examples
        --------
        >>> import chaosphere as cs
        >>> model = cs.Transformer(attention=cs.SoftmaxAttention(beta=9.0), mlp=None, depth=40, horizon=4.0)
        >>> sol = cs.simulate(model, cs.sample_uniform(100, 3, rng=0), rng=0, save_at=[0.0, 2.0, 4.0])
        >>> ax = sol.plot("tokens", time=2.0)
        """
        from chaosphere import plot

        if kind is None:
            kind = "observables" if self.observables else "tokens"
        kind = checks.choice(kind, "kind", known=_PLOTS)
        if kind == "observables":
            if time is not None:
                raise TypeError("time must not be given for observables, which are drawn at all times")
            return plot.observables(self, ax=ax)
        draw = plot.tokens if kind == "tokens" else plot.cosines
        return draw(self.final if time is None else self._state_at(time), ax=ax)

    def _state_at(self, time: float) -> Tokens:
        time = checks.number(time, "time")
        nearest = int(np.abs(self.state_times - time).argmin())
        saved = float(self.state_times[nearest])
        if not math.isclose(saved, time, rel_tol=1e-9, abs_tol=1e-12):
            raise ValueError(f"time must be one of state_times, got {time:g}; the nearest is {saved:g}")
        state: Tokens = self.states[nearest]
        return state

    def _are_states_at_times(self) -> bool:
        return np.array_equal(self.times, self.state_times)

    def to_xarray(self) -> Any:
        """Return an xarray.Dataset with dimensions time, (replica,) token, coordinate.

        States stand on a dimension state_time where their times differ from those of the observables.

        Returns
        -------
        xarray.Dataset
            The states as `x`, their radii, if the model has them, as `radius`, the observables by their names, and the
            attributes. Of a run with a condition `stopped_at`, not a number if it reached T, and `hitting_times` with
            the dimensions (replica,) hitting_times_0.

        Raises
        ------
        ImportError
            If xarray is not installed.

        See Also
        --------
        chaosphere.ensemble : Run a model for many seeds and parameters.
        chaosphere.Estimate.to_xarray : The levels of an estimate as a labelled dataset.

        Examples
        --------
        >>> import chaosphere as cs
        >>> attention = cs.SoftmaxAttention()
        >>> model = cs.Transformer(attention=attention, mlp=None, depth=10, horizon=1.0)
        >>> x = cs.sample_uniform(50, 3, rng=0)
        >>> sol = cs.simulate(model, x, rng=0, save_at=[0.0, 0.5, 1.0])
        >>> dict(sol.to_xarray().sizes)
        {'time': 3, 'token': 50, 'coordinate': 3}
        """
        xarray = checks.extra("xarray", "io")
        same = self._are_states_at_times()
        state_dim = "time" if same else "state_time"
        replica = ("replica",) if self.final.ndim == 3 else ()
        variables: dict[str, Any] = {"x": ((state_dim, *replica, "token", "coordinate"), self.states)}
        if self.radii is not None:
            variables[RADIUS] = ((state_dim, *replica, "token"), self.radii)
        for name, values in self.observables.items():
            is_per_replica = bool(replica) and values.ndim > 1 and values.shape[1] == self.final.shape[0]
            leading = ("time", *replica) if is_per_replica else ("time",)
            trailing = tuple(f"{name}_{axis}" for axis in range(values.ndim - len(leading)))
            variables[name] = (leading + trailing, values)
        if self.hitting_times is not None:
            stopped, hit, axis = OF_CONDITION
            variables[stopped] = ((), math.nan if self.stopped_at is None else self.stopped_at)
            variables[hit] = ((*replica, axis), self.hitting_times)
        coordinates = {"time": self.times} | ({} if same else {"state_time": self.state_times})
        attributes = {
            key: json.dumps(value) if isinstance(value, dict) else value for key, value in self.attributes.items()
        }
        return xarray.Dataset(variables, coords=coordinates, attrs=attributes)


def _range(values: Tokens) -> str:
    """Return the smallest and the largest value as text."""
    return f"{values.min():.3g} … {values.max():.3g}"
