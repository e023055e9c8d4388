"""Table 1 of arXiv:2604.26898: the covariance kernel at u = 1 and the exponents it gives."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from chaosphere.common import checks
from chaosphere.common.checks import Floats
from chaosphere.experiments.pieces import OnStep, grow
from chaosphere.noise.mlp import MLP

ACTIVATIONS = ("relu", "sigmoid", "tanh", "silu")
DIMS = (5, 64, 128)
BIASES = (0.0, 0.1)
EXPONENTS = ("kappa", "kappa_derivative", "lyapunov_exponent", "lambda_bar")


def table(
    *,
    activations: Sequence[str] = ACTIVATIONS,
    dims: Sequence[int] = DIMS,
    bias_stds: Sequence[float] = BIASES,
    store: str | os.PathLike[str] | None = None,
    on_step: OnStep = None,
) -> Any:
    """Return κ(1), κ′(1), λ1 and λ̄ for σ_U = σ_W = σ: Table 1 with the default arguments.

    Parameters
    ----------
    activations : sequence of str
        φ: relu, tanh, erf or another by name (an unknown name lists them).
    dims : sequence of int
        Dimensions d of the tokens.
    bias_stds : sequence of float
        σ, standard deviation of the inner and of the outer biases.
    store : path, optional
        NetCDF file that grows with the activations; those of the same table in it are not computed again.
    on_step : callable, optional
        Called after every activation.

    Returns
    -------
    xarray.Dataset
        kappa, kappa_derivative, lyapunov_exponent, lambda_bar (activation, dim, bias_std).

    Raises
    ------
    TypeError, ValueError
        If an argument is out of range, or `store` holds another table.

    Examples
    --------
    >>> data = table(dims=[5], bias_stds=[0.0], activations=["relu"])
    >>> round(float(data["lyapunov_exponent"].item()), 12)
    -0.1
    """
    dims = [checks.integer(dim, "dims", low=2) for dim in checks.distinct(dims, "dims")]
    bias_stds = [checks.number(bias, "bias_stds", low=0) for bias in checks.distinct(bias_stds, "bias_stds")]
    activations = checks.distinct(activations, "activations")
    identity = json.dumps({"activations": activations, "dims": dims, "bias_stds": bias_stds})

    def measure(index: int) -> Floats:
        rows = np.empty((len(EXPONENTS), len(dims), len(bias_stds)))
        for i, dim in enumerate(dims):
            for j, bias in enumerate(bias_stds):
                law = MLP(width=1, activation=activations[index], bias_std=bias, output_bias_std=bias)
                kernel = law.kernel(dim)
                rows[:, i, j] = (
                    kernel(1.0),
                    kernel.derivative(1.0),
                    kernel.lyapunov_exponent(),
                    kernel.lambda_bar(),
                )
        return rows

    def to_dataset(pieces: Sequence[Floats]) -> Any:
        return checks.extra("xarray", "io").Dataset(
            {
                name: (("activation", "dim", "bias_std"), values)
                for name, values in zip(EXPONENTS, np.stack(pieces, axis=1), strict=True)
            },
            coords={"activation": activations[: len(pieces)], "dim": dims, "bias_std": bias_stds},
            attrs={"identity": identity},
        )

    return grow(
        measure,
        n_pieces=len(activations),
        identity=identity,
        to_dataset=to_dataset,
        from_dataset=lambda dataset: list(np.stack([dataset[name].values for name in EXPONENTS], axis=1)),
        store=store,
        on_step=on_step,
    )
