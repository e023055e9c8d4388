"""One system over the ranks of MPI against the same run on one rank; `mpiexec -n 3 python -m mpi4py spread.py CASE`."""

import sys
from pathlib import Path

import numpy as np
import pytest
from mpi4py import MPI
from rank_cases import run_case

import chaosphere as cs
from chaosphere.common import ordered_sums
from chaosphere.common.shape import Shape
from chaosphere.ensembles.ranks import Ranks
from chaosphere.experiments import cases
from chaosphere.experiments.chaos import spread
from chaosphere.geometry import sample
from chaosphere.interactions import nufft
from chaosphere.measures.observables import measure
from chaosphere.simulation import partition

COMM = MPI.COMM_WORLD


def models(dim):
    mlp = cs.MLP(width=16, activation="tanh", bias_std=0.3, output_bias_std=0.1)
    row = np.full((1, dim), dim**-0.5)
    attentions = [
        cs.SoftmaxAttention(beta=4.0),
        cs.SoftmaxAttention(beta=800.0, value_scale=-1.0),
        cs.SoftmaxAttention(beta=0.0),
        cs.SoftmaxAttention(beta=2.0, method="harmonic"),
        cs.SoftmaxAttention(query=np.eye(dim) + 0.1, key=np.eye(dim), value=np.diag(np.arange(1.0, dim + 1))),
        cs.SoftmaxAttention(query=np.tri(dim), key=np.eye(dim)),
        cs.UnnormalizedAttention(beta=4.0),
        cs.UnnormalizedAttention(beta=2.0, rescaled=True, method="harmonic"),
        cs.SinkhornAttention(beta=4.0),
        # Of norm 900: scores and sums in one dimension.
        cs.SoftmaxAttention(query=900 * row, key=row, value=row, output=row.T),
        cs.L2Attention(query=np.tri(dim)[:2], key=np.eye(dim)[:2]),
        cs.SoftmaxAttention(beta=4.0, mask="causal", decay=2.0),
        cs.SoftmaxAttention(beta=2.0, mask="causal", method="harmonic"),
        cs.UnnormalizedAttention(beta=2.0, mask="causal"),
        cs.PotentialInteraction([0.0, -0.3, 0.5, 0.7]),
        cs.RandomAttention(beta=2.0),
        cs.RandomAttention(n_heads=2, head_dim=2, query_key_std=1.0),
        None,
    ]
    yield from (cs.Transformer(attention=a, mlp=mlp, depth=3, horizon=0.5) for a in attentions)
    fixed = cs.FixedMLP(inner=np.tri(8, dim), outer=np.ones((dim, 8)), outer_bias=row[0], activation="gelu")
    heads = cs.MultiHeadAttention(heads=[attentions[5], attentions[9]], combine="sum")
    yield cs.Transformer.from_layers([(heads, fixed), (attentions[0], mlp), (attentions[5], fixed)], horizon=0.5)
    for normalization, options in (("pre", {"initial_radius": 1.5}), ("peri", {}), ("ngpt", {}), ("sqrt", {})):
        yield cs.Transformer(
            attention=attentions[0], mlp=mlp, depth=3, horizon=0.5, normalization=normalization, **options
        )
    yield cs.Transformer(attention=attentions[-2], mlp=mlp, depth=3, horizon=0.5, normalization="pre")
    for scheme in ("projected-euler", "geodesic-euler", "heun", "split"):
        field = cs.GaussianField(kernel=mlp.kernel(dim), tolerance=1e-3)
        yield cs.LimitSDE(attention=attentions[0], field=field, horizon=0.5, n_steps=3, scheme=scheme)


def bitwise_identical():
    # Blocks of 32 and up, with a last one that is not full.
    for n_tokens, dtype, n_replicas in ((65, np.float64, None), (200, np.float32, 2), (577, np.float64, 2)):
        x = cs.sample_uniform(n_tokens, 3, rng=1, n_replicas=n_replicas).astype(dtype)
        options = {"rng": 5, "observe": {"energy": cs.measures.Energy(n_threads=1)}, "save_at": [0.0, 0.2, 0.5]}
        for model in models(3):
            over = cs.simulate(model, x, comm=COMM, n_threads=1 + COMM.rank % 2, **options)
            alone = cs.simulate(model, x, n_threads=1, **options)
            assert np.array_equal(over.states, alone.states), (n_tokens, dtype, model)
            assert np.array_equal(over.observables["energy"], alone.observables["energy"])
            assert over.states.dtype == dtype
            assert (over.radii is None) == (alone.radii is None)
            if alone.radii is not None:
                assert np.array_equal(over.radii, alone.radii)
                assert np.array_equal(over.final_radii, alone.final_radii)


