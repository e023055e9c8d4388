"""Small models of which tests estimate the energy, and the differences of one level of an estimate."""

import dataclasses

import numpy as np

import chaosphere as cs
from chaosphere.ensembles.level_runs import LevelRuns, Question
from chaosphere.ensembles.start import initial

KERNEL = cs.MLP(width=1, activation="erf", bias_std=0.3).kernel(3)
FIELD = cs.GaussianField(kernel=KERNEL, tolerance=1e-3)
NOISE = cs.LimitSDE(attention=None, field=FIELD, horizon=0.5, n_steps=4, scheme="split")
MODEL = dataclasses.replace(NOISE, attention=cs.SoftmaxAttention(beta=1.0))
NETWORK = cs.Transformer(attention=cs.SoftmaxAttention(), mlp=cs.MLP(width=8), depth=8, horizon=0.5)
UNIFORM = cs.laws.Uniform(dim=3)
X = cs.sample_uniform(6, 3, rng=0)
ENERGY = cs.measures.Energy(beta=1.0)


def question(model, x0=UNIFORM, observable=ENERGY):
    return Question(
        model=model,
        initial=initial(x0),
        observable=observable,
        root=np.random.SeedSequence(0),
        folder=None,
        options={"n_threads": 1},
        memory_limit=None,
    )


def samples(model, index, n_samples):
    """Differences of a level."""
    runs = LevelRuns(question(model), index, n_samples=n_samples)
    runs.extend(n_samples)
    return runs.differences
