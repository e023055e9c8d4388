"""Training of networks over a grid of L and H beside the limit."""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np

from chaosphere import stats
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

# Of the mean square of the limit at half resolution to that of the largest network. At full resolution it is a quarter,
# as that has four times as many heads: a tenth changes an exponent over three doublings by 0.02.
_OWN = 0.4


class _Piece(NamedTuple):
    mean_square: Floats  # (depth, heads, step, kind)
    loss: Floats  # (depth, heads, iteration)
    final: Floats  # (depth, heads, sequence, token, coordinate)
    limit_loss: Floats  # (resolution, iteration)
    limit_square: Floats  # (step, kind)


def run(
    *,
    rng: Seed,
    dim: int = 3,
    n_tokens: int = 32,
    n_sequences: int = 2,
    horizon: float = 1.0,
    std: float = 1.0,
    value_scale: float = 1.0,
    mask: Literal["none", "causal"] = "none",
    normalization: Literal["post", "identity"] = "post",
    learning_rate: float = 0.03,
    steps: Sequence[int] = (0, 1, 4, 16),
    sizes: Sequence[int] = (4, 8, 16, 32),
    n_limit_heads: int = 512,
    n_replicas: int = 64,
    n_threads: int | None = None,
    store: str | os.PathLike[str] | None = None,
    on_step: OnStep = None,
) -> Any:
    """Measure E sup_ℓ (1/BN) Σ |X_ℓ − X̄(ℓ/L)|² and the same of adjoints, over a grid of L and H.

    The mean of the tokens of sequence b is trained towards half the b-th unit vector.

    Parameters
    ----------
    rng : int, SeedSequence or Generator
        Replica r has its own heads, the same for every number of replicas; all have the same tokens.
    dim : int
        Dimension d of the tokens.
    n_tokens : int
        Number N of tokens, which start i.i.d. uniform.
    n_sequences : int
        Number B of sequences.
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
    steps : sequence of int
        Steps after which networks and limit are compared: increasing, from 0 on.
    sizes : sequence of int
        Numbers of layers and of heads: at least two, increasing; each divides the largest.
    n_limit_heads : int
        Heads of a cell of the limit, a multiple of 4; it has as many cells as the deepest network has layers.
    n_replicas : int
        Independent networks of each size, at least 2 and even.
    n_threads : int, optional
    store : path, optional
        NetCDF file that grows with the replicas; replicas of the same study in it are not computed again.
    on_step : callable, optional
        Called after every replica.

    Returns
    -------
    xarray.Dataset
        mean_square (replica, depth, heads, step, kind); loss (replica, depth, heads, iteration); limit_loss
        (resolution, iteration), of the limit and of one with half the cells and heads; limit_square (step, kind), how
        far these two are apart; fluctuation (pair, depth, heads), half the mean square between the final tokens of two
        replicas before training.

    Raises
    ------
    TypeError, ValueError
        If an argument is out of range, or `store` holds another study.

    Notes
    -----
    The defaults let the claims be told: 64 replicas give exponents along L = H to about 0.1, where the bound and the
    orders before training differ by 1/6, and the heads of the limit are 16 times those of the largest network. The
    page :doc:`/concepts/training` derives this.

    Examples
    --------
    >>> data = run(rng=0, n_tokens=4, steps=[0, 1], sizes=[2, 4], n_limit_heads=8, n_replicas=2)
    >>> data["mean_square"].shape
    (2, 2, 2, 2, 2)
    """
    several: dict[str, Any] = {"dim": dim, "horizon": horizon, "std": std, "value_scale": value_scale}
    options = paths.shared_options(**several, mask=mask, normalization=normalization)
    n_tokens, n_sequences = (
        checks.integer(n_tokens, "n_tokens", low=1),
        checks.integer(n_sequences, "n_sequences", low=1),
    )
    learning_rate = checks.number(learning_rate, "learning_rate", above=0)
    steps, sizes = paths.checked_steps(steps, "steps"), checks.ladder(sizes, "sizes")
    if any(sizes[-1] % size for size in sizes) or sizes[-1] % 2:
        raise ValueError(f"sizes must divide the largest, an even number; got {list(sizes)}")
    n_limit_heads = checks.integer(n_limit_heads, "n_limit_heads", low=4)
    if n_limit_heads % 4:
        raise ValueError(f"n_limit_heads must be a multiple of 4, got {n_limit_heads}")
    n_replicas = checks.integer(n_replicas, "n_replicas", low=2)
    if n_replicas % 2:
        raise ValueError(f"n_replicas must be even, got {n_replicas}: fluctuations are taken between pairs")
    n_paths = len(steps) * n_sequences * n_tokens * sizes[-1]
    check_size(
        n_tokens=n_paths,
        dim=dim,
        n_steps=steps[-1] * sizes[-1],
        n_replicas=n_replicas,
        n_layer_numbers=3 * dim**2 * sizes[-1] * max(sizes[-1], n_limit_heads),
        n_results=n_replicas * len(sizes) ** 2 * (n_sequences * n_tokens * dim + steps[-1]),
    )
    sequence = root(rng)
    facts = {"options": options, "n_tokens": n_tokens, "n_sequences": n_sequences, "learning_rate": learning_rate}
    facts |= {"steps": steps, "sizes": sizes, "n_limit_heads": n_limit_heads, "epsilon": paths.EPSILON}
    study = netcdf.identity(facts, sequence)
    setting = paths.Setting(
        options=options,
        x=paths.sequences(n_tokens, options["dim"], n_sequences=n_sequences, rng=sequence),
        learning_rate=learning_rate,
        steps=steps,
        n_threads=checks.threads(n_threads),
    )

    @functools.cache
    def limits() -> tuple[paths.Path, paths.Path]:
        cells, heads = sizes[-1], n_limit_heads
        both = setting.limit(cells, heads), setting.limit(cells // 2, heads // 2)
        fine, coarse = (setting.follow(limit, paths.key(sequence, 1, k)) for k, limit in enumerate(both))
        return fine, coarse

    def measure(replica: int) -> _Piece:
        fine, coarse = limits()
        rows = []
        for depth in sizes:
            for n_heads in sizes:
                path = setting.follow(setting.network(depth, n_heads), paths.key(sequence, 2, replica, depth, n_heads))
                rows.append((paths.squares(path, fine), path.losses, path.states[0, -1]))
        square, loss, final = (
            np.stack(values).reshape(len(sizes), len(sizes), *values[0].shape) for values in zip(*rows, strict=True)
        )
        both = np.stack([fine.losses, coarse.losses])
        return _Piece(square, loss, final, both, paths.squares(coarse, fine))

    return grow(
        measure,
        n_pieces=n_replicas,
        identity=study,
        to_dataset=lambda pieces: _to_dataset(pieces, identity=study),
        from_dataset=_from_dataset,
        store=store,
        on_step=on_step,
        n_least=2,
    )


def claims(dataset: Any) -> list[Claim]:
    """Return the exponents along L = H beside that of the bound, and those of the fluctuations before training."""
    sizes = dataset["depth"].values.astype(np.float64)
    rows = []
    for kind in paths.KINDS:
        for step in dataset["step"].values:
            name = f"exponent along L = H of the error of {kind} after {paths.of_steps(step)}"
            values = diagonal(dataset["mean_square"].sel(kind=kind, step=step).values)
            rows.append(estimates.from_slope(name, (sizes, values), expected=paths.BOUND, is_bound=True))
    for kind in paths.KINDS:
        step, last = dataset["step"].values[-1], dataset["mean_square"].sel(kind=kind).values[..., -1]
        what = f"of the error of {kind} after {paths.of_steps(step)}"
        # At fixed H the bound is of order L^(-1/3), at fixed L of order one.
        name = f"exponent in L at H = {dataset['heads'].values[-1]} {what}"
        rows.append(estimates.from_slope(name, (sizes, last[:, :, -1]), expected=paths.BOUND_IN_DEPTH, is_bound=True))
        name = f"exponent in H at L = {dataset['depth'].values[-1]} {what}"
        rows.append(estimates.from_interval(name, stats.exponent_interval(sizes, last[:, -1]), expected=None))
    name = "exponent along L = H of the largest error of the loss"
    rows.append(
        estimates.from_slope(name, (sizes, diagonal(loss_squares(dataset))), expected=paths.BOUND, is_bound=True)
    )
    units = np.multiply.outer(sizes, sizes).ravel()
    values = dataset["fluctuation"].values
    if len(values) > 1:
        ladder = units, values.reshape(len(values), -1)
        rows.append(estimates.from_slope("exponent in L H of the fluctuations before training", ladder, expected=-0.5))
    for kind in paths.KINDS:
        last = dataset["mean_square"].sel(kind=kind).values[:, -1, -1, -1]
        own = np.full_like(last, float(dataset["limit_square"].sel(kind=kind)[-1]))
        name = f"half resolution of the limit: mean square of its {kind} over that of the largest network"
        rows.append(estimates.from_interval(name, stats.ratio_interval(own, last), expected=_OWN, is_bound=True))
    return rows


def table(dataset: Any) -> str:
    """Return the errors along L = H and the claims as text."""
    lines = [dataset.attrs["title"]]
    for kind in paths.KINDS:
        lines += ["", f"root of E sup (1/BN) Σ |·|² of {kind} along L = H"]
        lines.append(f"{'':>12}" + "".join(f"{paths.of_steps(step):>12}" for step in dataset["step"].values))
        mean = np.sqrt(diagonal(dataset["mean_square"].sel(kind=kind).values).mean(axis=0))
        for size, row in zip(dataset["depth"].values, mean, strict=True):
            lines.append(f"{f'L = H = {size}':>12}" + "".join(f"{significant(value, n_digits=4):>12}" for value in row))
    return "\n".join([*lines, "", format_claims(claims(dataset))])


def diagonal(values: Floats) -> Floats:
    """Return values (replica, depth, heads, ...) along L = H, (replica, size, ...)."""
    return np.moveaxis(np.diagonal(values, axis1=1, axis2=2), -1, 1)


def loss_squares(dataset: Any) -> Floats:
    """Return the largest square of the error of the loss over a training, (replica, depth, heads)."""
    return np.asarray(np.square(dataset["loss"].values - dataset["limit_loss"].values[0]).max(axis=-1))


def _to_dataset(pieces: Sequence[_Piece], *, identity: str) -> Any:
    study = json.loads(identity)
    square, loss, final = (np.stack([piece[k] for piece in pieces]) for k in range(3))
    n_pairs = len(pieces) // 2
    gap = final[0 : 2 * n_pairs : 2] - final[1 : 2 * n_pairs : 2]
    names = ("replica", "depth", "heads")
    what = f"Training beside its limit, {len(pieces)} replicas, B = {study['n_sequences']}, N = {study['n_tokens']}"
    return checks.extra("xarray", "io").Dataset(
        {
            "mean_square": ((*names, "step", "kind"), square),
            "loss": ((*names, "iteration"), loss),
            "final": ((*names, "sequence", "token", "coordinate"), final),
            "fluctuation": (("pair", "depth", "heads"), 0.5 * np.square(gap).sum(axis=-1).mean(axis=(-2, -1))),
            "limit_loss": (("resolution", "iteration"), pieces[0].limit_loss),
            "limit_square": (("step", "kind"), pieces[0].limit_square),
        },
        coords={
            "depth": study["sizes"],
            "heads": study["sizes"],
            "step": study["steps"],
            "kind": list(paths.KINDS),
            "iteration": np.arange(loss.shape[-1]),
        },
        attrs={"title": paths.title(what, study), "identity": identity},
    )


def _from_dataset(dataset: Any) -> list[_Piece]:
    loss, square = dataset["limit_loss"].values, dataset["limit_square"].values
    own = (dataset[name].values for name in ("mean_square", "loss", "final"))
    return [
        _Piece(mean_square=squares, loss=losses, final=final, limit_loss=loss, limit_square=square)
        for squares, losses, final in zip(*own, strict=True)
    ]
