"""Clips: their frames, the runs they take, and what is refused before anything is drawn."""

import itertools
import os
import subprocess
import sys
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
from PIL import Image

import chaosphere as cs
from chaosphere.plot import clips

MODEL = cs.Transformer(attention=cs.SoftmaxAttention(beta=4.0), mlp=None, depth=12, horizon=3.0)
X = cs.sample_uniform(20, 3, rng=0)


def frames(path):
    with Image.open(path) as image:
        assert image.format == "GIF"
        return image.n_frames, image.info["duration"]


def test_a_trajectory_and_a_solution_give_the_same_file(tmp_path):
    solution = cs.simulate(MODEL, X, rng=0, save_at=np.linspace(0, 3, 13))
    first = cs.plot.clip(solution, tmp_path / "a.gif", fps=10)
    second = cs.plot.clip(cs.trajectory(MODEL, X, rng=0), str(tmp_path / "b.gif"), fps=10)
    assert (first, second) == (tmp_path / "a.gif", tmp_path / "b.gif")
    assert frames(first) == (13, 100)
    assert first.read_bytes() == second.read_bytes()
    assert sorted(os.listdir(tmp_path)) == ["a.gif", "b.gif"]


def test_a_clip_lasts_no_longer_than_it_may(tmp_path):
    path = cs.plot.clip(cs.trajectory(MODEL, X, rng=0), tmp_path / "a.gif", fps=10, seconds=0.5)
    assert frames(path) == (4, 100)  # of 13 every fourth


def test_states_alone_are_taken_with_replicas(tmp_path):
    states = np.stack([cs.sample_uniform(6, 5, rng=k, n_replicas=2) for k in range(3)])
    assert frames(cs.plot.clip(states, tmp_path / "A.GIF"))[0] == 3


@pytest.mark.parametrize("n_states", [1, 2, 7, 8, 9, 100, 1000])
@pytest.mark.parametrize("n_frames", [2, 5, 8, 2000])
def test_frames_are_the_ends_and_equal_steps_between(n_states, n_frames):
    run = ((float(k), X) for k in range(n_states))
    times = [time for time, _ in clips._frames(run, n_frames=n_frames)]
    assert times[0] == 0
    assert times[-1] == n_states - 1
    assert min(n_frames, n_states) / 2 < len(times) <= n_frames
    steps = np.diff(times)
    assert len(set(steps[:-1])) <= 1
    assert (steps > 0).all()


def test_the_plane_of_many_dimensions_is_one_for_all_frames(tmp_path, monkeypatch):
    planes = []
    original = clips.projection
    monkeypatch.setattr(clips, "projection", lambda x, **options: planes.append(len(x)) or original(x, **options))
    cs.plot.clip(np.stack([cs.sample_uniform(6, 5, rng=k) for k in range(3)]), tmp_path / "a.gif")
    assert planes == [18]


@pytest.mark.parametrize(
    ("run", "options", "error", "message"),
    [
        (X, {}, ValueError, r"run must have shape \(n_states, N, d\) or .* got \(20, 3\)"),
        ([], {}, ValueError, r"run must hold at least one state"),
        ([X], {}, TypeError, r"run must yield pairs \(time, tokens\), got ndarray"),
        ([(0.0, X), (1.0, X[:4])], {}, ValueError, r"run must have states of one shape"),
        ([(0.0, 2 * X)], {}, ValueError, r"a state of run must lie on the unit sphere"),
        (3, {}, TypeError, r"run must be a Solution, an iterable of \(time, tokens\), or an array of states, got 3"),
        (X[None], {"fps": 51}, ValueError, r"fps must be an integer <= 50, got 51"),
        (X[None], {"seconds": 0}, ValueError, r"seconds must be a finite number > 0"),
        (X[None], {"color": [1.0]}, ValueError, r"color must have shape \(20,\)"),
    ],
)
def test_bad_arguments(tmp_path, run, options, error, message):
    with pytest.raises(error, match=message):
        cs.plot.clip(run, tmp_path / "a.gif", **options)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("name", ["clip.avi", "clip", "clip.gif.png"])
def test_another_suffix_is_refused_before_the_run_is_made(tmp_path, name):
    def run():
        raise AssertionError("the run was started")
        yield

    with pytest.raises(ValueError, match=r"path must end in \.gif or \.mp4, got "):
        cs.plot.clip(run(), tmp_path / name)


def test_mp4_without_ffmpeg_is_refused_before_the_run_is_made(tmp_path):
    with (
        mpl.rc_context({"animation.ffmpeg_path": str(tmp_path / "nowhere")}),
        pytest.raises(RuntimeError, match=r"\.mp4, which needs the program ffmpeg, not found here; install it, or"),
    ):
        cs.plot.clip(itertools.count(), tmp_path / "a.mp4")


def test_mp4_is_what_ffmpeg_writes(tmp_path):
    """With a program in ffmpeg's place: it is given whole frames, and what it writes is what the file holds."""
    fake = tmp_path / "ffmpeg"
    fake.write_text(
        f"#!{sys.executable}\nimport sys\n"
        "if '-version' in sys.argv: sys.exit()\n"
        "open(sys.argv[-1], 'wb').write(b'%d bytes' % len(sys.stdin.buffer.read()))\n"
    )
    fake.chmod(0o755)
    with mpl.rc_context({"animation.ffmpeg_path": str(fake)}):
        path = cs.plot.clip(np.stack([X, X]), tmp_path / "a.mp4")
    assert path.read_text() == f"{2 * 400 * 400 * 4} bytes"


def test_an_interruption_leaves_the_clip_before(tmp_path):
    path = cs.plot.clip(X[None], tmp_path / "a.gif")
    before = path.read_bytes()

    def run():
        yield 0.0, X
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cs.plot.clip(run(), path)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["a.gif"]


def test_nothing_needs_a_display(tmp_path):
    """Also where pyplot would choose an interactive backend."""
    program = (
        "import chaosphere as cs\n"
        "x = cs.sample_uniform(9, 3, rng=0)\n"
        "cs.plot.save(cs.plot.tokens(x), 'a.png')\n"
        "cs.plot.clip(x[None], 'a.gif')\n"
    )
    environment = {k: v for k, v in os.environ.items() if k not in {"DISPLAY", "WAYLAND_DISPLAY", "MPLBACKEND"}}
    subprocess.run([sys.executable, "-c", program], cwd=tmp_path, env=environment, check=True, timeout=120)
    assert Path(tmp_path, "a.png").read_bytes().startswith(b"\x89PNG")
