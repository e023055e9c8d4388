"""Checkpoints: whatever kills a run, it resumes bitwise identically; another run is refused with the reason."""

import os
import resource
import signal
import sys

import numpy as np
import pytest
from support.killing import RUN, kill_until_done, start, stored_step, uninterrupted
from support.programs import finished, run
from support.stops import Stop, stop_at

import chaosphere as cs
from chaosphere.common import files
from chaosphere.simulation import checkpoints, signals

MODEL = cs.Transformer(
    attention=cs.SoftmaxAttention(beta=1.0), mlp=cs.MLP(width=16, bias_std=0.1), depth=20, horizon=2.0
)
X = cs.sample_uniform(40, 3, rng=0)


def leave(path, moment=1.0, x=X, **options):
    """Leave the checkpoint of a run that an error ended at this time."""
    with pytest.raises(Stop):
        cs.simulate(MODEL, x, rng=0, observe={"first": stop_at(moment)}, checkpoint=path, **options)


def resume(path, **options):
    options = {"rng": 0, "observe": {"first": stop_at(9)}} | options
    return cs.simulate(MODEL, X, checkpoint=path, **options)


@pytest.fixture(scope="module")
def expected():
    return uninterrupted()


@pytest.mark.parametrize("every_steps", [1, 7])
def test_kill_9_at_random_moments(tmp_path, expected, every_steps):
    last = kill_until_done(tmp_path / "run.npz", seed=every_steps, n_kills=5, every_steps=every_steps)
    assert last == expected


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(60))
def test_hundreds_of_kills(tmp_path, expected, seed):
    assert kill_until_done(tmp_path / "run.npz", seed=seed, n_kills=5, every_steps=1 + seed % 4) == expected


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_stop_after_the_current_step(tmp_path, expected, number):
    path = tmp_path / "run.npz"
    with start(path, every_steps=10**6) as process:
        for _ in range(12):
            process.stdout.readline()
        process.send_signal(number)
        rest, errors = process.stdout.read(), process.stderr.read()  # communicate() has not what readline read ahead
        process.wait()
    assert process.returncode == 1
    assert "chaosphere.simulation.signals.Interrupted" in errors
    last = max([11, *map(int, rest.split())])
    assert f"{number.name}: stopped after step {last} of 60" in errors
    assert str(path) in errors
    assert stored_step(path) == last
    first, *_, digest = run(RUN, path, 5).split()
    assert (first, digest) == (str(last + 1), expected)


def test_a_signal_after_the_last_step_is_not_lost(tmp_path):
    path = tmp_path / "run.npz"

    def observable(t, x):
        if t == 2.0:
            os.kill(os.getpid(), signal.SIGTERM)
        return float(x[0, 0])

    with pytest.raises(signals.Interrupted, match="SIGTERM: stopped after step 20 of 20"):
        cs.simulate(MODEL, X, rng=0, observe={"first": observable}, checkpoint=path)
    assert stored_step(path) == 20
    resumed = cs.simulate(MODEL, X, rng=0, observe={"first": observable}, checkpoint=path)
    assert np.array_equal(resumed.final, cs.simulate(MODEL, X, rng=0).final)


def test_one_stop_request_inside_another():
    """What the outer has noted stops the inner, and the other way round."""
    with signals.StopRequest() as outer:
        with signals.StopRequest() as inner:
            os.kill(os.getpid(), signal.SIGTERM)
            assert inner.received is signal.SIGTERM
        assert outer.received is signal.SIGTERM
        with signals.StopRequest() as inner:
            assert inner.received is signal.SIGTERM
    with signals.StopRequest() as another:
        assert another.received is None


def test_the_second_signal_stops_at_once():
    with signals.StopRequest() as stop:
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.received is signal.SIGTERM
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


