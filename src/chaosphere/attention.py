"""Self-attention: the interaction between tokens."""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chaosphere import checks, expansions, nufft, sphere
from chaosphere.checks import Floats, Tokens
from chaosphere.kernels import attention as kernel
from chaosphere.kernels.rows import attend_rows

LOG2_E = math.log2(math.e)
AT_ONCE = 4e9  # multiply-adds of steps taken at once, some tenths of a second
_VALUE_SHARE = 1e-8  # of the largest float: sums of many values stay finite
METHODS = ("auto", "direct", "fourier", "harmonic", "nufft")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class AttentionResult:
    """One evaluation of attention.

    Attributes
    ----------
    value : ndarray
        Attn(μ_x, x_i), shape and dtype of x.
    log_partition : ndarray of float64, shape (N,) or (R, N)
        log Σ_j p_j e^{⟨Qx_i, Kx_j⟩}.
    energy : float, ndarray of shape (R,) or None
        E_β from the same pass; None unless QᵀK = βI, in the form of a beta <= 700. The absolute error is at most

            e^β ((4 + (2 + √d/4) β) ε + rtol/4 + β η + σ/2)

        with ε = 2.2e-16 or 1.2e-7, rtol as `resolve` tells it (0 for the direct sum), η the largest distance of a token
        from the sphere, and σ the distance of the sum of the weights from 1. `measures.energy` keeps relative accuracy
        near consensus, for a pass of its own.
    """

    value: Tokens
    log_partition: Floats
    energy: float | Floats | None
    n_direct: int | NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SoftmaxAttention(checks.ByValue):
    """Softmax self-attention without the 1/√d scaling; the sum includes the token itself.

    Attn(μ, x) = ∫ e^{⟨Qx, Ky⟩} V y dμ(y) / ∫ e^{⟨Qx, Ky⟩} dμ(y),  μ = Σ p_i δ_{x_i}   (arXiv:2604.26898, eq. 1.1)

    Parameters
    ----------
    beta : float, optional
        QᵀK = βI, β >= 0 (default 1, unless query and key are given).
    value_scale : float, optional
        V = δI: 1 attracts (default), 0 switches off, −1 repels.
    query, key : array_like, shape (d, d), optional
        General Q and K, both or none, instead of beta.
    value : array_like, shape (d, d), optional
        General V, instead of value_scale.
    method : {"auto", "direct", "fourier", "harmonic", "nufft"}
        direct
            Over all pairs, O(N² d); for any QᵀK.
        fourier
            For d = 2 and QᵀK = βI (in whatever form it is given), β <= 10⁴: e^{β cos θ} = Σ I_k(β) cos kθ, O(N K) with
            K from 14 (β = 1) to 120 (β = 200) and about 8 √β beyond.
        harmonic
            For d >= 3 and QᵀK = βI, as long as 40 000 harmonics are enough: e^{β⟨x,y⟩} in spherical harmonics of degree
            L, O(N L^{d−1}), L about the K above.
        nufft
            For d = 2 or 3 and QᵀK = βI with β >= 0.1, by non-uniform Fourier transforms of a Gaussian in R^d
            (`chaosphere.nufft`; needs finufft, extra "nufft"): for d = 3 and β in the hundreds, at loose
            tolerances. Refused where it would take more than 2 GB (d = 3, β about 1 100 by default, 1 900 at 1e-3).
        auto
            The fastest by a model of the measured times (`resolve` tells): it depends on N, d, β, rtol and the dtype
            alone, so that results have the same bits on every machine with the same instruction set. One exception: for
            d = 3, an rtol that is given, and β that would take too many harmonics (beyond about 500), it is nufft from
            N of about 100 000 if finufft is installed. Expansions win from about N = 530 for d = 2, and at β = 4 from
            1 600 for d = 3, 20 000 for d = 4 and 210 000 for d = 5 (see `chaosphere.expansions`).
    rtol : float, optional
        For expansions, in [1e-13, 0.1]: attention is off by at most rtol ‖V‖ and partition sums by the fraction rtol/2,
        each token's own, beyond the rounding of the result to its dtype. Default: 1e-12 (1 + β/8), 1e-7 (1 + β/8) for
        float32 tokens, near the direct sum's own rounding. Tokens that cannot be served so, far from nearly all others,
        are summed directly, O(N) each; if most tokens are such, all are.

    Raises
    ------
    TypeError, ValueError
        If both forms of a matrix are given, shapes disagree, an entry is not finite, or the method does not serve QᵀK.

    Notes
    -----
    Direct: O(N² d) per system, memory O(N d). When QᵀK is symmetric one exponential serves (i, j) and (j, i).
    Weights p_j e^{⟨Qx_i, Kx_j⟩} carry a relative rounding error of about ‖QᵀK‖ ε (ε = 2.2e-16 or 1.2e-7); none
    overflows, whatever the size of QᵀK.
    Expansions: bounds and their derivation stand in `chaosphere.expansions`. Tokens are projected onto the sphere first
    (where |x| is off by η, the direct sum's weights differ by the fraction 2βη), arithmetic is double; memory is that
    of the results, 8 (d + 1) bytes per float64 token. By either way results have the same bits for any number of
    threads.

    Examples
    --------
    >>> import chaosphere as cs
    >>> x = cs.sample_uniform(500, 3, rng=0)
    >>> y = cs.SoftmaxAttention(beta=0.0)(x)            # β = 0 gives the mean
    >>> bool(abs(y - x.mean(axis=0)).max() < 1e-15)
    True
    """

    beta: float | None = None
    value_scale: float | None = None
    query: Floats | None = None
    key: Floats | None = None
    value: Floats | None = None
    method: str = "auto"
    rtol: float | None = None

    def __post_init__(self) -> None:
        """Check, fill in the defaults, and convert numbers to float."""
        fill = object.__setattr__
        if (self.query is None) != (self.key is None):
            raise ValueError("query and key must be given together; for QᵀK = βI give beta alone")
        if self.beta is not None and self.query is not None:
            raise ValueError("beta must not be given together with query and key: QᵀK is either βI or general")
        if self.value_scale is not None and self.value is not None:
            raise ValueError("value_scale must not be given together with value: V is either δI or general")
        for name in ("query", "key", "value"):
            if getattr(self, name) is not None:
                fill(self, name, checks.square_matrix(getattr(self, name), name))
        shapes = {m.shape for m in (self.query, self.key, self.value) if m is not None}
        if len(shapes) > 1:
            raise ValueError(f"query, key and value must have one shape, got {sorted(shapes)}")
        if self.query is None:
            fill(self, "beta", checks.number(1.0 if self.beta is None else self.beta, "beta", low=0))
        self._check_norm(np.float64)
        if self.value is None:
            scale = 1.0 if self.value_scale is None else self.value_scale
            fill(self, "value_scale", checks.number(scale, "value_scale"))
        if self.method not in METHODS:
            near = difflib.get_close_matches(str(self.method), METHODS, n=1)
            hint = f"did you mean {near[0]!r}? " if near else ""
            raise ValueError(f"method: unknown {self.method!r}; {hint}known: {', '.join(METHODS)}")
        if self.rtol is not None:
            checks.numbers(self, "rtol", low=1e-13, high=0.1)
            if self.method == "direct":
                raise ValueError("rtol must be None with method='direct', which does not approximate")
        if self.method in ("fourier", "harmonic", "nufft") and self._scalar() is None:
            raise ValueError(
                f"method={self.method!r} needs QᵀK = βI with β >= 0; this QᵀK would move the tokens off the sphere"
            )

    def resolve(self, n_tokens: int, dim: int, dtype: Any = "float64") -> SoftmaxAttention:
        """Return this attention with method and rtol chosen for n_tokens tokens in dimension dim.

        Raises
        ------
        TypeError, ValueError
            If a size is no integer or too small, or the method does not serve this dimension or β.
        """
        n_tokens, dim = checks.integer(n_tokens, "n_tokens", low=1), checks.integer(dim, "dim", low=2)
        beta, rtol = self._scalar(), self.rtol
        if rtol is None and beta is not None:
            rtol = min((1e-12 if np.dtype(dtype) == np.float64 else 1e-7) * (1 + beta / 8), 0.1)
        method = self.method
        if method == "auto":
            method = self._fastest(n_tokens, dim, dtype, beta, rtol)
        if method == "direct":
            return replace(self, method="direct", rtol=None)
        assert beta is not None
        assert rtol is not None
        dims, is_served = {
            "fourier": ("2", dim == 2),
            "harmonic": (">= 3", dim >= 3),
            "nufft": ("2 or 3", dim in (2, 3)),
        }[method]
        if not is_served:
            raise ValueError(f"method={method!r} serves dim {dims}, got {dim}")
        if method == "nufft":
            if not nufft.LEAST_BETA <= beta <= expansions.MOST_BETA:
                raise ValueError(
                    f"method='nufft' serves β from {nufft.LEAST_BETA:g} to {expansions.MOST_BETA:g}, got {beta:g}"
                )
            n_bytes = nufft.memory(beta, dim, float(expansions.multipliers(beta, dim)[0]), rtol)
            if n_bytes > nufft.MOST_BYTES:
                raise ValueError(
                    f"method='nufft' would take {n_bytes / 1e9:.1f} GB for β = {beta:g}, dim {dim} and rtol {rtol:.2g} "
                    f"(limit {nufft.MOST_BYTES / 1e9:.1f}); raise rtol, or use method='auto' or 'direct'"
                )
        elif not expansions.serves(beta, dim, rtol):
            raise ValueError(
                f"method={method!r} does not serve β = {beta:.6g} in dim {dim} (too many terms); use method='direct'"
            )
        return replace(self, method=method, rtol=rtol)

    def _fastest(self, n_tokens: int, dim: int, dtype: Any, beta: float | None, rtol: float | None) -> str:
        """Return the method of least expected time.

        nufft, which may be missing, is among them only if an rtol was given, and where there are too many harmonics:
        where there are not, harmonics take about the same time or less.
        """
        times = {"direct": expansions.direct_nanoseconds(n_tokens, dim, dtype)}
        if beta is not None and rtol is not None:
            if expansions.serves(beta, dim, rtol):
                times["fourier" if dim == 2 else "harmonic"] = expansions.nanoseconds(n_tokens, beta, dim, rtol)
            elif dim == 3 and self.rtol is not None and beta <= expansions.MOST_BETA and nufft.is_installed():
                uniform = float(expansions.multipliers(beta, dim)[0])
                times["nufft"] = nufft.nanoseconds(n_tokens, beta, uniform, rtol)
        return min(times, key=lambda method: times[method])

    def __call__(self, x: Tokens, weights: Any = None, *, n_threads: int | None = None) -> Tokens:
        """Return Attn(μ_x, x_i) for every token; parameters as in `evaluate`.

        Returns
        -------
        ndarray
            Of the shape and dtype of x.
        """
        batch, p, n_threads = self._checked(x, weights, n_threads)
        mean, *_ = self._attend(batch, p, n_threads)
        return mean if x.ndim == 3 else mean[0]

    def evaluate(self, x: Tokens, weights: Any = None, *, n_threads: int | None = None) -> AttentionResult:
        """Return attention with its partition sums and, for QᵀK = βI, the energy E_β.

        Parameters
        ----------
        x : ndarray of float64 or float32, shape (N, d) or (R, N, d)
            Tokens on the unit sphere; R independent systems. Any layout, never copied whole.
        weights : array_like, shape (N,), optional
            p_i >= 0 with sum 1 (default 1/N).
        n_threads : int, optional
            Default: all that OpenMP may use. Does not change a bit of the result.

        Returns
        -------
        AttentionResult

        Raises
        ------
        TypeError, ValueError
            If an argument breaks a rule above, or β is so large that the rounding of x alone would change the weights
            by a hundredth.
        """
        batch, p, n_threads = self._checked(x, weights, n_threads)
        mean, log_partition, n_direct = self._attend(batch, p, n_threads)
        log_z = log_partition()
        energy = self._energy(log_z, p)
        if x.ndim == 3:
            return AttentionResult(value=mean, log_partition=log_z, energy=energy, n_direct=n_direct)
        return AttentionResult(
            value=mean[0],
            log_partition=log_z[0],
            energy=None if energy is None else float(energy[0]),
            n_direct=int(n_direct[0]),
        )

    def move(self, x: Tokens, step_size: float, weights: Floats | None, *, n_threads: int, n_steps: int = 1) -> Tokens:
        """Return LN(x + τ Attn(μ_x, x)) for checked tokens (R, N, d), n_steps times over.

        In one pass for the direct sum of QᵀK = βI; many small systems then stay in the cache from step to step.
        """
        self._check_size(x)
        beta = self.beta
        if beta is None or weights is not None or not self._is_one_pass(x):
            for _ in range(n_steps):
                mean = self._attend(x, weights, n_threads)[0]
                x = sphere.layer_norm_step(x, mean, step_size, n_threads, over_v=True)
            return x
        several: dict[str, Any] = {"step": step_size, "n_steps": n_steps, "value_scale": self._factor}
        scale, shift, value_map = math.sqrt(beta * LOG2_E), beta * LOG2_E, self._value_map(x)
        out, bad = kernel.attend_bounded(x, None, value_map, None, scale, shift, True, n_threads, **several)
        return sphere.moved(out, bad)

    def _is_one_pass(self, x: Tokens) -> bool:
        """Whether `move` is one pass over tokens without weights."""
        is_direct = self.resolve(x.shape[1], x.shape[2], x.dtype).method == "direct"
        return self.beta is not None and is_direct and self._is_bounded(self.beta, x.dtype)

    def steps_at_once(self, x: Tokens) -> int:
        """Return how many steps `move` should take at once: as many as take some tenths of a second."""
        n_replicas, n_tokens, dim = x.shape
        return max(1, int(AT_ONCE / (n_replicas * n_tokens**2 * (dim + 4)))) if self._is_one_pass(x) else 1

    def rows_of(self, x: Tokens, *, first: int, stop: int, n_threads: int) -> Tokens:
        """Return rows first … stop − 1 of `self(x)`, x (R, N, d): same bits, and of the direct sum a share of the work.

        Both must be where a block of the kernel starts (`kernels.blocks.block_size`), or the end.
        """
        self._check_size(x)
        if self.resolve(x.shape[1], x.shape[2], x.dtype).method != "direct":
            return np.ascontiguousarray(self._attend(x, None, n_threads)[0][:, first:stop])
        return self._mean(x, None, self._value_map(x), n_threads, first, stop)[0]

    def _checked(self, x: Tokens, weights: Any, n_threads: int | None) -> tuple[Tokens, Floats | None, int]:
        batch = checks.tokens(x)
        threads = checks.threads(n_threads)
        p = checks.weights(weights, batch.shape[1])
        self._check_size(batch)
        return batch, p, threads

    def _attend(
        self, x: Tokens, p: Floats | None, n_threads: int
    ) -> tuple[Tokens, Callable[[], Floats], NDArray[np.int64]]:
        """Return attention, log Z on demand (logarithms take as long as a fast sum), the number of direct sums."""
        chosen = self.resolve(x.shape[1], x.shape[2], x.dtype)
        if chosen.method == "direct":
            mean, log_z = self._direct(x, p, n_threads)
            return mean, lambda: log_z, np.full(len(x), x.shape[1])
        return chosen._expand(x, p, n_threads)

    def _expand(
        self, x: Tokens, p: Floats | None, n_threads: int
    ) -> tuple[Tokens, Callable[[], Floats], NDArray[np.int64]]:
        beta, rtol, dim = self._scalar(), self.rtol, x.shape[2]
        assert beta is not None
        assert rtol is not None
        value = np.diag(np.full(dim, self.value_scale)) if self.value is None else self.value
        if self.method == "nufft":
            uniform = float(expansions.multipliers(beta, dim)[0])
            mean, z, least, error = nufft.attend(x, p, beta, uniform, rtol, value, n_threads)
        else:
            n_max = expansions.degree(beta, dim, rtol)
            mean, z, least, error = expansions.attend(x, p, beta, n_max, value, n_threads)
        exact: list[tuple[int, Any, Floats]] = []
        n_direct = np.zeros(len(x), np.int64)
        # A token whose own sum is too small, compared with the error, is summed directly; `not >=` sees a NaN as well.
        for replica in np.flatnonzero(~(least >= 2 * error / rtol)):
            rows: Any = np.flatnonzero(~(z[replica] >= 2 * error[replica] / rtol))
            if 2 * len(rows) > x.shape[1]:
                rows = slice(None)
                found, log_found = self._direct(x[replica][None], p, n_threads)
            else:
                found, log_found = self._direct_rows(x[replica][None], rows, p, n_threads)
            mean[replica, rows] = found[0]
            exact.append((int(replica), rows, log_found[0]))
            n_direct[replica] = len(log_found[0])

        def log_partition() -> Floats:
            with np.errstate(divide="ignore", invalid="ignore"):  # where the direct sum stands in
                log_z = np.log(z) + beta
            for replica, rows, log_found in exact:
                log_z[replica, rows] = log_found
            return np.asarray(log_z)

        return mean, log_partition, n_direct

    def _direct(self, x: Tokens, p: Floats | None, n_threads: int) -> tuple[Tokens, Floats]:
        """Return attention and log Z over all pairs."""
        relative, log_unit = _relative(p, x.shape[1])
        mean, log2_z = self._weighted_mean(x, relative, self._value_map(x), n_threads)
        return mean, log2_z / LOG2_E + log_unit

    def _direct_rows(self, x: Tokens, rows: Any, p: Floats | None, n_threads: int) -> tuple[Tokens, Floats]:
        """Return attention and log Z of some tokens of one system, QᵀK = βI."""
        beta = self._scalar()
        assert beta is not None
        relative, log_unit = _relative(p, x.shape[1])
        mean, log2_z = attend_rows(
            x[:, rows], x, None, self._value_map(x), relative, beta * LOG2_E, n_threads, self._factor
        )
        return mean, log2_z / LOG2_E + log_unit

    def _value_map(self, x: Tokens) -> Tokens | None:
        return None if self.value is None else self.value.astype(x.dtype)

    @property
    def _factor(self) -> float:
        return 1.0 if self.value_scale is None else self.value_scale

    @staticmethod
    def _is_bounded(beta: float, dtype: Any) -> bool:
        # Tokens off the sphere by the tolerance push exponents above 0, by this much at most.
        return bool(2.5 * checks.SPHERE_TOLERANCE[dtype] * beta * LOG2_E < 100)

    def _scalar(self) -> float | None:
        """Return β if QᵀK = βI with β >= 0 to rounding, else None."""
        if self.beta is not None:
            return self.beta
        form = self._form()
        beta = float(np.trace(form)) / len(form)
        is_scalar = abs(form - beta * np.eye(len(form))).max() <= 1e-15 * len(form) * abs(beta)
        return beta if is_scalar and beta >= 0 else None

    def _check_norm(self, dtype: Any) -> None:
        limit = 0.01 / float(np.finfo(dtype).eps)
        if self.beta is not None:
            size, name = self.beta, "beta"
        else:
            size, name = _norm(self._form()), "the norm of QᵀK"
        if not size <= limit:
            raise ValueError(
                f"{name} must be <= {limit:.3g} for {np.dtype(dtype)} tokens, got {size:.6g}: beyond it the rounding "
                "of the tokens decides the weights"
            )

    def _check_size(self, x: Tokens) -> None:
        self._check_norm(x.dtype)
        limit = min(_VALUE_SHARE * float(np.finfo(x.dtype).max), checks.MAX_SIZE)
        size = abs(self._factor) if self.value is None else float(abs(self.value).max())
        if not size <= limit:
            name = "value_scale" if self.value is None else "the entries of value"
            raise ValueError(f"{name} must be <= {limit:.3g} in size for {x.dtype} tokens, got {size:.6g}")
        for matrix in (self.query, self.value):
            if matrix is not None and matrix.shape[0] != x.shape[2]:
                raise ValueError(f"x must have dim {matrix.shape[0]}, that of the matrices, got shape {x.shape}")

    def _weighted_mean(
        self, x: Tokens, p: Floats | None, value_map: Tokens | None, n_threads: int
    ) -> tuple[Tokens, Floats]:
        """Return what `_mean` does; tokens without weight attend to the others but are not attended to."""
        if p is None or p.all():
            return self._mean(x, p, value_map, n_threads)
        active, passive = np.flatnonzero(p), np.flatnonzero(p == 0)
        keys, others = x[:, active], x[:, passive]
        mean, log2_z = np.empty(x.shape, x.dtype), np.empty(x.shape[:2])
        mean[:, active], log2_z[:, active] = self._mean(keys, p[active], value_map, n_threads)
        query_map, row_scale = self._row_map(x.dtype)
        mean[:, passive], log2_z[:, passive] = attend_rows(
            others, keys, query_map, value_map, p[active], row_scale, n_threads, self._factor
        )
        return mean, log2_z

    def _mean(
        self, x: Tokens, p: Floats | None, value_map: Tokens | None, n_threads: int, first: int = 0, stop: int = -1
    ) -> tuple[Tokens, Floats]:
        """Return the weighted means, mapped by V, and log2 of the sums of p_j e^{⟨Qx_i, Kx_j⟩}; of all rows or some."""
        own = x if stop < 0 else x[:, first:stop]
        query_map, row_scale = self._row_map(x.dtype)
        if self.beta is not None:
            scale, shift = math.sqrt(self.beta * LOG2_E), self.beta * LOG2_E
            is_symmetric, is_bounded = True, self._is_bounded(self.beta, x.dtype)
            bounded_map = None
        else:
            form = self._form()
            norm = float(np.linalg.norm(form, 2))
            is_symmetric = bool(abs(form - form.T).max() <= 1e-15 * norm * len(form))
            # One shift for all pairs must neither overflow nor let a whole row vanish.
            is_bounded = 2 * norm * LOG2_E < (800 if x.dtype == np.float64 else 50)
            if is_symmetric:
                form = 0.5 * (form + form.T)
            scale, shift = 1.0, norm * LOG2_E
            bounded_map = np.ascontiguousarray(form * LOG2_E, dtype=x.dtype)
        if not is_bounded:
            mean, log2_z = attend_rows(own, x, query_map, value_map, p, row_scale, n_threads, self._factor)
            return mean, log2_z
        mean, z = kernel.attend_bounded(
            x, bounded_map, value_map, p, scale, shift, is_symmetric, n_threads, first, stop, self._factor
        )
        with np.errstate(divide="ignore"):
            log2_z = np.log2(z) + shift
        # A token of little weight, far from all others: weights below 2^-960 (2^-102) were dropped, so take it alone.
        lost = z < (2.0**-800 if x.dtype == np.float64 else 2.0**-50)
        for replica in np.flatnonzero(lost.any(axis=1)):
            rows = np.flatnonzero(lost[replica])
            alone, log2_alone = attend_rows(
                own[replica][None, rows],
                x[replica : replica + 1],
                query_map,
                value_map,
                p,
                row_scale,
                n_threads,
                self._factor,
            )
            mean[replica, rows], log2_z[replica, rows] = alone[0], log2_alone[0]
        return mean, log2_z

    def _row_map(self, dtype: Any) -> tuple[Tokens | None, float]:
        """Return A log2 e, or nothing for QᵀK = βI, and the factor of queries in the one-sided kernel."""
        if self.beta is not None:
            return None, self.beta * LOG2_E
        return np.ascontiguousarray(self._form() * LOG2_E, dtype=dtype), 1.0

    def _form(self) -> Floats:
        """Return A with ⟨Qx, Ky⟩ = ⟨Ax, y⟩; not finite where the product of large entries is not."""
        assert self.query is not None
        assert self.key is not None
        with np.errstate(over="ignore", invalid="ignore"):  # which `_check_norm` sees
            return np.asarray(self.key.T @ self.query)

    def _energy(self, log_z: Floats, p: Floats | None) -> Floats | None:
        if self.beta is None or self.beta > 700:
            return None
        ratio = np.exp(log_z - self.beta)
        missing = 1 - ratio if p is None else p * (1 - ratio)
        total = missing.mean(axis=1) if p is None else missing.sum(axis=1)
        return np.asarray(0.5 * math.exp(self.beta) * np.maximum(total, 0))


def _relative(p: Floats | None, n_tokens: int) -> tuple[Floats | None, float]:
    """Return weights with largest about 1, or None, and the log of what 1 stands for.

    A quotient of a subnormal weight would lose digits: weights with such among them are scaled by a power of two.
    """
    if p is None:
        return None, -math.log(n_tokens)
    unit = float(p.max())
    if p.min(where=p > 0, initial=1.0) < np.finfo(np.float64).tiny:
        unit = 2.0 ** (math.frexp(unit)[1] - 1)  # at most the largest, which is at most 1: nothing is scaled down
    return p / unit, math.log(unit)


def _norm(matrix: Floats) -> float:
    """Return |A|₂, infinite if it overflows."""
    largest = float(abs(matrix).max())
    return largest * float(np.linalg.norm(matrix / largest, 2)) if 0 < largest < math.inf else largest
