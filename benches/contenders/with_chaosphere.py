"""chaosphere itself, by its public functions; the step and the energy over all pairs by its kernels."""

import math

import numpy as np
from reference import STEP_LENGTH, directions, form, masses, matrices, powers, tokens, weights
from registry import THREADS, Case

from contenders.shared import Draws, Run


class Chaosphere:
    name = "chaosphere"

    def __init__(self) -> None:
        import chaosphere

        self.cs = chaosphere

    def attention(self, case: Case) -> Run:
        x, attention = tokens(case), self.cs.SoftmaxAttention(beta=case.beta, method="direct")
        return lambda: attention(x, n_threads=THREADS)

    def random_values(self, case: Case) -> Run:
        x, attention = tokens(case), self.cs.RandomAttention(beta=case.beta, method="direct")
        model = self.cs.Transformer(attention=attention, mlp=None, depth=1, horizon=STEP_LENGTH**2)
        return lambda: self.cs.simulate(model, x, rng=0, n_threads=THREADS).final

    def weighted(self, case: Case) -> Run:
        x, p, attention = tokens(case), masses(case), self.cs.SoftmaxAttention(beta=case.beta, method="direct")
        return lambda: attention(x, p, n_threads=THREADS)

    def general(self, case: Case) -> Run:
        x, attention = tokens(case), self.cs.SoftmaxAttention(query=form(case).T, key=np.eye(case.dim))
        return lambda: attention(x, n_threads=THREADS)

    def hardmax(self, case: Case) -> Run:
        matrices_of_scores = {"query": form(case).T, "key": np.eye(case.dim)}
        x, attention = tokens(case), self.cs.SoftmaxAttention(beta=math.inf, **matrices_of_scores)
        return lambda: attention(x, n_threads=THREADS)

    def head(self, case: Case) -> Run:
        x = tokens(case)
        heads = [self.cs.SoftmaxAttention(query=q, key=k, value=v, output=v.T) for q, k, v in matrices(case)]
        attention = self.cs.MultiHeadAttention(heads=heads, combine="sum")
        return lambda: attention(x, n_threads=THREADS)

    def symmetric_head(self, case: Case) -> Run:
        x = tokens(case)
        several = [{"query": case.beta * k, "key": k, "value": v, "output": v.T} for _, k, v in matrices(case)]
        heads = [self.cs.SoftmaxAttention(**each) for each in several]
        attention = self.cs.MultiHeadAttention(heads=heads, combine="sum")
        return lambda: attention(x, n_threads=THREADS)

    def jvp(self, case: Case) -> Run:
        x, v, attention = tokens(case), directions(case), self.cs.SoftmaxAttention(beta=case.beta, method="direct")
        return lambda: attention.jvp(x, v, n_threads=THREADS)

    def vjp(self, case: Case) -> Run:
        x, w, attention = tokens(case), directions(case), self.cs.SoftmaxAttention(beta=case.beta, method="direct")
        return lambda: attention.vjp(x, w, n_threads=THREADS).tokens

    def by_product(self, case: Case) -> Run:
        x, attention = tokens(case), self.cs.SoftmaxAttention(beta=case.beta, method="direct")
        return lambda: attention.evaluate(x, n_threads=THREADS).energy[0]

    def unnormalized(self, case: Case) -> Run:
        x, attention = tokens(case), self.cs.UnnormalizedAttention(beta=case.beta, method="direct")
        return lambda: attention(x, n_threads=THREADS)

    def potential(self, case: Case) -> Run:
        slope = np.polynomial.Polynomial(powers(case))
        x, interaction = tokens(case), self.cs.PotentialInteraction(slope.integ(), slope, method="direct")
        return lambda: interaction(x, n_threads=THREADS)

    def partition(self, case: Case) -> Run:
        from chaosphere.kernels import attention

        x, p, exponent = tokens(case), masses(case)[None], case.beta * math.log2(math.e)
        return lambda: attention.partition_sums(x, p, math.sqrt(exponent), exponent, THREADS)[..., None]

    def sinkhorn(self, case: Case) -> Run:
        x, attention = tokens(case), self.cs.SinkhornAttention(beta=case.beta, method="direct")
        return lambda: attention(x, n_threads=THREADS)

    def fastsum(self, case: Case) -> Run:
        method = "fourier" if case.dim == 2 else "harmonic"
        x, attention = tokens(case), self.cs.SoftmaxAttention(beta=case.beta, method=method)
        return lambda: attention(x, n_threads=THREADS)

    def causal(self, case: Case) -> Run:
        x, attention = tokens(case), self.cs.SoftmaxAttention(beta=case.beta, mask="causal", method="direct")
        return lambda: attention(x, n_threads=THREADS)

    def prefix(self, case: Case) -> Run:
        method = "fourier" if case.dim == 2 else "harmonic"
        x, attention = tokens(case), self.cs.SoftmaxAttention(beta=case.beta, mask="causal", method=method)
        return lambda: attention(x, n_threads=THREADS)

    def layer(self, case: Case) -> Run:
        x, (u, w) = tokens(case), weights(case)
        network = self.cs.MLP(width=1, activation=case.activation)
        # Weights in the dtype of the tokens, as the peers have them; `draw` would give float64.
        layer = self.cs.MLPLayer(
            u=u[None].astype(case.dtype),
            w=w[None].astype(case.dtype),
            b=None,
            c=None,
            activation=network.draw(2, rng=np.random.default_rng(0)).activation,
            weight_std=case.dim**-0.5,
        )
        return lambda: layer(x, n_threads=THREADS)

    def step(self, case: Case) -> Run:
        from chaosphere.kernels import sphere

        x, v = tokens(case), directions(case)
        batch, velocities = (a if a.ndim == 3 else a[None] for a in (x, v))
        return lambda: sphere.step(batch, velocities, STEP_LENGTH, THREADS)[0].reshape(x.shape)

    def energy(self, case: Case) -> Run:
        from chaosphere.kernels import pairs  # over all pairs, also where `measures.energy` would expand the kernel

        x, factor = tokens(case).astype(np.float64), 0.5 * math.exp(case.beta)
        return lambda: factor * pairs.pair_statistics(x, None, case.beta, 0, THREADS)[0][0]

    def histogram(self, case: Case) -> Run:
        x = tokens(case)[0]
        return lambda: self.cs.measures.cosine_histogram(x, case.n_bins, n_threads=THREADS)[0]

    def transformer(self, case: Case) -> Run:
        x = tokens(case)
        model = self.cs.Transformer(
            attention=self.cs.SoftmaxAttention(beta=case.beta),
            mlp=self.cs.MLP(width=case.width, activation=case.activation),
            depth=case.depth,
            horizon=case.horizon,
        )
        return lambda: self.cs.simulate(model, x, rng=0, n_threads=THREADS).final

    def phases(self, case: Case) -> Run:
        x, attention = tokens(case), self.cs.SoftmaxAttention(beta=case.beta)
        model = self.cs.Transformer(attention=attention, mlp=None, depth=case.depth, horizon=case.horizon)
        return lambda: self.cs.simulate(model, x, rng=0, n_threads=THREADS).final

    def draws(self, case: Case) -> Draws:
        """Return the weights that `transformer` uses, so that the others can be given the same."""
        from chaosphere.common.streams import Noise, Stream

        noise, mlp = Noise(0), self.cs.MLP(width=case.width, activation=case.activation)
        layers = [mlp.plan(case.dim).draw([noise.draws(Stream.LAYER, k)]) for k in range(case.depth)]
        return [(layer.u[0], layer.w[0]) for layer in layers]