@pytest.mark.parametrize(
    ("periods", "expected"),
    [
        ({"every_steps": 1, "every_seconds": None}, list(range(1, 21))),
        ({"every_steps": 6, "every_seconds": None}, [6, 12, 18]),
        ({"every_seconds": 0}, list(range(21))),
        ({"every_seconds": 1e9}, []),
    ],
)
def test_periods(tmp_path, monkeypatch, periods, expected):
    written = []
    write = checkpoints.CheckpointFile.write
    monkeypatch.setattr(
        checkpoints.CheckpointFile, "write", lambda self, record: (written.append(record.step), write(self, record))
    )
    cs.simulate(MODEL, X, rng=0, checkpoint=cs.Checkpoint(path=tmp_path / "run.npz", **periods))
    assert written == expected
    assert not list(tmp_path.iterdir())


def test_a_kept_checkpoint_outlives_the_run(tmp_path):
    path = tmp_path / "run.npz"
    spec = cs.Checkpoint(path=path, every_steps=6, keep=True)
    finals = [cs.simulate(MODEL, X, rng=0, checkpoint=spec).final for _ in range(2)]
    assert stored_step(path) == 18
    assert np.array_equal(*finals)


def test_the_one_before_is_kept_and_serves_alone(tmp_path):
    path = tmp_path / "run.npz"
    leave(cs.Checkpoint(path=path, every_steps=5))
    previous = tmp_path / "run.npz.previous"
    with np.load(path) as new, np.load(previous) as old:
        assert (int(new["step"]), int(old["step"])) == (9, 5)
    path.unlink()  # as if killed between the two renames
    sol = resume(path)
    assert np.array_equal(sol.final, cs.simulate(MODEL, X, rng=0).final)
    assert not list(tmp_path.iterdir())


def test_foreign_checkpoints_are_refused_with_the_reason(tmp_path, monkeypatch):
    path = tmp_path / "run.npz"
    leave(path)
    with pytest.raises(ValueError, match=r"run.npz belongs to another run: entropy is \"0\", not \"1\"; remove it"):
        resume(path, rng=1)
    with pytest.raises(ValueError, match=r"another run: save_at is \[0.0, 0.1.*not \[1.0\]"):
        resume(path, save_at=[1.0])
    with pytest.raises(ValueError, match=r"another run: observe.first is .*; observe.energy is null, not {"):
        resume(path, observe={"energy": cs.measures.Energy(beta=2.0)})
    monkeypatch.setattr("chaosphere.kernels.abi.isa_in_use", lambda: "sse9")
    with pytest.raises(ValueError, match=r"another run: instruction_set is .*, not \"sse9\""):
        resume(path)


def test_another_number_of_threads_is_no_other_run(tmp_path):
    path = tmp_path / "run.npz"
    both = [{"energy": cs.measures.Energy(n_threads=n), "first": stop_at(moment)} for n, moment in ((1, 1), (2, 9))]
    with pytest.raises(Stop):
        cs.simulate(MODEL, X, rng=0, observe=both[0], checkpoint=path, n_threads=1)
    resumed = cs.simulate(MODEL, X, rng=0, observe=both[1], checkpoint=path, n_threads=2)
    assert np.array_equal(resumed.final, cs.simulate(MODEL, X, rng=0).final)


