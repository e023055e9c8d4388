"""The training loop: its steps, its checkpoints, and that it learns."""

import signal

import numpy as np
import pytest

import chaosphere as cs
from chaosphere.training import AdamW, AttentionNetwork, KernelMatching, MeanRegression, TrainingLimit, train

TARGETS = [[0.5, 0.1, 0.0], [0.0, 0.5, -0.2]]
NETWORK = AttentionNetwork(depth=4, n_heads=3, dim=3, key_dim=2)
ADAMW = AdamW(learning_rate=0.05, weight_decay=0.01)
LOSS = MeanRegression(targets=TARGETS)


def tokens(n_tokens=12, dtype="float64"):
    return np.stack([cs.sample_uniform(n_tokens, 3, rng=seed) for seed in range(2)]).astype(dtype)


def run(n_steps=6, *, network=NETWORK, loss=LOSS, **options):
    start = options.pop("start", None) or ADAMW.start(network.initial(0))
    x = options.pop("x", None)
    return train(
        network, tokens() if x is None else x, loss=loss, optimizer=ADAMW, start=start, n_steps=n_steps, **options
    )


def is_same(one, other):
    arrays = [(run.state.parameters, run.state.first, run.state.second, run.losses, run.final) for run in (one, other)]
    return one.state.step == other.state.step and all((a == b).all() for a, b in zip(*arrays, strict=True))


def test_steps_are_those_of_gradients_and_adamw():
    state, losses = ADAMW.start(NETWORK.initial(0)), []
    for _ in range(3):
        result = NETWORK.gradient(state.parameters, tokens(), objective=LOSS)
        losses.append(result.value)
        state = ADAMW.step(state, result.parameters, n_units=12)
    done = run(3)
    assert (done.state.parameters == state.parameters).all()
    assert list(done.losses[:3]) == losses
    assert done.losses[3] == LOSS(done.final)[0]


def test_it_learns():
    assert run(60).losses[-1] < 0.1 * run(0).losses[0]


def test_a_training_in_two_parts_is_one():
    first = run(2)
    second = run(4, start=first.state)
    assert (second.state.parameters == run(6).state.parameters).all()
    assert list(second.to_xarray()["step"].values) == [2, 3, 4, 5, 6]
    assert second.losses[0] == first.losses[-1]


def test_threads_do_not_change_a_bit_of_a_training():
    loss = KernelMatching(points=cs.sample_uniform(20, 3, rng=7))
    assert is_same(*(run(2, x=tokens(150), loss=loss, n_threads=n) for n in (1, 2)))


class Stopping:
    """A loss that sends SIGINT once."""

    version = 1

    def __init__(self, at):
        self.left = at

    def __call__(self, x):
        self.left -= 1
        if self.left == 0:
            signal.raise_signal(signal.SIGINT)
        return LOSS(x)


@pytest.mark.parametrize("at", [1, 4])
def test_an_interrupted_training_resumes(tmp_path, at):
    path = tmp_path / "training.npz"
    with pytest.raises(cs.Interrupted, match=f"after step {at} of 6"):
        run(loss=Stopping(at), checkpoint=path)
    assert path.exists()
    assert is_same(run(loss=Stopping(0), checkpoint=path), run())
    assert list(tmp_path.iterdir()) == []


def test_an_error_leaves_the_last_step(tmp_path):
    path = tmp_path / "training.npz"

    class Failing(Stopping):
        def __call__(self, x):
            self.left -= 1
            if self.left == 0:
                raise RuntimeError("no")
            return LOSS(x)

    with pytest.raises(RuntimeError, match="no"):
        run(loss=Failing(3), checkpoint=path)
    with np.load(path) as file:
        assert file["step"] == 2
    assert is_same(run(loss=Failing(0), checkpoint=path), run())


def test_a_checkpoint_of_another_training_is_refused(tmp_path):
    checkpoint = cs.Checkpoint(path=tmp_path / "training.npz", every_steps=1, keep=True)
    run(2, checkpoint=checkpoint)
    assert is_same(run(3, checkpoint=checkpoint), run(3))  # more steps are the same training
    with pytest.raises(ValueError, match=r"belongs to another run: .*learning_rate"):
        train(
            NETWORK,
            tokens(),
            loss=LOSS,
            optimizer=AdamW(learning_rate=0.1),
            start=ADAMW.start(NETWORK.initial(0)),
            n_steps=3,
            checkpoint=checkpoint,
        )
    with pytest.raises(ValueError, match="its step 3 is not one of"):
        run(1, checkpoint=checkpoint)
    path = tmp_path / "training.npz"
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(ValueError, match="is damaged"):
        run(3, checkpoint=checkpoint)


def test_single_precision_follows_double():
    losses = [run(5, x=tokens(dtype=dtype)).losses for dtype in ("float64", "float32")]
    assert abs(losses[0] - losses[1]).max() < 1e-5
    assert run(1, x=tokens(dtype="float32")).final.dtype == np.float32


def test_wrong_arguments_of_a_training_are_named():
    with pytest.raises(ValueError, match="n_steps"):
        run(-1)
    with pytest.raises(TypeError, match="network must be an AttentionNetwork"):
        train(None, tokens(), loss=LOSS, optimizer=ADAMW, start=ADAMW.start(NETWORK.initial(0)), n_steps=1)
    with pytest.raises(TypeError, match="loss must be a function"):
        run(loss=1)
    for loss, message in [
        (lambda x: 1, r"a tuple \(value, gradient\), got 1"),
        (lambda x: [1.0, x], r"a tuple \(value, gradient\), got \[1.0, float64\["),
        (lambda x: (1.0, x, x), r"a tuple \(value, gradient\), got \(1.0, float64\["),
        (lambda x: (None, x), "a real number as its value, got None"),
        (lambda x: (np.ones(2), x), r"a real number as its value, got float64\[2\]"),
        (lambda x: (1j, x), "a real number as its value, got 1j"),
        (lambda x: (1.0, 1j * x), r"a gradient of real numbers, got complex128\["),
    ]:
        with pytest.raises(TypeError, match=f"loss must return {message}"):
            run(0, loss=loss)
    with pytest.raises(ValueError, match="loss must return a finite value"):
        run(0, loss=lambda x: (np.nan, x))
    with pytest.raises(TypeError, match=r"loss must return a tuple \(value, gradient\)"):
        run(2, loss=lambda x: None)  # in a step, not at the end alone
    with pytest.raises(ValueError, match=r"start.parameters must have the shape"):
        run(start=ADAMW.start(np.zeros((1, 2, 3))))


def test_the_limit_is_trained_and_resumed_by_the_same_call(tmp_path):
    limit = TrainingLimit(n_cells=2, n_heads=4, dim=3, key_dim=2, value_scale=1.0, normalization="identity")
    checkpoint = cs.Checkpoint(path=tmp_path / "limit.npz", every_steps=2, keep=True)
    run(2, network=limit, checkpoint=checkpoint)
    resumed = run(5, network=limit, checkpoint=checkpoint, progress=True)
    assert is_same(resumed, run(5, network=limit))
    assert resumed.losses[-1] < resumed.losses[0]
    assert "loss" in repr(resumed)
    assert "(2, 4, 7, 3)" in repr(resumed)