def moments_are_shared():
    """Sums by moments over ranks: bitwise those of one process, and no rank gathers a token."""
    nufft._CHUNK, ordered_sums.MIN_WEIGHED = 3000, 0
    for dim, n_tokens, dtype in ((2, 13_000, np.float64), (3, 700, np.float32), (4, 500, np.float64)):
        method = "fourier" if dim == 2 else "harmonic"
        attentions = [
            cs.SoftmaxAttention(beta=1.0, method=method),
            cs.UnnormalizedAttention(beta=1.0, method=method),
            cs.PotentialInteraction([0.0, -0.3, 0.5, 0.7], method=method),
            cs.SinkhornAttention(beta=1.0, method=method),
        ]
        if dim < 4:  # beyond, chunks have a thousand tokens
            attentions += [
                cs.SoftmaxAttention(beta=1.0, method=method, mask="causal"),
                cs.UnnormalizedAttention(beta=1.0, method=method, mask="causal", decay=3.0),
            ]
        if dim == 2:
            attentions += [
                cs.SoftmaxAttention(beta=1.0, method="nufft", rtol=1e-6),
                cs.SinkhornAttention(beta=1.0, method="nufft", rtol=1e-6, tolerance=1e-5),
            ]
        are_shared(attentions, cs.sample_uniform(n_tokens, dim, rng=1, n_replicas=2).astype(dtype))


def are_shared(attentions, x):
    n_tokens, dim = x.shape[1:]
    mlp, p = cs.MLP(width=8, activation="tanh"), np.arange(1.0, n_tokens + 1)
    for attention in attentions:
        model = cs.Transformer(attention=attention, mlp=mlp, depth=2, horizon=0.5)
        for weights in (None, p / p.sum()):
            over = cs.simulate(model, x, rng=5, comm=COMM, weights=weights).final
            assert np.array_equal(over, cs.simulate(model, x, rng=5, weights=weights).final), (dim, attention)
        shape = Shape.of(x)
        plan = model.plan(shape)
        rows = NoGather(comm=COMM, bounds=partition.rows(COMM, n_tokens, block=plan.block).bounds)
        own = rows.own(x)
        drift = plan.attention.distribute(rows).drift(own, n_threads=1)
        assert np.array_equal(drift, rows.own(plan.attention.drift(x, n_threads=1)))


def few_tokens_are_lost():
    """Where a token far from all others needs a sum over pairs, all ranks gather, with the bits of one process."""
    ordered_sums.MIN_WEIGHED = 0
    law = cs.laws.VonMisesFisher(mean_direction=(1.0, 0.0), concentration=200.0)
    x = law.sample(13_000, rng=0)
    x[-1] = -1.0, 0.0
    kinds = [cs.SoftmaxAttention, cs.SinkhornAttention]
    attentions = [kind(beta=30.0, method="fourier") for kind in kinds]
    for attention in [*attentions, cs.SoftmaxAttention(beta=30.0, method="fourier", mask="causal")]:
        model = cs.Transformer(attention=attention, mlp=None, depth=1, horizon=0.1)
        plan = model.plan(Shape.of(x[None]))
        over = cs.simulate(model, x, rng=5, comm=COMM).final
        assert np.array_equal(over, cs.simulate(model, x, rng=5).final), attention
        rows = NoGather(comm=COMM, bounds=partition.rows(COMM, len(x), block=plan.block).bounds)
        with pytest.raises(AssertionError, match="a rank sees the tokens of another"):
            plan.attention.distribute(rows).drift(rows.own(x[None]), n_threads=1)


