"""What one call takes for few tokens, in microseconds:  python benches/calls.py [--tokens 16] [--dim 3] [--steps 3000]

Such calls stand in the loops of users. Their time is that of checks, plans and Python, not of the kernels: the least
of several rounds, for interactions and observables as functions, and for a step of a run with an observable. The first
line is the check of the tokens, which is part of each.
"""

import argparse
import timeit

import numpy as np

import chaosphere as cs
from chaosphere.common import checks


def calls(x, dim: int):
    """Return the functions by name."""
    matrix = np.random.default_rng(0).standard_normal((dim, dim))
    interactions = {
        "softmax": cs.SoftmaxAttention(beta=2.0),
        "softmax, causal": cs.SoftmaxAttention(beta=2.0, mask="causal"),
        "softmax, general Q, K, V": cs.SoftmaxAttention(query=matrix, key=matrix.T, value=matrix),
        "unnormalized": cs.UnnormalizedAttention(beta=2.0),
        "distances": cs.L2Attention(query=np.eye(dim), key=np.eye(dim), value=np.eye(dim)),
        "potential": cs.PotentialInteraction([0.0, 0.0, 0.5]),
    }
    observables = {
        "order_parameter": lambda: cs.measures.order_parameter(x),
        "mean_cosine": lambda: cs.measures.mean_cosine(x),
        "energy": lambda: cs.measures.energy(x, beta=1.0),
        "cluster_count": lambda: cs.measures.cluster_count(x, 0.1),
    }
    functions = {"check of the tokens": lambda: checks.tokens(x)}
    functions |= {name: lambda interaction=interaction: interaction(x) for name, interaction in interactions.items()}
    return functions | observables


def runs(x, n_steps: int):
    """Return the functions of a run by name."""
    attention = cs.SoftmaxAttention(beta=2.0)
    network = cs.Transformer(attention=attention, mlp=cs.MLP(width=16), depth=n_steps, horizon=1.0)
    equation = cs.LimitSDE(attention=attention, field=None, n_steps=n_steps, horizon=1.0)
    observe = {"order": cs.measures.OrderParameter()}
    return {
        "step of a network": lambda: [None for _ in cs.trajectory(network, x, rng=0)],
        "step of a network, observed": lambda: cs.simulate(network, x, rng=0, observe=observe),
        "step of an equation": lambda: [None for _ in cs.trajectory(equation, x, rng=0)],
        "step of an equation, observed": lambda: cs.simulate(equation, x, rng=0, observe=observe),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, default=16)
    parser.add_argument("--dim", type=int, default=3)
    parser.add_argument("--steps", type=int, default=3000)
    arguments = parser.parse_args()
    x = cs.sample_uniform(arguments.tokens, arguments.dim, rng=0)
    for functions, n_calls, n_units in (
        (calls(x, arguments.dim), 200, 200),
        (runs(x, arguments.steps), 1, arguments.steps),
    ):
        for name, function in functions.items():
            function()
            seconds = min(timeit.repeat(function, number=n_calls, repeat=10 if n_calls > 1 else 3)) / n_units
            print(f"{name:>32}{1e6 * seconds:10.2f}")


if __name__ == "__main__":
    main()
