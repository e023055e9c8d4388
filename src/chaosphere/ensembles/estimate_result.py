"""What `estimate` returns."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chaosphere.common import checks
from chaosphere.common.reprs import block, table
from chaosphere.reporting.digits import with_interval

_ABOUT = {
    "n_tokens": "tokens of the finest system",
    "n_steps": "steps of the finest system",
    "n_samples": "samples",
    "coefficient": "coefficient in the estimate",
    "mean": "mean of the difference",
    "variance": "variance of the difference",
    "value_mean": "mean of the finest system",
    "value_variance": "variance of the finest system",
    "pairs": "pair interactions of a sample",
}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class Estimate:
    """The result of `estimate`: an expectation with its interval.

    Parameters
    ----------
    value : float
        The estimate.
    low, high : float
        Ends of the 99 % interval, the bound of the bias included.
    standard_error : float
        Of the value.
    bias : float
        Bound of what the levels that took no part would add.
    cost : float
        Pair interactions of all samples.
    levels : mapping of str to ndarray
        A table of the levels, one entry for each: `n_tokens` and `n_steps` of the finest system, `n_samples`, the
        `coefficient` in the estimate, `mean` and `variance` of the difference, those of the finest system alone
        (`value_mean`, `value_variance`), and `pairs`, the pair interactions of a sample.
    attributes : mapping
        What tells this estimate from others: model, tokens, observable, tolerance, seed, versions.

    See Also
    --------
    chaosphere.estimate : Estimate an expectation.

    Examples
    --------
    >>> import chaosphere as cs
    >>> attention = cs.SoftmaxAttention(beta=1.0)
    >>> model = cs.Transformer(attention=attention, mlp=cs.MLP(width=8), depth=4, horizon=0.5)
    >>> x = cs.sample_uniform(10, 3, rng=0)
    >>> energy = cs.measures.Energy(beta=1.0)
    >>> result = cs.estimate(model, x, energy, tolerance=0.1, rng=0)
    >>> result.levels["n_steps"], result.levels["n_tokens"]
    (array([4]), array([10]))
    """

    value: float
    low: float
    high: float
    standard_error: float
    bias: float
    cost: float
    levels: Mapping[str, NDArray[Any]]
    attributes: Mapping[str, Any]

    def _rows(self) -> list[tuple[str, str]]:
        value, low, high = with_interval(self.value, low=self.low, high=self.high)
        n_samples = int(np.sum(self.levels["n_samples"]))
        n_tokens, n_steps = (int(np.max(self.levels[name])) for name in ("n_tokens", "n_steps"))
        return [
            ("value", f"{value}, 99 % interval [{low}, {high}]"),
            ("standard error", f"{self.standard_error:.2g}, bias at most {self.bias:.2g}"),
            ("levels", f"{len(self.levels['n_samples'])}, up to {n_tokens} tokens and {n_steps} steps"),
            ("cost", f"{n_samples} samples, {self.cost:.3g} pair interactions"),
        ]

    def __repr__(self) -> str:
        """Return a few lines."""
        return block("Estimate", self._rows())

    def _repr_html_(self) -> str:
        """Return a table, for notebooks."""
        return table("Estimate", self._rows())

    def to_xarray(self) -> Any:
        """Return an xarray.Dataset with the dimension level.

        Returns
        -------
        xarray.Dataset
            The table of the levels, and `value`, `low`, `high`, `standard_error`, `bias` and `cost`.

        Raises
        ------
        ImportError
            If xarray is not installed.

        See Also
        --------
        chaosphere.Solution.to_xarray : A solution as a labelled dataset.

        Examples
        --------
        >>> import chaosphere as cs
        >>> attention = cs.SoftmaxAttention(beta=1.0)
        >>> model = cs.Transformer(attention=attention, mlp=cs.MLP(width=8), depth=4, horizon=0.5)
        >>> x = cs.sample_uniform(10, 3, rng=0)
        >>> energy = cs.measures.Energy(beta=1.0)
        >>> data = cs.estimate(model, x, energy, tolerance=0.1, rng=0).to_xarray()
        >>> dict(data.sizes)
        {'level': 1}
        """
        xarray = checks.extra("xarray", "io")
        columns = {name: (("level",), array, {"long_name": _ABOUT[name]}) for name, array in self.levels.items()}
        numbers = {name: getattr(self, name) for name in ("value", "low", "high", "standard_error", "bias", "cost")}
        attributes = {
            name: json.dumps(value) if isinstance(value, dict | list) else value
            for name, value in self.attributes.items()
        }
        return xarray.Dataset(columns | numbers, attrs=attributes)
