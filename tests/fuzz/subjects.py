"""What the calls of `call_table` are made with: tokens, models, laws and their parts."""

import numpy as np

import chaosphere as cs

X = cs.sample_uniform(8, 3, rng=0)
BATCH = cs.sample_uniform(8, 3, rng=1, n_replicas=2)
CIRCLE = cs.sample_uniform(8, 2, rng=0)
P = np.arange(1.0, 9.0) / 36
ATTENTION = cs.SoftmaxAttention(beta=2.0)
CAUSAL = cs.SoftmaxAttention(beta=2.0, mask="causal", decay=1.0)
HEADS = cs.MultiHeadAttention(heads=[ATTENTION, cs.SoftmaxAttention(beta=1.0)])
USA = cs.UnnormalizedAttention(beta=2.0)
POTENTIAL = cs.PotentialInteraction(np.exp)
SINKHORN = cs.SinkhornAttention(beta=2.0)
MLP = cs.MLP(width=8, activation="tanh", bias_std=0.3)
KERNEL = MLP.kernel(3)
FIELD = cs.GaussianField(kernel=KERNEL)
MODEL = cs.Transformer(attention=ATTENTION, mlp=MLP, depth=4, horizon=1.0)
PRE_LN = cs.Transformer(attention=ATTENTION, mlp=MLP, depth=4, horizon=1.0, normalization="pre", initial_radius=1.5)
SDE = cs.LimitSDE(attention=ATTENTION, field=FIELD, horizon=1.0, n_steps=4)
CIRCLE_SDE = cs.LimitSDE(attention=ATTENTION, field=cs.GaussianField(kernel=MLP.kernel(2)), horizon=0.1, n_steps=4)
LAWS = (cs.laws.Uniform, cs.laws.VonMisesFisher, cs.laws.Mixture, cs.laws.Density)
UNIFORM, VMF = cs.laws.Uniform(dim=3), cs.laws.VonMisesFisher(mean_direction=(0.0, 0.6, 0.8), concentration=2.0)
MIXTURE = cs.laws.Mixture(components=(UNIFORM, VMF), proportions=(0.25, 0.75))
DENSITY = cs.laws.Density(function=lambda x: 1 + x[:, 0], dim=3, bound=2.0)
LAYER = MLP.draw(3, rng=np.random.default_rng(0))
NUMBERS = {name: getattr(LAYER, name) for name in ("u", "w", "b", "c", "activation", "weight_std", "output_scale")}
MATRICES = {"inner": np.ones((4, 3)), "outer": np.ones((3, 4)), "inner_bias": np.ones(4), "outer_bias": np.ones(3)}
FIXED = cs.FixedMLP(**MATRICES, activation="gelu")
AXIAL_SDE = cs.LimitSDE(attention=ATTENTION, field=None, horizon=0.1, n_steps=4, temperature=0.1)
AXIAL_LAW = cs.laws.VonMisesFisher(mean_direction=(0.0, 0.6, 0.8), concentration=1.0)
AXIAL = cs.AxisymmetricDensity(model=AXIAL_SDE, law=AXIAL_LAW, n_modes=24, axis=(0.0, 0.6, 0.8))
SPHERE_SDE = cs.LimitSDE(
    attention=ATTENTION, field=cs.GaussianField(kernel=KERNEL.scaled(0.1)), horizon=0.1, n_steps=2, temperature=0.1
)
ON_SPHERE = cs.SphereDensity(model=SPHERE_SDE, law=AXIAL_LAW, n_modes=16)
BRANCH = cs.phases.branch(ATTENTION, 3)
LIMITED = cs.CircleDensity(model=CIRCLE_SDE, law=cs.laws.Uniform(dim=2), n_modes=64)
MEAN_FIELD = cs.MeanField(model=MODEL, law=UNIFORM, n_nodes=60)
SQUARE = {"query": np.eye(3), "key": 2 * np.eye(3)}
HEAD = {"query": np.ones((1, 3)), "key": np.array([[1.0, -1.0, 0.5]])}
DISTANCES = cs.L2Attention(**HEAD)
COSINES = np.linspace(-1, 1, 5)
PAIR = {"kernel": KERNEL, "beta": 1.0, "value_scale": 0.5}
CLOUDS = {"x": X, "y": X[:5].copy(), "x_weights": P, "y_weights": None}
SYNCHRONIZING = cs.CovarianceKernel.from_activation("relu", dim=3)
CONSEQUENCES = (
    *("lyapunov_exponent", "lambda_bar", "lyapunov_spectrum", "critical_moment", "correlation_dimension"),
    *("kaplan_yorke_dimension", "energy_decay_rate", "synchronizes"),
)


def to_mean(x, weights):
    return 0 * x + weights @ x


def cubic(x):
    return (x**3).sum() / 3, x**2


def observe(time, x):
    return cs.measures.order_parameter(x)
