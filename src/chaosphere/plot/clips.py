"""Tokens over time, as an animation in a file."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

from chaosphere.common import checks, files, messages
from chaosphere.common.checks import Floats, Tokens
from chaosphere.plot import style
from chaosphere.plot.clouds import SIZE, Cloud, Paint
from chaosphere.plot.projections import VIEW, projection

CLIPS = (".gif", ".mp4")
_DOTS_PER_INCH = 100
_MAX_FPS = 50  # viewers show a GIF with more frames a second slowly

Frame = tuple[float | None, Tokens]


@runtime_checkable
class HasStates(Protocol):
    """What keeps states of a run, such as a `Solution`."""

    state_times: Floats
    states: Tokens


def clip(
    run: Any,
    path: str | os.PathLike[str],
    *,
    seconds: float = 8.0,
    fps: int = 20,
    color: Any = None,
    view: Any = VIEW,
    plane: Any = None,
) -> Path:
    """Write an animation of tokens over time to a GIF or an MP4.

    Parameters
    ----------
    run : Solution, iterable of (time, tokens), or ndarray of shape (n, N, d) or (n, R, N, d)
        The states of a Solution that was saved at several times; a run as `chaosphere.trajectory` gives it; or the
        states alone.
    path : path
        Ends in .gif or .mp4; .mp4 needs the program ffmpeg.
    seconds : float
        How long the clip lasts at most. Of more than `seconds` times `fps` states every second is shown, or every
        fourth, and so on, and the last.
    fps : int
        Frames a second, 1 to 50.
    color : color or array_like, shape (N,) or (R, N), optional
        As in `tokens`.
    view : tuple of float
        As in `tokens`.
    plane : array_like, shape (2, d), optional
        As in `tokens`. Default for d > 3: that of the principal axes of all states together.

    Returns
    -------
    pathlib.Path
        The file.

    Raises
    ------
    ImportError
        If Matplotlib is not installed.
    RuntimeError
        If ffmpeg is missing.
    TypeError, ValueError
        If an argument is out of range, or there are no states; before anything is drawn.

    See Also
    --------
    chaosphere.trajectory : Iterate over a run.
    chaosphere.plot.tokens : Draw the tokens of one state.
    chaosphere.plot.save : Write a picture to a file.
    chaosphere.Solution.plot : Draw a run.

    Notes
    -----
    The file is written beside its name and then renamed: it is whole or what it was before. Of an iterable, no
    more states are kept in memory than are shown.

    Examples
    --------
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> import chaosphere as cs
    >>> attention = cs.SoftmaxAttention(beta=9.0)
    >>> model = cs.Transformer(attention=attention, mlp=None, depth=4, horizon=4.0)
    >>> run = cs.trajectory(model, cs.sample_uniform(100, 3, rng=0), rng=0)
    >>> with TemporaryDirectory() as folder:
    ...     cs.plot.clip(run, Path(folder) / "clusters.gif").name
    'clusters.gif'
    """
    target = style.check_path(path, suffixes=CLIPS)
    seconds = checks.number(seconds, "seconds", above=0, high=3600)
    fps = checks.integer(fps, "fps", low=1, high=_MAX_FPS)
    writer = _writer(target.suffix.lower(), fps)
    frames = _frames(run, n_frames=max(2, round(seconds * fps)))
    shape = np.shape(frames[0][1])
    states = [x.reshape(-1, shape[-1]) for _, x in frames]
    where = projection(np.concatenate(states), view=view, plane=plane)
    paint = Paint.of(color, (1, *shape)[-3:-1])
    canvas, ax = style.figure(SIZE, SIZE)
    cloud = Cloud(ax, where, paint)
    ax.set_title(" ")
    canvas.draw_without_rendering()
    canvas.set_layout_engine("none")  # the places of the axes are the same in every frame
    from tempfile import TemporaryDirectory

    with TemporaryDirectory() as folder:
        draft = Path(folder) / f"clip{target.suffix.lower()}"
        with writer.saving(canvas, draft, _DOTS_PER_INCH):
            for (time, _), points in zip(frames, states, strict=True):
                cloud.show(points)
                ax.set_title(" " if time is None else f"t = {time:.2f}")
                writer.grab_frame()
        with draft.open("rb") as source:
            files.replace(target, lambda stream: shutil.copyfileobj(source, stream))
    return target


def _writer(suffix: str, fps: int) -> Any:
    module = checks.extra("matplotlib.animation", "plot")
    if suffix == ".gif":
        return module.PillowWriter(fps=fps)
    if not module.FFMpegWriter.isAvailable():
        raise RuntimeError(
            "path ends in .mp4, which needs the program ffmpeg, not found here; install it, or write a .gif"
        )
    return module.FFMpegWriter(fps=fps)


def _frames(run: Any, *, n_frames: int) -> list[Frame]:
    """Return every k-th (time, tokens) and the last, checked; k is the least power of two that leaves n_frames."""
    kept: list[Frame] = []
    every, last = 1, None
    for index, last in enumerate(_pairs(run)):
        if index % every == 0:
            kept.append(last)
        if len(kept) >= n_frames:  # with the last they are no more
            kept, every = kept[::2], 2 * every
    if last is None:
        raise ValueError("run must hold at least one state")
    if kept[-1] is not last:
        kept.append(last)
    shapes = {np.shape(x) for _, x in kept}
    if len(shapes) > 1:
        raise ValueError(f"run must have states of one shape, got {sorted(shapes)}")
    for _, x in kept:
        checks.tokens(x, "a state of run")
    return kept


def _pairs(run: Any) -> Iterable[Frame]:
    if isinstance(run, HasStates):
        return zip(run.state_times.tolist(), run.states, strict=True)
    if isinstance(run, np.ndarray):
        if run.ndim not in (3, 4):
            raise ValueError(f"run must have shape (n_states, N, d) or (n_states, R, N, d), got {run.shape}")
        return ((None, x) for x in run)
    if isinstance(run, Iterable):
        return (_pair(item) for item in run)
    raise TypeError(
        f"run must be a Solution, an iterable of (time, tokens), or an array of states, got {messages.shown(run)}"
    )


def _pair(item: Any) -> Frame:
    try:
        time, x = item
    except (TypeError, ValueError):
        raise TypeError(f"run must yield pairs (time, tokens), got {type(item).__name__}") from None
    return checks.number(time, "a time of run"), np.array(checks.floating(x, "a state of run"))
