"""The random attractor of a noise that separates close tokens: its picture and its dimensions.

The field has the covariance κ(u) = u⁸ on S³, so that λ1 = 2.5 > 0: close tokens separate, along one direction, and
approach each other along the other two. Tokens from anywhere gather on one set, which the noise alone decides and which
moves with it. Two tokens are closer than r with a probability of order r^D, D = 2λ1/(κ(1) + κ′(1)).

A notebook in cells (`# %%`): run it whole with `python examples/random_attractor.py`, or cell by cell in an editor that
knows the marks. `--quick` takes small sizes. It writes random_attractor.png into `--out DIR`.
"""

# %% Sizes
import argparse
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

import chaosphere as cs

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--quick", action="store_true", help="small sizes")
parser.add_argument("--out", type=Path, default=Path(__file__).parent, metavar="DIR")
options = parser.parse_args()
n_tokens, n_replicas, n_pairs_of = (2000, 30, 20) if options.quick else (30_000, 400, 40)
step, times = (0.02, [0.1, 1.0]) if options.quick else (0.005, [0.1, 0.5, 4.0])

# %% The noise, and what is known of it
kernel = cs.CovarianceKernel.from_function(lambda u: u**8, dim=4, derivative=lambda u: 8 * u**7)
field = cs.GaussianField(kernel=kernel)
correlation, kaplan_yorke = kernel.correlation_dimension(), kernel.kaplan_yorke_dimension()
print(f"exponents {kernel.lyapunov_spectrum().round(3)}")
print(f"correlation dimension {correlation:.3f}, Kaplan–Yorke dimension {kaplan_yorke:.3f}")


def model(horizon):
    """Return the noise alone over a time."""
    return cs.LimitSDE(attention=None, field=field, horizon=horizon, n_steps=round(horizon / step))


# %% Many tokens under one noise: their first two coordinates at some times
run = cs.simulate(model(times[-1]), cs.sample_uniform(n_tokens, 4, rng=0), rng=1, save_at=times)

# %% Few tokens under many noises: the probability of close pairs
ends = cs.simulate(model(times[-1]), cs.sample_uniform(n_pairs_of, 4, rng=2, n_replicas=n_replicas), rng=3).final
value, low, high = cs.measures.correlation_dimension(ends, radius=0.05 if options.quick else 0.002)
print(f"measured correlation dimension {value:.2f}, 99 % interval [{low:.2f}, {high:.2f}]")
first, second = np.triu_indices(n_pairs_of, 1)
distances = np.linalg.norm(ends[:, first] - ends[:, second], axis=2)
radii = np.geomspace(1e-4, 2, 60)
share = [(distances < r).mean() for r in radii]

# %% The picture
canvas = Figure(figsize=(2.4 * (len(times) + 1.3), 2.8), layout="constrained")
*panels, right = canvas.subplots(1, len(times) + 1, width_ratios=[1.0] * len(times) + [1.3])
for panel, time, x in zip(panels, run.state_times, run.states, strict=True):
    panel.plot(x[:, 0], x[:, 1], ",", color="#0072b2", rasterized=True)
    panel.set(xlim=(-1.05, 1.05), ylim=(-1.05, 1.05), aspect="equal", xticks=[-1, 0, 1], yticks=[-1, 0, 1])
    panel.set_title(f"t = {time:g}", fontsize=9)
panels[0].set(xlabel="first coordinate", ylabel="second coordinate")
right.loglog(radii, share, color="#0072b2", label="tokens")
at = np.array([2e-4, 2e-2])
level = 0.7 * np.interp(at[1], radii, share)  # somewhat below the line
right.loglog(at, level * (at / at[1]) ** correlation, "--", color="0.3", label=f"slope {correlation:.2f}")
right.set(xlabel="r", ylabel="share of pairs closer than r")
right.legend(fontsize=7, frameon=False)
canvas.savefig(options.out / "random_attractor.png", dpi=200)