def test_every_truncated_checkpoint_is_refused(tmp_path):
    path = tmp_path / "run.npz"
    leave(path)
    content = path.read_bytes()
    for length in [*range(0, len(content), len(content) // 40), len(content) - 1]:
        path.write_bytes(content[:length])
        with pytest.raises(ValueError, match=r"run.npz is damaged .* remove it to start again"):
            resume(path)


class Harm:
    """What a pickle could do."""

    def __reduce__(self):
        return os.mkdir, ("harm",)


def test_a_pickle_in_a_checkpoint_is_refused_unread(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "run.npz"
    leave(path)
    with np.load(path) as saved:
        arrays = dict(saved)
    for name in ("identity", "tokens", "states", "observable_0"):
        np.savez(path, **(arrays | {name: np.array([Harm()], dtype=object)}))
        with pytest.raises(ValueError, match=r"run.npz is damaged \(ValueError: Object arrays cannot be loaded"):
            resume(path)
    assert not (tmp_path / "harm").exists()


def test_flipped_bits_are_refused_or_harmless(tmp_path):
    path = tmp_path / "run.npz"
    expected = cs.simulate(MODEL, X, rng=0, observe={"first": stop_at(9)})
    leave(path)
    content = path.read_bytes()
    generator, messages = np.random.default_rng(0), []
    for at in generator.choice(len(content), 60, replace=False):
        path.write_bytes(content[:at] + bytes([content[at] ^ 1 << int(generator.integers(8))]) + content[at + 1 :])
        try:
            sol = resume(path)
        except ValueError as error:
            messages.append(str(error))
        else:
            assert np.array_equal(sol.final, expected.final)
            assert np.array_equal(sol.observables["first"], expected.observables["first"])
    assert len(messages) > 30
    assert all("is damaged" in message or "belongs to another run" in message for message in messages)


def test_damage_tells_of_the_one_before(tmp_path):
    path = tmp_path / "run.npz"
    leave(cs.Checkpoint(path=path, every_steps=5))
    path.write_bytes(b"")
    with pytest.raises(ValueError, match=r"or rename run.npz.previous to it"):
        resume(path)


def test_a_full_disk_raises_and_keeps_the_last_good_file(tmp_path):
    """A limit on the size of files, which the growing record passes, stands for the end of the disk."""
    path = tmp_path / "run.npz"
    program = f"""
import resource
resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, 40_000))
import chaosphere as cs
model = cs.Transformer(attention=cs.SoftmaxAttention(), mlp=None, depth=20, horizon=2.0)
cs.simulate(model, cs.sample_uniform(100, 3, rng=0), rng=0, save_at=[t / 10 for t in range(21)],
            checkpoint=cs.Checkpoint(path={str(path)!r}, every_steps=2))
"""
    done = finished([sys.executable, "-c", program])
    assert done.returncode == 1
    assert "OSError: [Errno 27] checkpoint" in done.stderr
    assert "could not be written at step 14 (File too large); it keeps step 12" in done.stderr
    assert sorted(p.name for p in tmp_path.iterdir()) == ["run.npz", "run.npz.previous"]
    assert stored_step(path) == 12
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY


def test_no_space_on_the_device(tmp_path, monkeypatch):
    path, fsync, left = tmp_path / "run.npz", os.fsync, [2]  # one for the file, one for its folder

    def full(descriptor):
        left[0] -= 1
        if left[0] < 0:
            raise OSError(28, os.strerror(28))
        fsync(descriptor)

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(OSError, match=r"written at step 2 \(No space left on device\); it keeps step 1") as caught:
        cs.simulate(MODEL, X, rng=0, checkpoint=cs.Checkpoint(path=path, every_steps=1))
    assert caught.value.errno == 28
    monkeypatch.undo()
    assert stored_step(path) == 1


def test_an_error_in_a_run_leaves_its_checkpoint(tmp_path):
    path = tmp_path / "run.npz"
    leave(path, moment=0.7)
    assert stored_step(path) == 6
    assert np.array_equal(resume(path).final, cs.simulate(MODEL, X, rng=0).final)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"path": 3}, TypeError, "path must be a path, got 3"),
        ({"path": "a", "every_steps": 0}, ValueError, "every_steps must be an integer >= 1, got 0"),
        ({"path": "a", "every_seconds": -1}, ValueError, "every_seconds must be a finite number >= 0"),
        ({"path": "a", "every_seconds": None}, ValueError, "must not both be None"),
        ({"path": "a", "keep": "no"}, TypeError, "keep must be True or False, got 'no'"),
        ({"path": "missing/a"}, ValueError, "path must lie in a folder that exists, got 'missing/a'"),
    ],
)
def test_bad_checkpoints(arguments, error, message):
    with pytest.raises(error, match=message):
        cs.Checkpoint(**arguments)


