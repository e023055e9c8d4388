"""What the figures claim: measured beside the theory, true for other seeds, and refuted where the theory is changed."""

import pytest

from chaosphere.experiments import paper

SIZES = {"dims": [5], "depth": 150, "width": 16}


def verdicts(claims):
    return {claim.quantity: claim.verdict for claim in claims}


@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.slow)])
@pytest.mark.parametrize("number", [2, 4, pytest.param(5, marks=pytest.mark.slow)])
def test_energies_agree_with_the_pair_equation_and_the_theorem(number, seed):
    claims = paper.figure_claims(paper.figure(number, rng=seed, **SIZES))
    assert set(verdicts(claims).values()) <= {"agrees", "inconclusive"}
    assert sum("mean energy at time" in claim.quantity for claim in claims) == 2
    # λ̄ < 0 in five dimensions for sigmoid alone.
    assert sum("rate of the mean energy" in claim.quantity for claim in claims) == (2 if number == 4 else 0)
    assert all(claim.low < claim.measured < claim.high for claim in claims)


def test_another_pair_equation_or_rate_is_refuted():
    data = paper.figure(4, rng=0, **SIZES)
    data["pair_equation"] = 100 * data["pair_equation"]
    data["bound"] = data["bound"] ** 40
    assert set(verdicts(paper.figure_claims(data)).values()) == {"differs"}


@pytest.mark.slow
def test_replicas_add_the_rate_under_attraction():
    data = paper.figure(4, rng=0, n_replicas=16, **SIZES)
    names = [claim.quantity for claim in paper.figure_claims(data) if claim.verdict == "agrees"]
    for bias in ("0", "0.1"):
        assert any(name.startswith(f"d = 5, σ = {bias}, δ = 1: rate of the mean energy") for name in names)


@pytest.mark.slow
def test_where_a_layer_moves_tokens_far_nothing_is_claimed():
    assert paper.figure_claims(paper.figure(4, rng=0, dims=[64], depth=150, width=16)) == []


@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_attention_alone_keeps_the_bounds_of_its_energy(seed):
    data = paper.figure(6, rng=seed)
    claims = paper.figure_claims(data)
    assert len(claims) == 5 * 3
    assert set(verdicts(claims).values()) == {"agrees"}
    # Attraction in high dimension has nearly the fastest rate there is.
    fastest = next(claim for claim in claims if claim.quantity.startswith("d = 128, δ = 1: largest rate"))
    assert 1.9 < fastest.measured < 2
    data["energy"].values = data["energy"].values[..., ::-1, :]  # back in time
    assert "differs" in verdicts(paper.figure_claims(data)).values()


@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_figure_1_ends_in_one_cluster_or_in_two(seed):
    data = paper.figure_1(rng=seed, width=16)
    claims = paper.figure_1_claims(data)
    assert verdicts(claims) == {claim.quantity: "agrees" for claim in claims}
    assert [claim.expected > 0.7 for claim in claims] == [True, True, False, True, False]
    assert claims[2].expected == pytest.approx(0, abs=1e-9)
    assert claims[4].expected == 0.5
    x = data["x"].sel(activation="tanh").values
    data["x"].loc[{"activation": "tanh"}] = x[-1, 0]
    assert "differs" in verdicts(paper.figure_1_claims(data)).values()  # all in one place