def chaos():
    """Errors against the limit, of systems that ranks share and of systems that one rank has: the same on all ranks."""
    sample.BLOCK = spread.BLOCK = 4096
    mlp = cs.MLP(width=8, activation="tanh")
    for dim, tokens in ((2, (64, 9000, 20_000)), (3, (64, 5000))):
        model = cs.Transformer(attention=cs.SoftmaxAttention(), mlp=mlp, depth=3, horizon=0.5)
        case = cases.Case(name="a", model=model, law=cs.laws.Uniform(dim=dim), tokens=tokens, n_nodes=32)
        over, alone = (
            spread.measure(
                spread.SpreadCase.of(case),
                Ranks(comm=comm, n_here=1),
                tokens=np.random.SeedSequence(1),
                layers=np.random.SeedSequence(2),
                n_threads=1,
                on_step=None,
            )
            for comm in (COMM, MPI.COMM_SELF)
        )
        assert np.array_equal(over.squares, alone.squares, equal_nan=True)
        assert np.array_equal(over.node_squares, alone.node_squares, equal_nan=True)
        assert np.isfinite(over.squares[:3]).all()


class NoGather(partition.Rows):
    def gather(self, own):
        raise AssertionError("a rank sees the tokens of another")


def observed():
    first = cs.measures.TokenMean(function=lambda x: x[..., 0])
    return {
        "energy": cs.measures.Energy(beta=1.0),
        "mean": cs.measures.TokenMean(function=lambda x: x),
        "histogram": cs.measures.TokenMean(function=lambda x: np.stack([x[..., 0] < 0, x[..., 0] >= 0], axis=-1)),
        "first": first,
        "order": cs.measures.OrderParameter(),
        "cosine": cs.measures.MeanCosine(),
        "power": cs.measures.PowerSpectrum(n_max=3, n_threads=1),
        "named": measure("order_parameter", ()),
    }


def each_draws_its_own():
    """Tokens of a law: a rank draws and returns its own, and what is observed has the bits of one process."""
    for dim, n_tokens, n_replicas, dtype in (
        (2, 70_000, None, "float64"),
        (3, 3000, 2, "float32"),
        (3, 100, None, "float64"),
    ):
        tokens = cs.laws.Sample(
            law=cs.laws.Uniform(dim=dim), n_tokens=n_tokens, rng=3, n_replicas=n_replicas, dtype=dtype
        )
        model = cs.LimitSDE(attention=cs.SoftmaxAttention(), field=None, horizon=0.5, n_steps=2, temperature=0.1)
        over = cs.simulate(model, tokens, rng=5, comm=COMM, observe=observed(), n_threads=1)
        alone = cs.simulate(model, tokens, rng=5, observe=observed(), n_threads=1)
        own = partition.rows(COMM, n_tokens, block=model.plan(tokens.shape).block).own(alone.final)
        assert np.array_equal(over.final, own), (dim, n_tokens)
        assert over.final.dtype == dtype
        for name, values in alone.observables.items():
            assert np.array_equal(over.observables[name], values), name
    weights = np.arange(1.0, 301) / np.arange(1.0, 301).sum()
    observe = {
        "square": cs.measures.RadiusMoment(power=2),
        "first": cs.measures.RadiusMoment(power=-1, weights=weights[:100] / weights[:100].sum()),
        "named": measure("radius_moment", (("power", 2.0),)),
        "order": cs.measures.OrderParameter(weights=weights),
        "cosine": cs.measures.MeanCosine(weights=weights),
        "power": cs.measures.PowerSpectrum(n_max=3, weights=weights),
    }
    tokens, model = cs.laws.Sample(law=cs.laws.Uniform(dim=3), n_tokens=300, rng=3), with_radii(3)[0]
    over, alone = (cs.simulate(model, tokens, rng=5, comm=comm, observe=observe) for comm in (COMM, None))
    for name, values in alone.observables.items():
        assert np.array_equal(over.observables[name], values), name


