"""Noise as a function of (seed, stream, replica, step), never of call order or of the number of tokens.

Each (stream, replica) has a Philox key derived with NumPy's SeedSequence; the step is a part of Philox's counter, so
any step is reached at once and no two steps overlap. The layers and the Brownian noise are normals of the compiled
generator (`csrc/normal.inc`), bitwise identical for any number of threads and on any instruction set. What is drawn
once a run comes from NumPy's generators.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chaosphere.common import checks
from chaosphere.common.reprs import Brief, short
from chaosphere.kernels import normals as kernel

STREAM_VERSION = 2  # stored with results; raised whenever the numbers drawn for a seed change

Seed = int | np.random.SeedSequence | np.random.Generator
Seeds = Seed | Sequence[Seed] | NDArray[np.integer[Any]]  # one for all replicas, or one for each


class Stream(IntEnum):
    """What the numbers are used for; streams never share numbers.

    Attributes
    ----------
    TOKENS
        Initial tokens.
    LAYER
        Random layers.
    BROWNIAN
        The common noise of the limit.
    IDIOSYNCRATIC
        The noise that each token has for itself.
    TANGENT
        Directions of Lyapunov exponents.
    SUBSAMPLE
        Choices of tokens and directions.
    HEADS
        Random heads of attention.
    TRAINED_HEADS
        Heads of a network before its training.
    LIMIT_HEADS
        Heads that represent a law before the training of the limit.

    See Also
    --------
    chaosphere.common.streams.Noise : The noise of a run.

    Examples
    --------
    >>> from chaosphere.common.streams import Noise, Stream
    >>> noise = Noise(0)
    >>> streams = (Stream.LAYER, Stream.BROWNIAN)
    >>> a, b = (noise.draws(stream, 0).normals((3,))[0] for stream in streams)
    >>> bool((a == b).any())
    False
    """

    TOKENS = 0
    LAYER = 1
    BROWNIAN = 2
    IDIOSYNCRATIC = 3
    TANGENT = 4
    SUBSAMPLE = 5
    HEADS = 6
    TRAINED_HEADS = 7
    LIMIT_HEADS = 8


def root(rng: Seed) -> np.random.SeedSequence:
    """Return the SeedSequence that rng stands for.

    Parameters
    ----------
    rng : int, numpy.random.SeedSequence or numpy.random.Generator
        An int >= 0 or a SeedSequence always stands for the same noise. A Generator gives 128 bits, and moves on.

    Returns
    -------
    numpy.random.SeedSequence

    Raises
    ------
    TypeError, ValueError
        If rng is anything else (None included: runs without a seed cannot be repeated), or negative.
    """
    if isinstance(rng, np.random.SeedSequence):
        return rng
    if isinstance(rng, np.random.Generator):
        return np.random.SeedSequence([int(word) for word in rng.integers(0, 2**32, size=4)])
    if isinstance(rng, (int, np.integer)) and not isinstance(rng, bool):
        if rng < 0:
            raise ValueError(f"rng must be an int >= 0, a SeedSequence or a Generator, got {rng}")
        return np.random.SeedSequence(int(rng))
    raise TypeError(f"rng must be an int >= 0, a numpy SeedSequence or a numpy Generator, got {short(rng)}")


def roots(rng: Seeds, *, n_replicas: int, is_shared: bool) -> list[np.random.SeedSequence]:
    """Return the one SeedSequence of all replicas, or those of a list, one per replica.

    Raises
    ------
    TypeError, ValueError
        If one is no seed, a list has not one for each replica, or the replicas of a list were to share noise.
    """
    seeds: Any = rng.tolist() if isinstance(rng, np.ndarray) else rng
    is_list = isinstance(seeds, Sequence) and not isinstance(seeds, checks.RAW)
    if not is_list:
        return [root(seeds)]
    if len(seeds) != n_replicas:
        raise ValueError(f"rng must hold one seed per replica, {n_replicas}, got {len(seeds)}")
    if is_shared and n_replicas > 1:
        raise ValueError("rng must be one seed where shared_noise is True, got a list")
    return [root(seed) for seed in seeds]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class Draws(Brief):
    """The normals of one stream and step, for every replica.

    Parameters
    ----------
    keys : ndarray of uint32, shape (R, 2)
        Keys of the generator, one for each replica.
    step : int
        The step, from 0.
    n_threads : int
        Does not change a number.

    See Also
    --------
    chaosphere.common.streams.Noise : The noise of a run.

    Examples
    --------
    >>> from chaosphere.common.streams import Noise, Stream
    >>> draws = Noise(0, n_replicas=2).draws(Stream.LAYER, 5)
    >>> draws.step, draws.keys.shape
    (5, (2, 2))
    """

    keys: NDArray[np.uint32]
    step: int = 0
    n_threads: int = 1

    @classmethod
    def of(cls, rng: np.random.Generator) -> Draws:
        """Return the draws of one replica whose key is the generator's next 64 bits.

        Parameters
        ----------
        rng : numpy.random.Generator
            Gives the key.

        Returns
        -------
        Draws
            Of step 0.

        See Also
        --------
        chaosphere.MLP.draw : Draw one layer.
        chaosphere.common.streams.Draws.normals : Arrays of standard normals.

        Examples
        --------
        >>> import numpy as np
        >>> from chaosphere.common.streams import Draws
        >>> Draws.of(np.random.default_rng(0)).normals((3,))[0].shape
        (1, 3)
        """
        return cls(keys=rng.integers(0, 2**32, size=(1, 2), dtype=np.uint32))

    def normals(self, *shapes: tuple[int, ...]) -> list[NDArray[np.float64]]:
        """Return standard normals; the same at every call with the same shapes before.

        Parameters
        ----------
        *shapes : tuple of int
            Shapes of the arrays, without the axis of replicas.

        Returns
        -------
        list of ndarray of float64
            One of shape ``(R, *shape)`` for each shape.

        See Also
        --------
        chaosphere.common.streams.Noise.draws : Normals of a step.
        chaosphere.common.streams.Draws.of : Draws from a NumPy generator.
        chaosphere.common.streams.Draws.part : A part of the numbers of one array.

        Examples
        --------
        >>> from chaosphere.common.streams import Noise, Stream
        >>> u, b = Noise(0, n_replicas=2).draws(Stream.LAYER, 0).normals((8, 3), (8,))
        >>> u.shape, b.shape
        ((2, 8, 3), (2, 8))
        """
        arrays, first = [], 0
        for shape in shapes:
            size = math.prod(shape)
            flat = kernel.normals(self.keys, self.step, first, size, self.n_threads)
            arrays.append(np.ascontiguousarray(flat).reshape(len(self.keys), *shape))
            first += -(-size // 16)
        return arrays

    def part(self, first: int, *, size: int) -> NDArray[np.float64]:
        """Return a part of the numbers of one array, which `normals` returns whole, at no cost for the others.

        Parameters
        ----------
        first : int
            Number of the first, from 0, in the order of memory.
        size : int
            How many, at least 1.

        Returns
        -------
        ndarray of float64, shape (R, size)
            ``normals(shape)[0].reshape(R, -1)[:, first : first + size]`` of a shape that has so many.

        See Also
        --------
        chaosphere.common.streams.Draws.normals : Arrays of standard normals.

        Examples
        --------
        >>> from chaosphere.common.streams import Noise, Stream
        >>> draws = Noise(0).draws(Stream.IDIOSYNCRATIC, 0)
        >>> bool((draws.part(20, size=5) == draws.normals((40,))[0][:, 20:25]).all())
        True
        """
        skipped = first % 16  # the generator counts in sixteens
        flat = kernel.normals(self.keys, self.step, first // 16, skipped + size, self.n_threads)
        return np.ascontiguousarray(flat[:, skipped:])


class Noise:
    """The noise of one run, addressed by stream, replica and step.

    Parameters
    ----------
    rng : int, SeedSequence or Generator, or a list of them
        A sequence gives each replica the noise of a run of its own with that seed.
    n_replicas : int
        Independent copies; replica r draws the same numbers whatever n_replicas is.
    is_shared : bool
        All replicas use the common noise of replica 0.
    n_threads : int
        For drawing; never changes a number.

    See Also
    --------
    chaosphere.models.protocol.StepContext : Noise and threads of a run.
    chaosphere.common.streams.Stream : What random numbers are used for.
    chaosphere.common.streams.Draws : Normals of one stream and step.

    Examples
    --------
    A step's numbers do not depend on how many are drawn, nor on other steps:

    >>> from chaosphere.common.streams import Noise, Stream
    >>> (a,) = Noise(7).draws(Stream.LAYER, 5).normals((3,))
    >>> b, c = Noise(7).draws(Stream.LAYER, 5).normals((2,), (100, 2))
    >>> bool((a[:, :2] == b).all())
    True
    """

    def __init__(self, rng: Seeds, *, n_replicas: int = 1, is_shared: bool = False, n_threads: int = 1) -> None:
        self.roots = roots(rng, n_replicas=n_replicas, is_shared=is_shared)
        self.n_replicas = n_replicas
        self.is_shared = is_shared
        self.n_threads = n_threads
        self._keys: dict[Stream, NDArray[np.uint32]] = {}
        self._generators: dict[Stream, list[np.random.Generator]] = {}

    def __repr__(self) -> str:
        """Return the seeds and the number of replicas."""
        seeds = [f"{root.entropy}{list(root.spawn_key) or ''}" for root in self.roots]
        shown = seeds[0] if len(seeds) == 1 else short(seeds).replace("'", "")
        shared = ", is_shared=True" if self.is_shared else ""
        return f"Noise({shown}, n_replicas={self.n_replicas}{shared})"

    def draws(self, stream: Stream, step: int) -> Draws:
        """Return the normals of a step (of one replica for all, for common noise that is shared).

        Parameters
        ----------
        stream : Stream
            What the numbers are used for.
        step : int
            The step, from 0.

        Returns
        -------
        Draws
            Makes arrays of standard normals.

        See Also
        --------
        chaosphere.MLP.plan : What draws the layers of a run.
        chaosphere.GaussianField.increment : The noise over a time interval.
        chaosphere.common.streams.Noise.at : NumPy generators of a step.
        chaosphere.common.streams.Draws.normals : Arrays of standard normals.

        Examples
        --------
        >>> from chaosphere.common.streams import Noise, Stream
        >>> (shake,) = Noise(0, n_replicas=4).draws(Stream.LAYER, 10).normals((3,))
        >>> shake.shape
        (4, 3)
        """
        if stream not in self._keys:
            sequences = [self._sequence(stream, replica) for replica in range(self._n_own(stream))]
            self._keys[stream] = np.stack([sequence.generate_state(2, np.uint32) for sequence in sequences])
        return Draws(keys=self._keys[stream], step=step, n_threads=self.n_threads)

    def at(self, stream: Stream, step: int) -> list[np.random.Generator]:
        """Return one NumPy generator per replica (one for all, if shared), set to the start of this step.

        They are the same objects at every call, moved: draw from them before asking for another step.

        Parameters
        ----------
        stream : Stream
            What the numbers are used for.
        step : int
            The step, from 0.

        Returns
        -------
        list of numpy.random.Generator
            One per replica; one for all if the noise is shared.

        See Also
        --------
        chaosphere.common.streams.Noise.draws : Normals of a step.

        Examples
        --------
        >>> from chaosphere.common.streams import Noise, Stream
        >>> noise = Noise(0)
        >>> first = [rng.integers(1000) for rng in noise.at(Stream.SUBSAMPLE, 3)]
        >>> again = [rng.integers(1000) for rng in noise.at(Stream.SUBSAMPLE, 3)]
        >>> first == again
        True
        """
        if stream not in self._generators:
            self._generators[stream] = [
                np.random.Generator(np.random.Philox(self._sequence(stream, replica)))
                for replica in range(self._n_own(stream))
            ]
        generators = self._generators[stream]
        for generator in generators:
            state: Any = generator.bit_generator.state
            state["state"]["counter"][:] = (0, 0, step, 0)
            state["buffer_pos"], state["has_uint32"], state["uinteger"] = 4, 0, 0
            generator.bit_generator.state = state
        return generators

    def _n_own(self, stream: Stream) -> int:
        """Return the number of replicas with numbers of their own."""
        return 1 if self.is_shared and stream is not Stream.IDIOSYNCRATIC else self.n_replicas

    def _sequence(self, stream: Stream, replica: int) -> np.random.SeedSequence:
        is_own = len(self.roots) > 1
        base = self.roots[replica if is_own else 0]
        key = (*base.spawn_key, int(stream), 0 if is_own else replica)
        return np.random.SeedSequence(base.entropy, spawn_key=key, pool_size=base.pool_size)
