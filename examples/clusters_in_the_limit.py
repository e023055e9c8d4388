"""The clusters of the mean-field limit, and how many tokens it takes to see them.

A notebook in cells (`# %%`): run it whole with `python examples/clusters_in_the_limit.py`, or cell by cell in an
editor that knows the marks. `--quick` takes small sizes. It writes clusters_in_the_limit.png into `--out DIR`.
"""

# %% Sizes
import argparse
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

import chaosphere as cs
from chaosphere import measures
from chaosphere.geometry.laws import Mixture, VonMisesFisher

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--quick", action="store_true", help="small sizes")
parser.add_argument("--out", type=Path, default=Path(__file__).parent, metavar="DIR")
options = parser.parse_args()
n_nodes, depth, n_replicas = (128, 20, 3) if options.quick else (512, 100, 16)
ladder = [32, 128] if options.quick else [32, 128, 512, 2048]

# %% A law of one's own: two groups of tokens on the circle, and the model
law = Mixture(
    components=(
        VonMisesFisher(mean_direction=(1.0, 0.0), concentration=4.0),
        VonMisesFisher(mean_direction=(-0.6, 0.8), concentration=8.0),
    ),
    proportions=(0.7, 0.3),
)
model = cs.Transformer(
    attention=cs.SoftmaxAttention(beta=2.0),
    mlp=cs.MLP(width=128, activation="tanh", bias_std=0.3),
    depth=depth,
    horizon=1.0,
)

# %% Infinitely many tokens: quadrature nodes carry the measure; its moments over time
limit = cs.MeanField(model=model, law=law, n_nodes=n_nodes)
observe = {"order": lambda t, x: measures.order_parameter(x, weights=limit.weights)}
run = cs.simulate(limit, limit.start(), rng=7, observe=observe)

# %% N tokens under the same noise (the same seed), from independent draws of the law
orders, distances = {}, []
for n in ladder:
    x = law.sample(n, rng=1, n_replicas=n_replicas)
    tokens = cs.simulate(
        model, x, rng=7, shared_noise=True, observe={"order": lambda t, y: measures.order_parameter(y)}
    )
    orders[n] = tokens.observables["order"]
    squares = [measures.circular_wasserstein2(final, run.final, y_weights=limit.weights) ** 2 for final in tokens.final]
    distances.append(np.mean(squares))
    print(f"N = {n:5d}: E W2² at the end {distances[-1]:.2e}")

# %% The picture: order parameters approach the limit's; the distance falls like 1/N
canvas = Figure(figsize=(7.2, 3.0), layout="constrained")
left, right = canvas.subplots(1, 2)
for shade, n in zip(np.linspace(0.75, 0.35, len(ladder)), ladder, strict=True):
    left.plot(run.times, orders[n], color=str(shade), linewidth=0.6)
    left.plot([], [], color=str(shade), label=f"N = {n}")
left.plot(run.times, run.observables["order"], color="#d55e00", linewidth=2, label="mean field")
left.set(xlabel="time", ylabel="order parameter |mean of μ_t|")
left.legend(fontsize=7, frameon=False)
right.loglog(ladder, distances, "o-", color="#0072b2", label="E W2²(μ^N, μ) at the end")
right.loglog(ladder, distances[0] * ladder[0] / np.array(ladder), "k--", linewidth=0.8, label="1/N")
right.set(xlabel="number of tokens N")
right.legend(fontsize=7, frameon=False)
canvas.savefig(options.out / "clusters_in_the_limit.png", dpi=200)
assert distances[-1] < distances[0]
