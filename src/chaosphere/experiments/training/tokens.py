"""Training of networks of one size beside the limit, over numbers of tokens."""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from chaosphere.common import checks
from chaosphere.common.checks import Floats
from chaosphere.common.streams import Seed, root
from chaosphere.experiments import estimates
from chaosphere.experiments.pieces import OnStep, grow
from chaosphere.experiments.sizes import check_size
from chaosphere.experiments.training import paths
from chaosphere.reporting import netcdf
from chaosphere.reporting.claims import Claim, format_claims
from chaosphere.reporting.digits import significant

_UNIFORM = 0.1  # an exponent in N below this is none: from N = 8 to 512 it is a factor of a half more


def run(
    *,
    rng: Seed,
    dim: int = 3,
    horizon: float = 1.0,
    std: float = 1.0,
    value_scale: float = 1.0,
    mask: Literal["none", "causal"] = "none",
    normalization: Literal["post", "identity"] = "post",
    learning_rate: float = 0.03,
    token_counts: Sequence[int] = (8, 32, 128, 512),
    token_steps: Sequence[int] = (0, 1, 4),
    network_size: int = 8,
    n_token_heads: int = 64,
    n_token_replicas: int = 32,
    n_threads: int | None = None,
    store: str | os.PathLike[str] | None = None,
    on_step: OnStep = None,
) -> Any:
    """Measure E sup_ℓ (1/N) Σ |X_ℓ − X̄(ℓ/L)|² and the same of adjoints, of one network, for several N.

    The mean of the tokens is trained towards half the first unit vector.

    Parameters
    ----------
    rng : int, SeedSequence or Generator
        Replica r has its own heads, the same for every N and every number of replicas.
    dim : int
        Dimension d of the tokens.
    horizon : float
        T, time that the layers span.
    std : float
        σ of the heads at the start.
    value_scale : float
        δ, the mean of V at the start is δI.
    mask : str
        Which tokens a token sees.
    normalization : str
        N of the layers.
    learning_rate : float
        η of AdamW.
    token_counts : sequence of int
        N: at least two, increasing; tokens start i.i.d. uniform, those of a smaller N being the first of a larger.
    token_steps : sequence of int
        Steps after which network and limit are compared: increasing, from 0 on.
    network_size : int
        L = H of the network.
    n_token_heads : int
        Heads of a cell of the limit, an even number; it has as many cells as the network has layers.
    n_token_replicas : int
        Independent networks, at least 2.
    n_threads : int, optional
    store : path, optional
        NetCDF file that grows with the replicas; replicas of the same study in it are not computed again.
    on_step : callable, optional
        Called after every replica.

    Returns
    -------
    xarray.Dataset
        mean_square (replica, n_tokens, step, kind).

    Raises
    ------
    TypeError, ValueError
        If an argument is out of range, or `store` holds another study.

    Notes
    -----
    The defaults let the claims be told: 32 replicas give exponents in N to about 0.07, and heads of the limit are 8
    times those of the network. The page :doc:`/concepts/training` derives this.

    Examples
    --------
    >>> data = run(rng=0, token_counts=[4, 8], token_steps=[0, 1], network_size=2, n_token_heads=8, n_token_replicas=2)
    >>> data["mean_square"].shape
    (2, 2, 2, 2)
    """
    several: dict[str, Any] = {"dim": dim, "horizon": horizon, "std": std, "value_scale": value_scale}
    options = paths.shared_options(**several, mask=mask, normalization=normalization)
    learning_rate = checks.number(learning_rate, "learning_rate", above=0)
    steps, counts = paths.checked_steps(token_steps, "token_steps"), checks.ladder(token_counts, "token_counts")
    size = checks.integer(network_size, "network_size", low=1)
    n_heads = checks.integer(n_token_heads, "n_token_heads", low=2)
    if n_heads % 2:
        raise ValueError(f"n_token_heads must be even, got {n_heads}")
    n_replicas = checks.integer(n_token_replicas, "n_token_replicas", low=2)
    check_size(
        n_tokens=len(steps) * sum(counts) * (size + n_heads),
        dim=dim,
        n_steps=steps[-1] * size,
        n_replicas=n_replicas,
        n_layer_numbers=3 * dim**2 * size * max(size, n_heads),
    )
    sequence = root(rng)
    facts = {"options": options, "learning_rate": learning_rate, "token_counts": counts, "token_steps": steps}
    facts |= {"network_size": size, "n_token_heads": n_heads, "epsilon": paths.EPSILON}
    study = netcdf.identity(facts, sequence)
    x = paths.sequences(counts[-1], options["dim"], n_sequences=1, rng=sequence)
    threads = checks.threads(n_threads)
    settings = [
        paths.Setting(
            options=options,
            x=np.ascontiguousarray(x[:, :count]),
            learning_rate=learning_rate,
            steps=steps,
            n_threads=threads,
        )
        for count in counts
    ]

    @functools.cache
    def limit(k: int) -> paths.Path:
        return settings[k].follow(settings[k].limit(size, n_heads), paths.key(sequence, 1))

    def measure(replica: int) -> Floats:
        seed = paths.key(sequence, 2, replica)
        return np.stack(
            [
                paths.squares(setting.follow(setting.network(size, size), seed), limit(k))
                for k, setting in enumerate(settings)
            ]
        )

    return grow(
        measure,
        n_pieces=n_replicas,
        identity=study,
        to_dataset=lambda pieces: _to_dataset(pieces, identity=study),
        from_dataset=lambda dataset: list(dataset["mean_square"].values),
        store=store,
        on_step=on_step,
        n_least=2,
    )


def claims(dataset: Any) -> list[Claim]:
    """Return the exponents in N of the errors: a bound that is uniform in N has the exponent 0."""
    counts = dataset["n_tokens"].values.astype(np.float64)
    rows = []
    for kind in paths.KINDS:
        for step in dataset["step"].values:
            values = dataset["mean_square"].sel(kind=kind, step=step).values
            name = f"exponent in N of the error of {kind} after {paths.of_steps(step)}"
            rows.append(estimates.from_slope(name, (counts, values), expected=_UNIFORM, is_bound=True))
    return rows


def table(dataset: Any) -> str:
    """Return the errors for each N and the claims as text."""
    lines = [dataset.attrs["title"]]
    for kind in paths.KINDS:
        lines += ["", f"root of E sup (1/N) Σ |·|² of {kind}"]
        lines.append(f"{'':>12}" + "".join(f"{paths.of_steps(step):>12}" for step in dataset["step"].values))
        mean = np.sqrt(dataset["mean_square"].sel(kind=kind).mean("replica").values)
        for count, row in zip(dataset["n_tokens"].values, mean, strict=True):
            lines.append(f"{f'N = {count}':>12}" + "".join(f"{significant(value, n_digits=4):>12}" for value in row))
    return "\n".join([*lines, "", format_claims(claims(dataset))])


def _to_dataset(pieces: Sequence[Floats], *, identity: str) -> Any:
    study = json.loads(identity)
    size = study["network_size"]
    what = f"Training beside its limit for several N, {len(pieces)} replicas, {size} layers of {size} heads"
    return checks.extra("xarray", "io").Dataset(
        {"mean_square": (("replica", "n_tokens", "step", "kind"), np.stack(pieces))},
        coords={"n_tokens": study["token_counts"], "step": study["token_steps"], "kind": list(paths.KINDS)},
        attrs={"title": paths.title(what, study), "identity": identity},
    )
