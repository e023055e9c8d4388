"""Covariance kernels of the common noise, and the exponents and rates that follow from them.

References
----------
arXiv:2604.26898 (Agazzi, Bruno, Mosig García, Saviozzi, Romito, 2026).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Self, overload

import numpy as np
from numpy.polynomial import chebyshev
from numpy.typing import ArrayLike
from scipy import optimize

from chaosphere.common import checks
from chaosphere.common.chebyshev import Array, Function, chebyshev_series
from chaosphere.noise import activations
from chaosphere.noise import forms as forms
from chaosphere.noise.activations import Activation

# float32 unit vectors have inner products up to about 1 + 1e-7; farther out is a mistake.
_COSINE_SLACK = 1e-6
_CHECKED_DEGREE = 64
_MAX_VARIANCE, _MAX_VARIANCE_OF_DERIVATIVE = 1e10, 1e4  # of a pre-activation, in quadratures of φ and of φ′
_LARGEST_STD = 1e150  # its square, and a few times that, are floats


@dataclass(frozen=True, slots=True, kw_only=True)
class Synchronization:
    """Verdict of `CovarianceKernel.synchronizes`.

    Attributes
    ----------
    synchronizes : bool or None
        Whether the noise alone brings all tokens together; None where linear theory cannot tell.
    reason : str
        The condition that decided.
    is_odd : bool
        Whether the noise field is odd almost surely.
    lyapunov_exponent, lambda_bar : float
        λ1 and λ̄.
    """

    synchronizes: bool | None
    reason: str
    is_odd: bool
    lyapunov_exponent: float
    lambda_bar: float


class _Same:
    """A function, or None, that equals itself alone."""

    __slots__ = ("function",)

    def __init__(self, function: Function | None) -> None:
        self.function = function

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and self.function is other.function

    def __hash__(self) -> int:
        return id(self.function)


@dataclass(frozen=True, slots=True, kw_only=True)
class CovarianceKernel:
    """Covariance κ of an isotropic random field G on the sphere S^{d−1} with values in R^d.

    E[G(x) G(y)ᵀ] = κ(⟨x, y⟩) I_d. Make one with `from_activation`, `from_spectrum` or
    `from_function`. Instances do not change. Calling one evaluates κ. Kernels compare and hash by
    what they were made of; functions count as equal to themselves alone.

    Attributes
    ----------
    dim : int
        Dimension d ≥ 2 of the tokens.
    name : str
        Where the kernel comes from.
    error_estimate : float
        Estimated error of κ on [−1, 1], relative to κ(1).
    source : tuple or None
        (activation, weight_std, bias_std, output_bias_std) of the random layer that it is the kernel of.

    Examples
    --------
    >>> k = CovarianceKernel.from_activation("relu", dim=5)
    >>> round(k(1.0), 12), round(k.lyapunov_exponent(), 12), round(k.lambda_bar(), 12)
    (0.1, -0.1, 0.2)
    """

    dim: int
    name: str
    error_estimate: float = field(compare=False)
    source: tuple[Activation, float, float, float] | None = field(default=None, compare=False)
    _form: forms.Form = field(repr=False, compare=False)
    _identity: tuple[object, ...] = field(repr=False)
    _scale: float = field(default=1.0, repr=False)
    _offset: float = field(default=0.0, repr=False)

    # --- construction ---------------------------------------------------------------------------

    @classmethod
    def from_activation(
        cls,
        activation: str | Function | Activation,
        *,
        dim: int,
        bias_std: float = 0.0,
        output_bias_std: float = 0.0,
        weight_std: float | None = None,
    ) -> Self:
        """Return the kernel of a random layer W φ(weight_std U y + b_U)/√m + b_W.

        κ(u) = E[φ(Z1) φ(Z2)] + σ_W², with (Z1, Z2) centred Gaussian of variance weight_std² + σ_U²
        and covariance weight_std² u + σ_U²; exact for every width m (arXiv:2604.26898, covariance
        of the random layers).

        Parameters
        ----------
        activation : str, callable or Activation
            See `chaosphere.noise.activations.get`.
        dim : int
            d ≥ 2.
        bias_std, output_bias_std : float
            σ_U and σ_W, ≥ 0.
        weight_std : float or None
            Standard deviation of the pre-activation's linear part, ≥ 0; None for d^{-1/2}.

        Returns
        -------
        CovarianceKernel

        Raises
        ------
        ValueError, TypeError
            If an argument is out of range, E φ(√q Z)² diverges or its integrand has not decayed where φ overflows or
            at 56 standard deviations, or quadrature cannot reach 1e-6.

        Notes
        -----
        relu, erf, sin, cos and linear have closed forms. Other smooth φ use their Hermite series
        (milliseconds, about 1e-14). A φ with kinks, or one that is too steep for 4096 terms, uses
        2-D quadrature with panels cut at the kinks (a fifth of a second; seconds with many kinks, or
        for a variance above 9, where panels are fitted to φ, and up to two minutes above 400), where
        κ′ has about ten digits unless the `Activation` states φ′. The range of integration grows with
        φ. See `error_estimate`.

        Examples
        --------
        >>> k = CovarianceKernel.from_activation("tanh", dim=64, bias_std=0.1, output_bias_std=0.1)
        >>> print(f"{k(1.0):.3g} {k.lyapunov_exponent():.3g} {k.lambda_bar():.3g}")
        0.0344 -0.629 -1.16
        """
        dim = checks.integer(dim, "dim", low=2)
        phi = activations.get(activation)
        weight_std = dim**-0.5 if weight_std is None else weight_std
        weight_std = checks.number(weight_std, "weight_std", low=0, high=_LARGEST_STD)
        bias_std = checks.number(bias_std, "bias_std", low=0, high=_LARGEST_STD)
        output_bias_std = checks.number(output_bias_std, "output_bias_std", low=0, high=_LARGEST_STD)
        w2, s2, offset = weight_std**2, bias_std**2, output_bias_std**2
        form, error = _activation_form(phi, w2, s2, dim)
        if error > 1e-6:
            raise ValueError(
                f"activation: the kernel of {phi.name!r} is known only to {error:.1e} "
                "(limit 1e-6); state its kinks in an Activation, or lower weight_std or bias_std"
            )
        source = (phi, weight_std, bias_std, output_bias_std)
        identity = (_Same(phi.function), _Same(phi.derivative), phi.kinks, *source[1:])
        return cls(
            dim=dim, name=phi.name, error_estimate=error, source=source, _form=form, _offset=offset, _identity=identity
        )

    @classmethod
    def from_spectrum(cls, coefficients: ArrayLike, *, dim: int) -> Self:
        """Return κ(u) = Σ c_n P_n(u), P_n the Gegenbauer polynomials of S^{d−1} with P_n(1) = 1.

        Parameters
        ----------
        coefficients : array_like of float, shape (n_max + 1,)
            c_0, c_1, …, all finite and ≥ 0 (Schoenberg's condition).
        dim : int
            d ≥ 2.

        Returns
        -------
        CovarianceKernel

        Raises
        ------
        ValueError
            If a coefficient is negative or not finite, or the shape is wrong.

        Examples
        --------
        >>> CovarianceKernel.from_spectrum([0.0, 0.5], dim=3)(0.2)
        0.1
        """
        dim = checks.integer(dim, "dim", low=2)
        c = np.array(checks.array(coefficients, "coefficients"))
        if c.ndim != 1 or c.size == 0:
            raise ValueError(f"coefficients must have shape (n_max + 1,), got {c.shape}")
        for n, value in enumerate(c):
            if not (value >= 0.0 and math.isfinite(value)):
                raise ValueError(f"coefficients[{n}] = {value} must be finite and >= 0")
        c.setflags(write=False)
        error = 4.0 * forms.EPS
        form, identity = forms.GegenbauerSeries(c, dim), tuple(c.tolist())
        return cls(dim=dim, name="spectrum", error_estimate=error, _form=form, _identity=identity)

    @classmethod
    def from_function(cls, kappa: Function, *, dim: int, derivative: Function | None = None) -> Self:
        """Return the kernel with a given κ, checked to be positive definite on S^{d−1}.

        Parameters
        ----------
        kappa : callable
            κ, elementwise on float64 arrays with values in [−1, 1].
        dim : int
            d ≥ 2. A kernel may be positive definite on one sphere and not on a larger one.
        derivative : callable or None
            κ′. None differentiates a Chebyshev series of κ in arccos u (about ten digits for a
            smooth κ).

        Returns
        -------
        CovarianceKernel

        Raises
        ------
        ValueError
            If κ is not finite and elementwise, or one of c_0 … c_64 is negative beyond the error of
            its quadrature; the message names it. In high dimension rounding hides small negative
            coefficients of high degree.

        Examples
        --------
        >>> import numpy as np
        >>> k = CovarianceKernel.from_function(lambda u: np.exp(u - 1), dim=3)
        >>> round(k.derivative(1.0), 9)
        1.0
        >>> CovarianceKernel.from_function(lambda u: u**2 - 0.5, dim=3)
        Traceback (most recent call last):
        ...
        ValueError: kappa is not positive definite in dim = 3: c_0 = -1.667e-01, rule: c_n >= 0
        """
        dim = checks.integer(dim, "dim", low=2)
        u = np.linspace(-1.0, 1.0, 101)
        for name, function in (("kappa", kappa), ("derivative", derivative)):
            if function is not None:
                y = np.asarray(function(u), dtype=np.float64)
                if y.shape != u.shape or not np.all(np.isfinite(y)):
                    raise ValueError(f"{name} must return finite values of its input's shape")
        error, identity = 4.0 * forms.EPS, (_Same(kappa), _Same(derivative))
        if derivative is None:
            series, error = forms.theta_series(kappa)
            derivative = series.slope
        kernel = cls(
            dim=dim, name="function", error_estimate=error,
            _form=forms.FunctionForm(kappa, derivative), _identity=identity,
        )  # fmt: skip
        kernel.spectrum(_CHECKED_DEGREE)
        return kernel

    def scaled(self, noise_scale: float) -> Self:
        """Return the kernel of the field s G, which is s² κ.

        Parameters
        ----------
        noise_scale : float
            s ≥ 0.

        Returns
        -------
        CovarianceKernel

        Examples
        --------
        >>> CovarianceKernel.from_spectrum([0.0, 0.5], dim=4).scaled(2.0)(1.0)
        2.0
        """
        s2 = checks.number(noise_scale, "noise_scale", low=0, high=_LARGEST_STD) ** 2
        if not math.isfinite(s2 * self(1.0)):
            raise ValueError(f"noise_scale = {noise_scale:g} is too large: kappa(1) = {self(1.0):g} times it overflows")
        return replace(self, _scale=s2 * self._scale, _offset=s2 * self._offset)

    # --- evaluation -----------------------------------------------------------------------------

    @overload
    def __call__(self, u: float) -> float: ...
    @overload
    def __call__(self, u: Array) -> Array: ...
    def __call__(self, u: float | Array) -> float | Array:
        """Return κ(u).

        Parameters
        ----------
        u : float or array of float
            Cosines in [−1, 1]; float32 rounding beyond the ends is cut off.

        Returns
        -------
        float or float64 array of the shape of `u`

        Raises
        ------
        ValueError
            If a cosine is outside [−1, 1] or not a number.
        """
        return _like(u, self._scale * self._form.value(_check_cosine(u)) + self._offset)

    @overload
    def derivative(self, u: float) -> float: ...
    @overload
    def derivative(self, u: Array) -> Array: ...
    def derivative(self, u: float | Array) -> float | Array:
        """Return κ′(u); parameters and result as for κ itself.

        Examples
        --------
        >>> round(CovarianceKernel.from_activation("relu", dim=5).derivative(1.0), 12)
        0.1
        """
        return _like(u, self._scale * self._form.slope(_check_cosine(u)))

    @overload
    def difference_quotient(self, u: float) -> float: ...
    @overload
    def difference_quotient(self, u: Array) -> Array: ...
    def difference_quotient(self, u: float | Array) -> float | Array:
        """Return (κ(1) − κ(u))/(1 − u), which is κ′(1) at u = 1, without cancellation.

        Examples
        --------
        >>> k = CovarianceKernel.from_spectrum([1.0, 0.5], dim=4)
        >>> round(k.difference_quotient(1 - 1e-12), 15)
        0.5
        """
        x = _check_cosine(u)
        gap = 1.0 - x
        far = gap > 1e-3
        out = np.empty_like(x)
        out[far] = (self(1.0) - self(x[far])) / gap[far]
        # ∫₀¹ κ′(1 − s²(1 − u)) 2s ds: in s even the square-root terms of relu are smooth.
        nodes, weights = np.polynomial.legendre.leggauss(20)
        s = 0.5 * (nodes + 1.0)
        out[~far] = self.derivative(1.0 - s**2 * gap[~far][..., None]) @ (weights * s)
        return _like(u, out)

    def spectrum(self, n_max: int) -> Array:
        """Return the coefficients of κ(u) = Σ c_n P_n(u) (Schoenberg; Funk–Hecke formula).

        P_n is the Gegenbauer polynomial of S^{d−1} with P_n(1) = 1 (cos nθ for d = 2), so that the
        c_n are ≥ 0 and sum to κ(1). What is left out is `spectrum_tail`.

        Parameters
        ----------
        n_max : int
            Highest degree, ≥ 0.

        Returns
        -------
        float64 array, shape (n_max + 1,)

        Raises
        ------
        ValueError
            If a coefficient is negative beyond its error bound (κ is no covariance).

        Notes
        -----
        Exact for `from_spectrum`; relative error 1e-13 for smooth activations; otherwise quadrature
        with absolute error about 1e-15 κ(1) times the square root of the multiplicity of degree n,
        or a positive series where that is better (low degree, high dimension). A coefficient that
        cannot be told from 0 is returned as 0. Up to 0.1 s.

        Examples
        --------
        >>> k = CovarianceKernel.from_activation("linear", dim=4)
        >>> [round(float(c), 12) for c in k.spectrum(2)]
        [0.0, 0.25, 0.0]
        """
        n_max = checks.integer(n_max, "n_max", low=0)
        c, error = self._form.spectrum(n_max, self.dim)
        c, error = self._scale * c, self._scale * error
        c[0] += self._offset
        bad = np.flatnonzero(c < -2.0 * error)
        if bad.size:
            n = int(bad[0])
            raise ValueError(f"kappa is not positive definite in dim = {self.dim}: c_{n} = {c[n]:.3e}, rule: c_n >= 0")
        c = np.where(c > 2.0 * error, c, 0.0)
        excess = float(np.sum(c)) - self(1.0)
        if excess > 2.0 * float(np.sum(error)) + 1e-11 * self(1.0):
            raise ValueError(f"kappa: sum of c_n exceeds kappa(1) by {excess:.3e}, rule: equality")
        return c

    def spectrum_tail(self, n_max: int) -> float:
        """Return κ(1) − Σ_{n ≤ n_max} c_n, the variance beyond degree n_max (0 if rounding).

        Examples
        --------
        >>> k = CovarianceKernel.from_activation("relu", dim=3, weight_std=1.0)
        >>> print(f"{k.spectrum_tail(16):.1e}")
        3.0e-05
        """
        return max(0.0, self(1.0) - float(np.sum(self.spectrum(n_max))))

    # --- exponents and rates --------------------------------------------------------------------

    @property
    def is_odd(self) -> bool:
        """Whether the field is odd almost surely: κ(−1) = −κ(1), all even c_n zero."""
        return self(1.0) + self(-1.0) <= 1e-12 * self(1.0)

    @property
    def amplitude(self) -> float:
        """Factor s by which `scaled` multiplied the field."""
        return math.sqrt(self._scale)

    def lyapunov_exponent(self) -> float:
        """Return λ1 = ½[(d−3)κ′(1) − (d−1)κ(1)], the exponent of |X − Y| of two close tokens.

        λ1 of the noise flow without attention (arXiv:2604.26898). Attention V = δI lowers it by δ.

        Examples
        --------
        >>> round(CovarianceKernel.from_activation("relu", dim=5).lyapunov_exponent(), 12)
        -0.1
        """
        return 0.5 * ((self.dim - 3) * self.derivative(1.0) - (self.dim - 1) * self(1.0))

    def lambda_bar(self) -> float:
        """Return λ̄ = (d−1)κ′(1) − (d−3)κ(1), the exponent of E|X − Y|² of two close tokens.

        λ̄ < 0 is the condition of the synchronization theorem (arXiv:2604.26898).

        Examples
        --------
        >>> round(CovarianceKernel.from_activation("relu", dim=5).lambda_bar(), 12)
        0.2
        """
        return (self.dim - 1) * self.derivative(1.0) - (self.dim - 3) * self(1.0)

    def dissipation_function(self, beta: float, u: float | Array) -> float | Array:
        """Return F(u), the rate at which the noise dissipates the energy of a pair of cosine u.

        d/dt E g(u_t) = −E[F(u_t) g(u_t)] with g(u) = e^β − e^{βu} for the noise alone:
        F(u) = βe^{βu}[G0(u) + β(1−u²)(κ(1) − uκ(u))]/(e^β − e^{βu}) with
        G0(u) = (d−2+u²)κ(u) − (d−1)κ(1)u (arXiv:2604.26898, proof of the synchronization theorem).

        Parameters
        ----------
        beta : float
            β ≥ 0; 0 is the limit, the energy ¼∬|x − y|².
        u : float or array of float
            Cosines in [−1, 1]; F(1) is the limit −λ̄.

        Returns
        -------
        float or float64 array of the shape of `u`

        Notes
        -----
        Written with the difference quotient of κ and expm1, so that nothing cancels as u → 1.

        Examples
        --------
        >>> k = CovarianceKernel.from_activation("relu", dim=5)
        >>> round(float(k.dissipation_function(1.0, 1.0)), 12)
        -0.2
        """
        beta = checks.number(beta, "beta", low=0)
        x = _check_cosine(u)
        value, quotient = self(x), self.difference_quotient(x)
        z = beta * (1.0 - x)
        bracket = (self.dim - 1) * (self(1.0) - quotient) - (1.0 + x) * value
        return _like(u, bose(z) * (bracket + z * (1.0 + x) * (quotient + value)))

    def dissipation_rate(self, beta: float) -> float:
        """Return λ̄′ = −inf F over [−1, 1): E[E_β(μ_t)] ≤ e^{(ε+λ̄′)t} E[E_β(μ_0)].

        ε bounds the growth of the energy under attention alone (0 for QᵀK = βI, V = I). λ̄′ ≥ λ̄,
        with equality when the infimum is the limit u → 1 (arXiv:2604.26898, synchronization).

        Parameters
        ----------
        beta : float
            β ≥ 0.

        Returns
        -------
        float

        Notes
        -----
        Compares F at both ends, at every stationary point of its Chebyshev series in arccos u
        (degree doubled until the series has converged, at most 512) and on 4097 points clustered
        at the ends. About 10 ms.

        Examples
        --------
        >>> k = CovarianceKernel.from_activation("relu", dim=64, bias_std=0.1, output_bias_std=0.1)
        >>> round(k.dissipation_rate(1.0), 3)
        -0.351
        """
        beta = checks.number(beta, "beta", low=0)

        def function(x: Array) -> Array:
            return np.asarray(self.dissipation_function(beta, np.cos(0.5 * np.pi * (x + 1.0))))

        for degree in (32, 64, 128, 256, 512):
            c = chebyshev_series(function, degree)
            if np.max(np.abs(c[-degree // 8 :])) <= 1e-11 * np.max(np.abs(c)):
                break
        c = c[: np.flatnonzero(np.abs(c) > 1e-12 * np.max(np.abs(c))).max(initial=0) + 1]
        roots = chebyshev.chebroots(chebyshev.chebder(c)) if len(c) > 2 else np.empty(0)
        # A double root may come out as a complex pair: take the real parts of all near ones.
        near = roots[(np.abs(roots.imag) < 1e-3) & (np.abs(roots.real) <= 1.0)].real
        grid = np.cos(np.linspace(0.0, np.pi, 4097))
        return -float(np.min(function(np.concatenate((near, grid)))))

    def best_beta(self, epsilon: float | Callable[[float], float] = 0.0) -> tuple[float, float]:
        """Return the β in [0.01, 100] with the smallest ε + λ̄′, and that value.

        Parameters
        ----------
        epsilon : float or callable
            ε of the attention, constant or as a function of β.

        Returns
        -------
        beta, rate : float
            `rate` < 0 proves synchronization at that rate.

        Notes
        -----
        33 values of β, then golden section around the best: about 0.5 s.

        Examples
        --------
        >>> k = CovarianceKernel.from_activation("relu", dim=64, bias_std=0.1, output_bias_std=0.1)
        >>> beta, rate = k.best_beta()
        >>> rate < k.dissipation_rate(1.0)
        True
        """

        def rate(log_beta: float) -> float:
            beta = math.exp(log_beta)
            offset = checks.number(epsilon(beta) if callable(epsilon) else epsilon, "epsilon")
            return offset + self.dissipation_rate(beta)

        grid = np.linspace(math.log(0.01), math.log(100.0), 33)
        rates = [rate(x) for x in grid]
        i = int(np.argmin(rates))
        bounds = (grid[max(i - 1, 0)], grid[min(i + 1, 32)])
        refined = optimize.minimize_scalar(rate, bounds=bounds, method="bounded")
        if refined.fun < rates[i]:
            return math.exp(float(refined.x)), float(refined.fun)
        return math.exp(grid[i]), rates[i]

    def identity_facts(self) -> dict[str, object]:
        """Return what tells kernels apart: the name, d, and κ at nine cosines."""
        values = self(np.linspace(-1, 1, 9)).tolist()
        return {"type": "CovarianceKernel", "name": self.name, "dim": self.dim, "values": values}

    def critical_noise_scale(self, value_scale: float) -> float:
        """Return s_c = √(δ/λ1), the noise strength at which s²λ1 − δ changes sign.

        s²λ1 − δ is the top exponent of a cluster under attention with V = δI and noise s G.

        Parameters
        ----------
        value_scale : float
            δ.

        Returns
        -------
        float
            NaN when δ/λ1 is not positive: then noise of any strength leaves the sign alone.

        Examples
        --------
        >>> k = CovarianceKernel.from_activation("relu", dim=5)
        >>> round(k.critical_noise_scale(-1.0), 6)
        3.162278
        """
        value_scale = checks.number(value_scale, "value_scale")
        exponent = self.lyapunov_exponent()
        if exponent == 0.0 or not value_scale / exponent > 0.0:
            return math.nan
        return math.sqrt(value_scale / exponent)

    def synchronizes(self) -> Synchronization:
        """Return whether the noise alone makes all tokens meet, and why.

        Returns
        -------
        Synchronization

        Notes
        -----
        Two tokens are a diffusion of their cosine u on [−1, 1]. u = 1 attracts iff λ1 < 0; u = −1
        is a fixed point iff the field is odd. λ̄ < 0 gives more: exponential decay of the expected
        energy, and it lets attention with ε + λ̄′ < 0 in (arXiv:2604.26898).

        Examples
        --------
        >>> CovarianceKernel.from_activation("tanh", dim=5).synchronizes().synchronizes
        False
        """
        exponent, bar, is_odd = self.lyapunov_exponent(), self.lambda_bar(), self.is_odd
        verdict: bool | None
        if self(1.0) == 0.0:
            verdict, reason = False, "κ = 0: there is no noise"
        elif exponent > 0.0:
            verdict, reason = False, "λ1 > 0: the noise separates close tokens"
        elif exponent == 0.0:
            verdict, reason = None, "λ1 = 0: marginal"
        elif is_odd:
            verdict, reason = False, "the field is odd: tokens gather at two antipodal points"
        elif bar < 0.0:
            verdict, reason = True, "not odd and λ̄ < 0: the expected energy decays exponentially"
        else:
            verdict = True
            reason = "not odd and λ1 < 0: almost surely, but λ̄ >= 0, so not in expected energy"
        return Synchronization(
            synchronizes=verdict,
            reason=reason,
            is_odd=is_odd,
            lyapunov_exponent=exponent,
            lambda_bar=bar,
        )


def bose(z: Array) -> Array:
    """Return z/(e^z − 1) for z ≥ 0, with value 1 at 0 and no overflow."""
    safe = np.where(z > 0.0, z, 1.0)
    return np.where(z > 0.0, safe * np.exp(-safe) / -np.expm1(-safe), 1.0)


def _activation_form(phi: Activation, w2: float, s2: float, dim: int) -> tuple[forms.Form, float]:
    if phi is activations.ACTIVATIONS.get(phi.name) and phi.name in forms.CLOSED_FORMS:
        closed = forms.ClosedForm(phi, w2, s2)
        return closed if w2 > 0.0 else forms.GegenbauerSeries(closed.value(np.zeros(1)), dim), 4.0 * forms.EPS
    if w2 == 0.0:
        # Both pre-activations are the same Gaussian: κ is the constant E φ².
        total = check = _square_at_zero(phi)
        if s2 > 0.0:
            total, check = (forms.hermite_squares(phi, s2, 1, n)[1] for n in (64, 48))
        error = abs(total - check) / max(total, 1e-300)
        return forms.GegenbauerSeries(np.array([total]), dim), max(error, 4.0 * forms.EPS)
    limit = _MAX_VARIANCE if phi.derivative is None else _MAX_VARIANCE_OF_DERIVATIVE
    if not w2 + s2 <= limit:
        raise ValueError(
            f"weight_std and bias_std must have squares of sum <= {limit:g} for the kernel of {phi.name!r}, got "
            f"{w2 + s2:g}: beyond it quadrature does not resolve where the activation bends"
        )
    series = forms.hermite_series(phi, w2, s2)
    form, error = series if series is not None else forms.quadrature(phi, w2, s2)
    return form, max(error, 4.0 * forms.EPS)


def _square_at_zero(phi: Activation) -> float:
    return float(phi.function(np.zeros(1))[0] ** 2)


def _like(u: float | Array, out: Array) -> float | Array:
    return float(out) if np.ndim(u) == 0 else out


def _check_cosine(u: float | Array) -> Array:
    x = checks.array(u, "u")
    bad = ~(np.abs(x) <= 1.0 + _COSINE_SLACK)
    if np.any(bad):
        raise ValueError(f"u = {x[bad].ravel()[0]} must be in [-1, 1]")
    return np.clip(x, -1.0, 1.0)
