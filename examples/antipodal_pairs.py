"""How fast antipodal pairs of tokens turn into one point under a random quadratic form and a weak force.

The noise is W(x) = A x + γ g with a symmetric Gaussian matrix A and a Gaussian vector g, both white in time: its
covariance is κ(u) I + η(u) y xᵀ with κ = u + γ², η = 1. For γ = 0 the field is odd, and half of all pairs become
antipodal and stay so. A weak force g frees them: as γ → 0 at the rate (4/π) γ/B((d − 1)/2, ½) (arXiv:2608.16664).

A notebook in cells (`# %%`): run it whole with `python examples/antipodal_pairs.py`, or cell by cell in an editor that
knows the marks. `--quick` takes small sizes. It writes antipodal_pairs.png into `--out DIR`.
"""

# %% Sizes
import argparse
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from scipy.special import beta

import chaosphere as cs

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--quick", action="store_true", help="small sizes")
parser.add_argument("--out", type=Path, default=Path(__file__).parent, metavar="DIR")
options = parser.parse_args()
dims, gammas = ([3], [0.2, 0.1]) if options.quick else ([2, 3, 6], [0.2, 0.1, 0.05])
n_pairs, step, n_times = (400, 0.05, 7) if options.quick else (2000, 0.01, 13)
BURN_IN = 8.0  # what decays faster has gone by then: the next rate of the generator of two tokens is above 0.27


# %% The noise, and what is known: the rate in the limit, and the exact one from the equation of two tokens
def noise(dim, gamma):
    """Return the kernel of W(x) = A x + γ g."""
    return cs.CovarianceKernel.from_function(lambda u: u + gamma**2, dim=dim, derivative=np.ones_like, eta=np.ones_like)


def limit(dim, gamma):
    """Return the rate as γ → 0."""
    return 4 / np.pi * gamma / beta((dim - 1) / 2, 0.5)


# %% Antipodal pairs, each under a noise of its own: how many are more than a right angle away from each other
def survival(dim, gamma):
    """Return times after the burn-in, and the pairs that have not come together by then, shape (n_times, n_pairs)."""
    times = BURN_IN + np.linspace(0.0, 1.2 / limit(dim, gamma), n_times)
    n_steps = int(np.ceil(times[-1] / step))
    model = cs.LimitSDE(
        attention=None,
        field=cs.GaussianField(kernel=noise(dim, gamma)),
        horizon=times[-1],
        n_steps=n_steps,
    )
    pair = np.zeros((n_pairs, 2, dim))
    pair[:, 0, 0], pair[:, 1, 0] = 1.0, -1.0
    save_at = np.round(times / times[-1] * n_steps) * times[-1] / n_steps
    run = cs.simulate(model, pair, rng=dim, save_at=save_at)
    return run.state_times, np.einsum("tra,tra->tr", run.states[:, :, 0], run.states[:, :, 1]) < 0


def rate(times, is_opposite):
    """Return the rate of decay between the first and the last time, and its standard error."""
    first, last = is_opposite[0].sum(), is_opposite[-1].sum()
    span = times[-1] - times[0]
    return np.log(first / last) / span, np.sqrt(1 / last - 1 / first) / span


# %% The picture: pairs over time, and their rate against γ
canvas = Figure(figsize=(7.2, 3.0), layout="constrained")
left, right = canvas.subplots(1, 2)
grid = np.geomspace(0.3 * gammas[-1], 1.3 * gammas[0], 60)
for dim, color in zip(dims, ["#0072b2", "#d55e00", "#009e73"], strict=False):
    rates, errors = [], []
    for gamma in gammas:
        times, is_opposite = survival(dim, gamma)
        value, error = rate(times, is_opposite)
        exact = noise(dim, gamma).energy_decay_rate().rate
        print(
            f"d = {dim}, γ = {gamma:5.3f}: rate {value:.4f} ± {error:.4f}, exact {exact:.4f}, "
            f"as γ → 0 {limit(dim, gamma):.4f}"
        )
        assert abs(value - exact) < 5 * error + 0.05 * exact
        rates.append(value)
        errors.append(error)
        if dim == 3:
            shade = str(0.7 * (1 - gammas.index(gamma) / len(gammas)))
            left.semilogy(times, is_opposite.mean(axis=1), "o-", color=shade, markersize=3, label=f"γ = {gamma:g}")
    right.errorbar(gammas, rates, yerr=2 * np.array(errors), fmt="o", color=color, markersize=4, label=f"d = {dim}")
    right.loglog(grid, [noise(dim, gamma).energy_decay_rate().rate for gamma in grid], color=color, linewidth=1)
    right.loglog(grid, limit(dim, grid), "--", color=color, linewidth=0.8)
left.set(xlabel="time", ylabel="share of pairs beyond a right angle")
left.set_title("d = 3", fontsize=9)
left.set_yticks([0.1, 0.2, 0.5], ["0.1", "0.2", "0.5"])
left.minorticks_off()
left.legend(fontsize=7, frameon=False)
right.plot([], [], color="0.3", linewidth=1, label="exact")
right.plot([], [], "--", color="0.3", linewidth=0.8, label="limit γ → 0")
right.set(xlabel="γ", ylabel="rate")
right.set_xticks(gammas, [f"{gamma:g}" for gamma in gammas])
right.minorticks_off()
right.legend(fontsize=7, frameon=False)
canvas.savefig(options.out / "antipodal_pairs.png", dpi=200)