def rewrite(path, **changes):
    """Change what a checkpoint holds; its sums are right again."""
    with np.load(path) as saved:
        arrays = dict(saved)
    np.savez(path, **(arrays | {name: change(arrays[name]) for name, change in changes.items()}))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"step": lambda a: a * 0 - 5}, r"its step -5 is not one of 0 … 20"),
        ({"step": lambda a: a * 0 + 10**6}, r"its step 1000000 is not one of 0 … 20"),
        ({"step": lambda a: a + 1}, r"its states are not 4 of shape"),
        ({"states": lambda a: a[:-1]}, r"its states are not 3 of shape \(40, 3\) and float64"),
        ({"tokens": lambda a: a.astype(np.float32)}, r"its tokens are not 1 of shape"),
        ({"tokens": lambda a: a[:-1]}, r"its tokens are not 1 of shape"),
        ({"tokens": lambda a: 1.22 * a}, r"tokens must lie on the unit sphere"),
        ({"states": lambda a: a * np.nan}, r"states must lie on the unit sphere"),
        ({"observable_0": lambda a: a[:-1]}, r"it has 2 values of 'first', not 3"),
    ],
)
def test_a_checkpoint_that_cannot_be_of_this_run_is_refused(tmp_path, changes, reason):
    path = tmp_path / "run.npz"
    times = {"save_at": [0.0, 0.4, 0.9, 1.0, 2.0]}
    leave(path, **times)
    rewrite(path)
    assert np.array_equal(resume(path, **times).final, cs.simulate(MODEL, X, rng=0).final)
    leave(path, **times)
    rewrite(path, **changes)
    with pytest.raises(ValueError, match=rf"run.npz is damaged \(ValueError: {reason}.*remove it to start again"):
        resume(path, **times)


def test_one_run_at_a_time_uses_a_checkpoint(tmp_path):
    path = tmp_path / "run.npz"
    with start(path, every_steps=1) as process:
        process.stdout.readline()
        process.send_signal(signal.SIGSTOP)  # so that it does not end meanwhile
        with pytest.raises(files.InUseError, match=rf"checkpoint .*run.npz is in use by process {process.pid} on "):
            cs.simulate(MODEL, X, rng=0, checkpoint=path)
        process.kill()
        process.wait()
    path.unlink(missing_ok=True)
    path.with_name("run.npz.previous").unlink(missing_ok=True)
    cs.simulate(MODEL, X, rng=0, checkpoint=path)  # the lock of a killed process is none
    assert not list(tmp_path.iterdir())


def test_links_and_home_are_followed(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "disk").mkdir()
    (tmp_path / "run.npz").symlink_to(tmp_path / "disk" / "run.npz")
    leave("~/run.npz")
    assert (tmp_path / "run.npz").is_symlink()
    assert stored_step(tmp_path / "disk" / "run.npz") == 9
    resume("~/run.npz")
    assert not list((tmp_path / "disk").iterdir())
    with pytest.raises(ValueError, match="path must be a path on this machine, got the URL"):
        cs.Checkpoint(path="s3://bucket/run.npz")


def test_a_place_that_cannot_be_written_is_found_before_the_run(tmp_path):
    def never(t, x):
        raise AssertionError("ran")

    for path in (tmp_path, tmp_path / ("n" * 250)):  # no room for the names beside it
        with pytest.raises(ValueError, match=r"checkpoint: .* cannot be written"):
            cs.simulate(MODEL, X, rng=0, observe={"never": never}, checkpoint=path)


def test_an_ignored_signal_stays_ignored():
    """As under nohup, where a shell has set SIGINT aside for the whole process."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with signals.StopRequest() as stop:
            os.kill(os.getpid(), signal.SIGINT)
            assert stop.received is None
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)
