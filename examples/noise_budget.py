"""How much noise it takes to synchronize tokens against a repulsion that fades, by a given time.

Noise of strength s(t) has the budget ∫ s² dt. The synchronization theorem bounds the mean energy at time T by a factor
exp(∫ 2|δ| dt + λ̄′ ∫ s² dt), in which the schedule of the noise counts by its budget alone. The least budget for which
the bound meets a target follows. Runs then show the mean energy under three schedules of this budget, and at the end of
runs with other budgets.

A notebook in cells (`# %%`): run it whole with `python examples/noise_budget.py`, or cell by cell in an editor that
knows the marks. `--quick` takes small sizes. It writes noise_budget.png into `--out DIR`.
"""

# %% Sizes
import argparse
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from scipy.integrate import quad
from scipy.optimize import brentq

import chaosphere as cs

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--quick", action="store_true", help="small sizes")
parser.add_argument("--out", type=Path, default=Path(__file__).parent, metavar="DIR")
options = parser.parse_args()
depth, n_replicas, n_tokens = (120, 32, 8) if options.quick else (600, 256, 24)
horizon, beta, dim, target = 6.0, 0.5, 16, 1e-3  # target: the energy at time T over that at time 0


# %% A repulsion that fades, and layers whose noise brings tokens together
def value_scale(t: float) -> float:
    """Return δ at a time."""
    return float(-np.exp(-t / 3))


attention = cs.SoftmaxAttention(beta=beta, value_scale=value_scale)
mlp = cs.MLP(width=32, activation="sigmoid")
kernel = mlp.kernel(dim)

# %% What attention alone may add to the logarithm of the energy, and what a unit of the budget takes off
growth = quad(lambda t: attention.at(t).energy_growth(beta).growth, 0.0, horizon)[0]
rate = kernel.dissipation_rate(beta)  # λ̄′, at the β of the attention
budget = (growth + np.log(1 / target)) / -rate
print(f"∫ 2|δ| = {growth:.3f}, λ̄′ = {rate:.3f}: the least budget by the bound is {budget:.3f}")


# %% Near consensus the law of a distance is known: the budget for which it falls enough in 99 of 100 runs
def quantile(total: float) -> float:
    """Return the 99 % quantile of log(|X − Y|_T/|X − Y|_0)."""
    mean, variance = cs.theory.log_distance_law(
        kernel, horizon=horizon, noise_scale=np.sqrt(total / horizon), value_scale=value_scale
    )
    return mean + 2.326 * float(np.sqrt(variance))


of_clusters = brentq(lambda total: quantile(total) - 0.5 * np.log(target), 0.0, 10 * budget)
print(f"for the distance of two close tokens in 99 % of the runs: {of_clusters:.3f}")


# %% Schedules of one budget: steady noise, noise that fades with the repulsion, and noise that sets in late
times = (np.arange(depth) + 0.5) * horizon / depth
shapes = {
    "steady": np.ones(depth),
    "fades with the repulsion": np.exp(-times / 3),
    "sets in at half time": np.where(times < horizon / 2, 0.2, 1.8),
}
x = cs.sample_uniform(n_tokens, dim, rng=0, n_replicas=n_replicas)


def strengths(shape: np.ndarray, total: float) -> np.ndarray:
    """Return s for every layer, from the shape of s² and a budget."""
    return np.sqrt(shape * total / (shape.mean() * horizon))


def energies(shape: np.ndarray, total: float) -> cs.Solution:
    """Return runs under noise of a shape and a budget, with their energies."""
    model = cs.Transformer(
        attention=attention, mlp=mlp, depth=depth, horizon=horizon, noise_scale=strengths(shape, total)
    )
    observe = {"energy": cs.measures.Energy(beta=beta)}
    return cs.simulate(model, x, rng=1, observe=observe, save_states=False)


runs = {name: energies(shape, budget) for name, shape in shapes.items()}

# %% The mean energy at the end of runs of other budgets, with its 99 % interval, if not too few runs carry the mean
shares = np.array([0.2, 0.35, 0.5, 0.65, 0.8, 1.0])
ends = []
for share in shares:
    energy = energies(shapes["steady"], share * budget).observables["energy"]
    mean, low, high = (float(v) for v in cs.stats.mean_interval(energy[-1] / energy[0].mean(), at_least=0))
    ends.append((mean, low, high))
    print(f"budget {share * budget:6.3f}: energy at T over that at 0: {mean:.2e} in [{low:.2e}, {high:.2e}]")

# %% The picture
colours = ("#0072b2", "#d55e00", "#009e73")
canvas = Figure(figsize=(11.0, 3.0), layout="constrained")
left, middle, right = canvas.subplots(1, 3)
grid = np.linspace(0.0, horizon, depth + 1)
repelled = np.array([quad(lambda t: -2 * value_scale(t), 0.0, t)[0] for t in grid])
for colour, (name, shape) in zip(colours, shapes.items(), strict=True):
    left.plot(times, strengths(shape, budget), color=colour, label=name)
    energy = runs[name].observables["energy"].mean(axis=1)
    middle.semilogy(runs[name].times, energy / energy[0], color=colour)
    spent = np.append(0.0, np.cumsum(strengths(shape, budget) ** 2) * horizon / depth)
    middle.semilogy(grid, np.exp(repelled + rate * spent), color=colour, linestyle="--", linewidth=0.8)
left.plot(times, [-value_scale(t) for t in times], color="black", linestyle=":", label="repulsion |δ|")
left.set(
    xlabel="time t", ylabel="strength s of the noise", ylim=(0, 2.1), title=f"schedules of the budget {budget:.2f}"
)
left.legend(fontsize=7, frameon=False)
middle.axhline(target, color="0.5", linewidth=0.8)
middle.set(xlabel="time t", ylabel="mean energy / first", title="mean energies; dashed: bounds")
mean, low, high = np.array(ends).T
has_interval = np.isfinite(low)
error = np.where(has_interval, (mean - low, high - mean), 0.0)
right.errorbar(shares * budget, mean, yerr=error, fmt="none", color=colours[0])
right.plot(shares[has_interval] * budget, mean[has_interval], "o", color=colours[0], label="runs, 99 % interval")
right.plot(
    shares[~has_interval] * budget,
    mean[~has_interval],
    "o",
    color=colours[0],
    fillstyle="none",
    label="runs, too few for one",
)
line = np.linspace(0.15, 1.15, 50) * budget
right.semilogy(line, np.exp(growth + rate * line), "k--", linewidth=0.8, label="bound of the theorem")
right.axhline(target, color="0.5", linewidth=0.8, label="target")
right.axvline(budget, color="black", linewidth=0.8, label="least budget by the bound")
right.axvline(of_clusters, color=colours[1], linestyle=":", label="two close tokens, 99 %")
right.set(xlabel="budget ∫ s² dt", ylabel="mean energy at T / first", title="energy at the end")
right.legend(fontsize=7, frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0))
canvas.savefig(options.out / "noise_budget.png", dpi=200)
assert all(
    run.observables["energy"][-1].mean() <= target * run.observables["energy"][0].mean() for run in runs.values()
)