def checkpoints_of_each():
    """An error on every rank; the same number of ranks resumes, also if one is a step ahead; another is refused."""
    tokens = cs.laws.Sample(law=cs.laws.Uniform(dim=2), n_tokens=20_000, rng=3)
    model = cs.Transformer(attention=cs.SoftmaxAttention(), mlp=None, depth=4, horizon=1.0)
    checkpoint = cs.Checkpoint(path=sys.argv[2], every_steps=1)
    expected = cs.simulate(model, tokens, rng=0, comm=COMM, observe={"mean": Until(9)})
    with pytest.raises(Stop):
        cs.simulate(model, tokens, rng=0, comm=COMM, observe={"mean": Until(0.6)}, checkpoint=checkpoint)
    own = Path(f"{sys.argv[2]}.{COMM.rank}-of-{COMM.size}")
    if COMM.rank == 0:
        with pytest.raises(ValueError, match="must be resumed by as many ranks as wrote it, got one file"):
            cs.simulate(model, tokens, rng=0, observe={"mean": Until(9)}, checkpoint=checkpoint)
    with np.load(own) as saved:
        assert int(saved["step"]) == 2
        assert saved["tokens"].shape == expected.final.shape
    if COMM.size > 1:
        comm = COMM.Split(0 if COMM.rank < COMM.size - 1 else 1)
        with pytest.raises(ValueError, match="must be resumed by as many ranks as wrote it"):
            cs.simulate(model, tokens, rng=0, comm=comm, observe={"mean": Until(9)}, checkpoint=checkpoint)
        COMM.Barrier()
        if COMM.rank == 1:  # as if it had been killed before it wrote the last step
            own.with_name(own.name + ".previous").replace(own)
    COMM.Barrier()
    resumed = cs.simulate(model, tokens, rng=0, comm=COMM, observe={"mean": Until(9)}, checkpoint=checkpoint)
    assert np.array_equal(resumed.final, expected.final)
    assert np.array_equal(resumed.observables["mean"], expected.observables["mean"])
    assert not own.exists()


class Until:
    version = 1  # the moment makes no other run

    def __init__(self, moment):
        self.moment, self.mean = moment, cs.measures.TokenMean(function=lambda x: x)

    def __call__(self, time, x):
        return self.mean(time, x)

    def of_own(self, time, tokens, *, partition):
        if time > self.moment:
            raise Stop
        return self.mean.of_own(time, tokens, partition=partition)


def own_noise():
    x = cs.sample_uniform(300, 3, rng=1, n_replicas=2)
    model = cs.LimitSDE(attention=cs.SoftmaxAttention(), field=None, horizon=1.0, n_steps=6, temperature=0.1).coarsen(2)
    final = cs.simulate(model, x, rng=0, comm=COMM).final
    assert np.array_equal(final, cs.simulate(model, x, rng=0).final)


def radii_are_observed():
    x = cs.sample_uniform(200, 3, rng=1)
    mlp = cs.MLP(width=16, activation="tanh")
    model = cs.Transformer(attention=cs.SoftmaxAttention(), mlp=mlp, depth=3, horizon=0.5, normalization="peri")
    options = {"rng": 5, "observe": {"square": cs.measures.RadiusMoment(power=2)}}
    over, alone = cs.simulate(model, x, comm=COMM, **options), cs.simulate(model, x, **options)
    assert np.array_equal(over.observables["square"], alone.observables["square"])


def generators_are_the_first_rank_s():
    x, model = cs.sample_uniform(300, 3, rng=1), next(models(3))
    final = cs.simulate(model, x, rng=np.random.default_rng(COMM.rank), comm=COMM).final
    assert np.array_equal(final, cs.simulate(model, x, rng=np.random.default_rng(0)).final)


class Stop(Exception):
    pass


def checkpoints():
    """An error on every rank, after which the run continues with another number of ranks, or on one."""
    for number, model in enumerate([next(models(3)), *with_radii(3)]):
        resume(f"{sys.argv[2]}.{number}", model)


def with_radii(dim):
    return [m for m in models(dim) if getattr(m, "normalization", "post") in ("pre", "peri")][:2]


def resume(path, model):
    x = cs.sample_uniform(300, 3, rng=1)

    def observable(moment):
        def report(t, x):
            if t > moment:
                raise Stop
            return cs.measures.energy(x)

        report.version = 1  # the moment, which is in the closure, makes no other run
        return report

    options = {"rng": 0, "checkpoint": cs.Checkpoint(path=path, every_steps=1)}
    with pytest.raises(Stop):
        cs.simulate(model, x, observe={"energy": observable(0.4)}, comm=COMM, **options)
    with np.load(path) as saved:
        assert int(saved["step"]) == 2
    expected = cs.simulate(model, x, rng=0, observe={"energy": observable(9)})
    comm = COMM.Split(0 if COMM.rank < 2 else 1)
    if COMM.rank < 2:
        resumed = cs.simulate(model, x, observe={"energy": observable(9)}, comm=comm, **options)
        assert np.array_equal(resumed.final, expected.final)
        if expected.final_radii is not None:
            assert np.array_equal(resumed.final_radii, expected.final_radii)
        assert np.array_equal(resumed.observables["energy"], expected.observables["energy"])


