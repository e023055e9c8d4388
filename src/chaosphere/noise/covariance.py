"""Covariance kernels of the common noise.

More than half of this file is docstrings.

References
----------
arXiv:2604.26898 (Agazzi, Bruno, Mosig García, Saviozzi, Romito, 2026).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Self, overload

import numpy as np
from numpy.typing import ArrayLike

from chaosphere.common import checks, messages
from chaosphere.common.arrays import like
from chaosphere.common.chebyshev import Array, Function
from chaosphere.common.reprs import Brief, Row, short
from chaosphere.noise import activations, decay_rate, exponents, forms, isotropic, rates
from chaosphere.noise.activations import Activation
from chaosphere.noise.layer_law import MAX_STD, LayerLaw
from chaosphere.noise.pair_quadrature import theta_series

_CHECKED_DEGREE = 64
_MAX_SPECTRUM = 1e300


def _cosines(u: float | Array) -> Array:
    return checks.cosines(u, "u", slack=checks.COSINE_SLACK)


class _Same:
    """A function, or None, that equals itself alone."""

    __slots__ = ("function",)

    def __init__(self, function: Function | None) -> None:
        self.function = function

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and self.function is other.function

    def __hash__(self) -> int:
        return id(self.function)


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class CovarianceKernel(Brief):
    """Covariance of an isotropic random field G on the sphere S^{d−1} with values in R^d.

    E[G(x) G(y)ᵀ] = κ(u) I_d + η(u) y xᵀ with u = ⟨x, y⟩, and η = 0 unless `from_function` is given
    one: then the d components of G are independent. Make a kernel with `from_activation`,
    `from_spectrum` or `from_function`. Instances do not change. Calling one evaluates κ, `eta`
    evaluates η. Kernels compare and hash by what they were made of; functions count as equal to
    themselves alone.

    Parameters
    ----------
    dim : int
        Dimension d ≥ 2 of the tokens.
    name : str
        Where the kernel comes from.
    error_estimate : float
        Estimated error of κ on [−1, 1], relative to κ(1).
    layer_law : LayerLaw or None
        The random layer that it is the kernel of, up to `amplitude`.

    See Also
    --------
    chaosphere.MLP : Random layers of a network.
    chaosphere.GaussianField : Gaussian noise with a given covariance.
    chaosphere.two_point.expectation : Expectation of a function of the cosine.

    Examples
    --------
    >>> import chaosphere as cs
    >>> k = cs.CovarianceKernel.from_activation("relu", dim=5)
    >>> round(k(1.0), 12), round(k.lyapunov_exponent(), 12), round(k.lambda_bar(), 12)
    (0.1, -0.1, 0.2)
    """

    dim: int
    name: str
    error_estimate: float = field(compare=False)
    layer_law: LayerLaw | None = field(default=None, compare=False)
    _form: forms.Form = field(repr=False, compare=False)
    _identity: tuple[object, ...] = field(repr=False)
    _scale: float = field(default=1.0, repr=False)
    _offset: float = field(default=0.0, repr=False)
    _eta: Function | None = field(default=None, repr=False, compare=False)

    def _rows(self) -> list[Row]:
        rows = [("dim", short(self.dim)), ("name", short(self.name))]
        if (law := self.layer_law) is not None:
            stds = {"weight_std": law.weight_std, "bias_std": law.bias_std, "output_bias_std": law.output_bias_std}
            rows += [(name, short(std)) for name, std in stds.items() if std]
        rows += [("eta", "function")] if self.has_eta else []
        return rows + ([("scale", short(self._scale))] if self._scale != 1 else [])

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
            The kernel κ.

        Raises
        ------
        ValueError, TypeError
            If an argument is out of range, E φ(√q Z)² diverges or its integrand has not decayed where φ overflows or
            at 56 standard deviations, or quadrature cannot reach 1e-6.

        See Also
        --------
        chaosphere.MLP.kernel : Covariance kernel of the layers.
        chaosphere.CovarianceKernel.from_spectrum : Kernel with given coefficients.
        chaosphere.CovarianceKernel.from_function : Kernel with a given function κ.
        chaosphere.CovarianceKernel.source : The activation and the standard deviations of the layer.
        chaosphere.noise.activations.Activation : An activation function and its facts.

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
        A row of table 1 of the paper: κ(1), λ1 and λ̄ for tanh, d = 64, σ = 0.1.

        >>> import chaosphere as cs
        >>> k = cs.CovarianceKernel.from_activation(
        ...     "tanh", dim=64, bias_std=0.1, output_bias_std=0.1
        ... )
        >>> print(f"{k(1.0):.3g} {k.lyapunov_exponent():.3g} {k.lambda_bar():.3g}")
        0.0344 -0.629 -1.16
        """
        dim = checks.integer(dim, "dim", low=2)
        phi = activations.get(activation)
        law = LayerLaw(activation=phi, weight_std=weight_std, bias_std=bias_std, output_bias_std=output_bias_std)
        form, error = forms.layer_form(law, dim)
        if error > 1e-6:
            raise ValueError(
                f"activation: the kernel of {phi.name!r} is known only to {error:.1e} "
                "(limit 1e-6); state its kinks in an Activation, or lower weight_std or bias_std"
            )
        stds = law.weight_in(dim), law.bias_std, law.output_bias_std
        return cls(
            dim=dim,
            name=phi.name,
            error_estimate=error,
            layer_law=law,
            _form=form,
            _offset=law.output_bias_std**2,
            _identity=(_Same(phi.function), _Same(phi.derivative), phi.kinks, *stds),
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
            The kernel κ.

        Raises
        ------
        ValueError
            If a coefficient is negative or not finite, they are so large that derivatives of κ overflow, or the shape
            is wrong.

        See Also
        --------
        chaosphere.CovarianceKernel.from_activation : Kernel of a random layer.
        chaosphere.CovarianceKernel.from_function : Kernel with a given function κ.
        chaosphere.CovarianceKernel.spectrum : Coefficients in Gegenbauer polynomials.

        Examples
        --------
        >>> import chaosphere as cs
        >>> cs.CovarianceKernel.from_spectrum([0.0, 0.5], dim=3)(0.2)  # P_1(u) = u
        0.1
        """
        dim = checks.integer(dim, "dim", low=2)
        c = np.array(checks.array(coefficients, "coefficients"))
        if c.ndim != 1 or c.size == 0:
            raise ValueError(f"coefficients must have shape (n_max + 1,), got {c.shape}")
        for n, value in enumerate(c):
            if not (value >= 0.0 and math.isfinite(value)):
                raise ValueError(f"coefficients[{n}] = {value} must be finite and >= 0")
        with np.errstate(over="ignore"):
            size = float((c * np.arange(1.0, c.size + 1.0) ** 4).sum())  # of κ and two derivatives
        if not size <= _MAX_SPECTRUM:
            raise ValueError(
                f"coefficients must have a sum of (n + 1)^4 c_n <= {_MAX_SPECTRUM:g}, got {size:.3g}: derivatives of "
                "the kernel would overflow"
            )
        c.setflags(write=False)
        error = 4.0 * forms.EPS
        form, identity = forms.GegenbauerSeries(c, dim), tuple(c.tolist())
        return cls(dim=dim, name="spectrum", error_estimate=error, _form=form, _identity=identity)

    @classmethod
    def from_function(
        cls, kappa: Function, *, dim: int, derivative: Function | None = None, eta: Function | None = None
    ) -> Self:
        """Return the kernel with a given κ, and η if there is one, checked to be a covariance on S^{d−1}.

        Every Gaussian field on the sphere whose law rotations and reflections leave alone has, for the
        motion of tokens, a covariance κ(u) I + η(u) y xᵀ. Independent components have η = 0; η ≠ 0 ties
        the push at x along y to the push at y along x.
        The matrix itself must be a covariance, also along x and y, where it does not move tokens.

        Parameters
        ----------
        kappa : callable
            κ, elementwise on float64 arrays with values in [−1, 1].
        dim : int
            d ≥ 2. A kernel may be positive definite on one sphere and not on a larger one.
        derivative : callable or None
            κ′. None differentiates a Chebyshev series of κ in arccos u (about ten digits for a
            smooth κ).
        eta : callable or None
            η, as `kappa`. None for 0.

        Returns
        -------
        CovarianceKernel
            The kernel of κ and η.

        Raises
        ------
        TypeError, ValueError
            If κ or η is no function, or not finite and elementwise, or a covariance with a negative
            eigenvalue, which the message names: without η, one of c_0 … c_64 beyond the error of its
            quadrature; with η, one on vector fields of degree up to 64. In high dimension rounding hides
            small negative eigenvalues of high degree.

        See Also
        --------
        chaosphere.CovarianceKernel.from_activation : Kernel of a random layer.
        chaosphere.CovarianceKernel.from_spectrum : Kernel with given coefficients.
        chaosphere.CovarianceKernel.eta : The function η.

        Examples
        --------
        >>> import numpy as np
        >>> import chaosphere as cs
        >>> k = cs.CovarianceKernel.from_function(lambda u: np.exp(u - 1), dim=3)
        >>> round(k.derivative(1.0), 9)
        1.0
        >>> cs.CovarianceKernel.from_function(lambda u: u**2 - 0.5, dim=3)
        Traceback (most recent call last):
        ...
        ValueError: kappa is not positive definite in dim = 3: c_0 = -1.667e-01, rule: c_n >= 0

        The field W(x) = A x, A a symmetric Gaussian matrix:

        >>> k = cs.CovarianceKernel.from_function(lambda u: u, dim=5, eta=np.ones_like)
        >>> round(k.lyapunov_exponent(), 9)
        -2.0
        """
        dim = checks.integer(dim, "dim", low=2)
        u = np.linspace(-1.0, 1.0, 101)
        for name, function in (("kappa", kappa), ("derivative", derivative), ("eta", eta)):
            if function is not None or name == "kappa":
                if not callable(function):
                    raise TypeError(f"{name} must be a function of an array of cosines, got {messages.shown(function)}")
                y = np.asarray(function(u), dtype=np.float64)
                if y.shape != u.shape or not np.all(np.isfinite(y)):
                    raise ValueError(f"{name} must return finite values of its input's shape")
        error, identity = 4.0 * forms.EPS, (_Same(kappa), _Same(derivative), *([] if eta is None else [_Same(eta)]))
        if derivative is None:
            series, error = theta_series(kappa)
            derivative = series.slope
        kernel = cls(
            dim=dim, name="function", error_estimate=error,
            _form=forms.FunctionForm(kappa, derivative), _identity=identity, _eta=eta,
        )  # fmt: skip
        if eta is None:
            kernel.spectrum(_CHECKED_DEGREE)
        else:
            isotropic.Modes.of(kernel, _CHECKED_DEGREE).check(dim)
        return kernel

    def scaled(self, noise_scale: float) -> Self:
        """Return the kernel of the field s G, which is s² κ, with s² η.

        Parameters
        ----------
        noise_scale : float
            s ≥ 0.

        Returns
        -------
        CovarianceKernel
            The kernel s² κ, s² η.

        Raises
        ------
        TypeError, ValueError
            If noise_scale is out of range, or s² κ(1) overflows.

        See Also
        --------
        chaosphere.CovarianceKernel.amplitude : The factor that `scaled` applied.
        chaosphere.CovarianceKernel.critical_noise_scale : Noise strength at which clusters gain or lose stability.

        Examples
        --------
        >>> import chaosphere as cs
        >>> cs.CovarianceKernel.from_spectrum([0.0, 0.5], dim=4).scaled(2.0)(1.0)
        2.0
        """
        s2 = checks.number(noise_scale, "noise_scale", low=0, high=MAX_STD) ** 2
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
            κ(u), at most κ(1) in size.

        Raises
        ------
        ValueError
            If a cosine is outside [−1, 1] or not a number.

        See Also
        --------
        chaosphere.CovarianceKernel.derivative : Its derivative κ′(u).
        chaosphere.CovarianceKernel.difference_quotient : (κ(1) − κ(u))/(1 − u) without cancellation.
        chaosphere.CovarianceKernel.eta : The function η(u).

        Examples
        --------
        Relu layers decorrelate antipodal tokens:

        >>> import numpy as np
        >>> import chaosphere as cs
        >>> k = cs.CovarianceKernel.from_activation("relu", dim=5)
        >>> k(np.array([-1.0, 0.0, 1.0])).round(6)
        array([0.      , 0.031831, 0.1     ])
        """
        return like(u, self._scale * self._form.value(_cosines(u)) + self._offset)

    @overload
    def derivative(self, u: float) -> float: ...
    @overload
    def derivative(self, u: Array) -> Array: ...
    def derivative(self, u: float | Array) -> float | Array:
        """Return κ′(u).

        Parameters
        ----------
        u : float or array of float
            As in `__call__`.

        Returns
        -------
        float or float64 array of the shape of `u`
            κ′(u).

        Raises
        ------
        ValueError
            If a cosine is outside [−1, 1] or not a number.

        See Also
        --------
        chaosphere.CovarianceKernel.__call__ : The kernel κ(u) itself.
        chaosphere.CovarianceKernel.difference_quotient : (κ(1) − κ(u))/(1 − u) without cancellation.

        Examples
        --------
        >>> import chaosphere as cs
        >>> k = cs.CovarianceKernel.from_activation("relu", dim=5)
        >>> round(k.derivative(1.0), 12)
        0.1
        """
        return like(u, self._scale * self._form.slope(_cosines(u)))

    @overload
    def difference_quotient(self, u: float) -> float: ...
    @overload
    def difference_quotient(self, u: Array) -> Array: ...
    def difference_quotient(self, u: float | Array) -> float | Array:
        """Return (κ(1) − κ(u))/(1 − u), which is κ′(1) at u = 1, without cancellation.

        Parameters
        ----------
        u : float or array of float
            As in `__call__`.

        Returns
        -------
        float or float64 array of the shape of `u`
            The quotient.

        Raises
        ------
        ValueError
            If a cosine is outside [−1, 1] or not a number.

        See Also
        --------
        chaosphere.CovarianceKernel.__call__ : The kernel κ(u) itself.
        chaosphere.CovarianceKernel.derivative : Its derivative κ′(u).

        Examples
        --------
        >>> import chaosphere as cs
        >>> k = cs.CovarianceKernel.from_spectrum([1.0, 0.5], dim=4)
        >>> round(k.difference_quotient(1 - 1e-12), 15)
        0.5
        """
        x = _cosines(u)
        gap = 1.0 - x
        far = gap > 1e-3
        out = np.empty_like(x)
        out[far] = (self(1.0) - self(x[far])) / gap[far]
        # ∫₀¹ κ′(1 − s²(1 − u)) 2s ds: in s even the square-root terms of relu are smooth.
        nodes, weights = np.polynomial.legendre.leggauss(20)
        s = 0.5 * (nodes + 1.0)
        out[~far] = self.derivative(1.0 - s**2 * gap[~far][..., None]) @ (weights * s)
        return like(u, out)

    @overload
    def eta(self, u: float) -> float: ...
    @overload
    def eta(self, u: Array) -> Array: ...
    def eta(self, u: float | Array) -> float | Array:
        """Return η(u), 0 for kernels without.

        Parameters
        ----------
        u : float or array of float
            As in `__call__`.

        Returns
        -------
        float or float64 array of the shape of `u`
            η(u).

        Raises
        ------
        ValueError
            If a cosine is outside [−1, 1] or not a number.

        See Also
        --------
        chaosphere.CovarianceKernel.from_function : Kernel with given functions κ and η.
        chaosphere.CovarianceKernel.has_eta : Whether the kernel has an η.
        chaosphere.CovarianceKernel.__call__ : The kernel κ(u).

        Examples
        --------
        >>> import chaosphere as cs
        >>> k = cs.CovarianceKernel.from_function(lambda u: u**2, dim=3, eta=lambda u: u / 2)
        >>> k.eta(0.5), cs.MLP(width=1, activation="tanh").kernel(3).eta(0.5)
        (0.25, 0.0)
        """
        x = _cosines(u)
        return like(u, np.zeros_like(x) if self._eta is None else self._scale * np.asarray(self._eta(x), np.float64))

    def spectrum(self, n_max: int) -> Array:
        """Return the coefficients of κ(u) = Σ c_n P_n(u) (Schoenberg; Funk–Hecke formula).

        P_n is the Gegenbauer polynomial of S^{d−1} with P_n(1) = 1 (cos nθ for d = 2), so that the
        c_n sum to κ(1); without η they are ≥ 0. What is left out is `spectrum_tail`.

        Parameters
        ----------
        n_max : int
            Highest degree, ≥ 0.

        Returns
        -------
        float64 array, shape (n_max + 1,)
            Coefficients c_0 to c_{n_max}, all ≥ 0 for a kernel without η.

        Raises
        ------
        ValueError
            If a coefficient is negative beyond its error bound (without η, κ is then no covariance).

        See Also
        --------
        chaosphere.CovarianceKernel.from_spectrum : Kernel with given coefficients.
        chaosphere.CovarianceKernel.spectrum_tail : Variance beyond a degree.
        chaosphere.GaussianField.basis : Harmonics of the spectral method.
        chaosphere.measures.power_spectrum : Power of the tokens by degree.

        Notes
        -----
        Exact for `from_spectrum`; relative error 1e-13 for smooth activations; otherwise quadrature
        with absolute error about 1e-15 κ(1) times the square root of the multiplicity of degree n,
        or a positive series where that is better (low degree, high dimension). A coefficient that
        cannot be told from 0 is returned as 0. Up to 0.1 s.

        Examples
        --------
        >>> import chaosphere as cs
        >>> cs.CovarianceKernel.from_activation("linear", dim=4).spectrum(2).round(12)
        array([0.  , 0.25, 0.  ])
        """
        n_max = checks.integer(n_max, "n_max", low=0)
        c, error = self._form.spectrum(n_max, self.dim)
        c, error = self._scale * c, self._scale * error
        c[0] += self._offset
        if self.has_eta:  # κ alone need not be a covariance
            return np.where(np.abs(c) > 2.0 * error, c, 0.0)
        bad = np.flatnonzero(c < -8.0 * error)  # the bound is a little low for some degrees
        if bad.size:
            n = int(bad[0])
            raise ValueError(f"kappa is not positive definite in dim = {self.dim}: c_{n} = {c[n]:.3e}, rule: c_n >= 0")
        c = np.where(c > 2.0 * error, c, 0.0)
        excess = float(np.sum(c)) - self(1.0)
        if excess > 2.0 * float(np.sum(error)) + 1e-11 * self(1.0):
            raise ValueError(f"kappa: sum of c_n exceeds kappa(1) by {excess:.3e}, rule: equality")
        return c

    def spectrum_tail(self, n_max: int) -> float:
        """Return κ(1) − Σ_{n ≤ n_max} c_n, the variance beyond degree n_max.

        Parameters
        ----------
        n_max : int
            Highest degree that is left out of the tail, ≥ 0.

        Returns
        -------
        float
            The variance, ≥ 0; 0 where it is lost to rounding.

        See Also
        --------
        chaosphere.CovarianceKernel.spectrum : Coefficients in Gegenbauer polynomials.

        Examples
        --------
        >>> import chaosphere as cs
        >>> k = cs.CovarianceKernel.from_activation("relu", dim=3, weight_std=1.0)
        >>> print(f"{k.spectrum_tail(16):.1e}")
        3.0e-05
        """
        return max(0.0, self(1.0) - float(np.sum(self.spectrum(n_max))))

    # --- what is known about the field ------------------------------------------------------------

    @property
    def source(self) -> tuple[Activation, float, float, float] | None:
        """The random layer's (activation, weight_std, bias_std, output_bias_std); None without a layer.

        See Also
        --------
        chaosphere.CovarianceKernel.from_activation : Kernel of a random layer.
        chaosphere.noise.layer_law.LayerLaw : The law of a random layer.

        Examples
        --------
        >>> import chaosphere as cs
        >>> k = cs.CovarianceKernel.from_activation("tanh", dim=4, bias_std=0.1)
        >>> if k.source is not None:
        ...     print(k.source[0].name, k.source[1:])
        tanh (0.5, 0.1, 0.0)
        """
        if (law := self.layer_law) is None:
            return None
        return law.activation, law.weight_in(self.dim), law.bias_std, law.output_bias_std

    @property
    def is_odd(self) -> bool:
        """Whether the pushes P_x G(x) on tokens are odd almost surely: κ(−1) = −κ(1).

        Without η it is the field G that is odd, and all even c_n are zero.

        See Also
        --------
        chaosphere.CovarianceKernel.synchronizes : Whether the noise brings all tokens together.

        Examples
        --------
        A bias breaks the symmetry of tanh:

        >>> import chaosphere as cs
        >>> mlps = [cs.MLP(width=1, activation="tanh", bias_std=s) for s in (0.0, 0.1)]
        >>> [mlp.kernel(4).is_odd for mlp in mlps]
        [True, False]
        """
        return self(1.0) + self(-1.0) <= 1e-12 * self(1.0)

    def identity_facts(self) -> dict[str, object]:
        """Return what tells kernels apart in checkpoints and stores.

        Returns
        -------
        dict
            The name, d, and κ, with η if there is one, at nine cosines.

        See Also
        --------
        chaosphere.noise.activations.Activation.identity_facts : What tells activations apart.
        chaosphere.PotentialInteraction.identity_facts : What tells potentials apart.

        Examples
        --------
        >>> import chaosphere as cs
        >>> k = cs.CovarianceKernel.from_spectrum([0.0, 0.5], dim=3)
        >>> k.identity_facts()["values"]
        [-0.5, -0.375, -0.25, -0.125, 0.0, 0.125, 0.25, 0.375, 0.5]
        """
        u = np.linspace(-1, 1, 9)
        facts = {"type": "CovarianceKernel", "name": self.name, "dim": self.dim, "values": self(u).tolist()}
        return facts | ({"eta": self.eta(u).tolist()} if self.has_eta else {})

    @property
    def has_eta(self) -> bool:
        """Whether the kernel was given an η.

        See Also
        --------
        chaosphere.CovarianceKernel.eta : The function η.

        Examples
        --------
        >>> import chaosphere as cs
        >>> cs.CovarianceKernel.from_activation("relu", dim=5).has_eta
        False
        """
        return self._eta is not None

    @property
    def amplitude(self) -> float:
        """Factor s by which `scaled` multiplied the field.

        See Also
        --------
        chaosphere.CovarianceKernel.scaled : Kernel of the field times a factor.

        Examples
        --------
        >>> import chaosphere as cs
        >>> cs.CovarianceKernel.from_spectrum([0.0, 0.5], dim=4).scaled(2.0).amplitude
        2.0
        """
        return math.sqrt(self._scale)

    # What κ implies about the tokens; see `chaosphere.noise.rates`, `exponents` and `decay_rate`.
    lyapunov_exponent = rates.lyapunov_exponent
    lambda_bar = rates.lambda_bar
    dissipation_function = rates.dissipation_function
    dissipation_rate = rates.dissipation_rate
    best_beta = rates.best_beta
    critical_noise_scale = rates.critical_noise_scale
    synchronizes = rates.synchronizes
    lyapunov_spectrum = exponents.lyapunov_spectrum
    moment_exponent = exponents.moment_exponent
    critical_moment = exponents.critical_moment
    correlation_dimension = exponents.correlation_dimension
    kaplan_yorke_dimension = exponents.kaplan_yorke_dimension
    energy_decay_rate = decay_rate.energy_decay_rate