def foreign_checkpoints_are_refused_on_every_rank():
    x, model = cs.sample_uniform(300, 3, rng=1), next(models(3))
    if COMM.rank == 0:
        with open(sys.argv[2], "wb") as stream:
            stream.write(b"nothing")
    COMM.Barrier()
    refused(ValueError, "is damaged", model, x, checkpoint=sys.argv[2])


def refused(error, message, model, x, **options):
    with pytest.raises(error, match=message):
        cs.simulate(model, x, rng=0, comm=COMM, **options)


class Largest:
    def of_state(self, time, tokens, radii):
        return radii.max(axis=-1)


def refusals():
    x = cs.sample_uniform(300, 3, rng=1)
    kernel = cs.MLP(width=1).kernel(3)
    dense = cs.LimitSDE(attention=None, field=cs.GaussianField(kernel=kernel, method="dense"), horizon=1.0, n_steps=2)
    refused(ValueError, "'dense' couples all tokens", dense, x)
    limit = cs.MeanField(model=next(models(3)), law=cs.laws.Uniform(dim=3), n_nodes=200)
    refused(TypeError, "comm needs a model whose plan can be distributed, got MeanFieldPlan", limit, limit.start())
    tokens = cs.laws.Sample(law=cs.laws.Uniform(dim=3), n_tokens=300, rng=0)
    observe = {"pairs": lambda t, x: cs.measures.pair_fraction(x, 0.9)}
    refused(ValueError, r"observe\['pairs'\] must be a sum over tokens", next(models(3)), tokens, observe=observe)
    observe = {"pairs": Largest()}
    refused(
        ValueError, r"observe\['pairs'\] must be .* a method of_own_state", with_radii(3)[0], tokens, observe=observe
    )
    if COMM.size > 1:
        refused(ValueError, "comm must have at most 1 ranks, one per block of", next(models(3)), x[:10])


def errors_of_one_rank():
    """All ranks raise what one process does, with the number of the token among all."""
    x, p = np.zeros((128, 3)), np.full(128, 1 / 127)
    x[:, 0], x[-1, 0], p[-1] = 1.0, -1.0, 0.0  # a step of length 1 takes the last token to the origin
    mean = cs.Transformer(attention=cs.SoftmaxAttention(beta=0.0), mlp=None, depth=2, horizon=2.0)
    inner, outer = 40 * np.eye(3), np.eye(3)
    lost = cs.FixedMLP(inner=inner, outer=outer, activation=lambda z: np.where(z > 39.8, np.nan, 0.002 * z))
    alone = cs.Transformer(attention=None, mlp=lost, depth=6, horizon=1.0)
    both = cs.Transformer(attention=cs.SoftmaxAttention(beta=1.0), mlp=lost, depth=6, horizon=1.0)
    tokens = cs.laws.Sample(law=cs.laws.Uniform(dim=3), n_tokens=300, rng=0)
    for model, start, options in ((mean, x, {"weights": p}), (alone, tokens, {}), (both, tokens, {})):
        with pytest.raises(cs.SimulationError) as expected:
            cs.simulate(model, start, rng=0, **options)
        with pytest.raises(cs.SimulationError) as error:
            cs.simulate(model, start, rng=0, comm=COMM, **options)
        assert str(error.value) == str(expected.value)
        assert error.value.step == expected.value.step


if __name__ == "__main__":
    run_case(
        bitwise_identical,
        moments_are_shared,
        few_tokens_are_lost,
        chaos,
        own_noise,
        each_draws_its_own,
        checkpoints_of_each,
        radii_are_observed,
        generators_are_the_first_rank_s,
        checkpoints,
        foreign_checkpoints_are_refused_on_every_rank,
        refusals,
        errors_of_one_rank,
    )
