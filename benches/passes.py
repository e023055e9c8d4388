"""Parts of calls beside their limits, on one thread:  python benches/passes.py [--only WORD] [--quick]

The two passes of the sums by harmonics, which bench_fastsum has in one call; causal attention in few dimensions; and
the energy of pairs and the histogram of cosines, each alone and both together. A limit is the least number of
multiply-adds over the rate that probe.py measures right before and after the calls; docs/developers counts them. A
histogram has no limit of this kind. A second fraction counts permutations of two registers, too, as the part of a
multiply-add that they take.
"""

import argparse
import functools
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A call, and the multiply-adds that it needs at least; None where these are no limit."""

    name: str
    call: Callable[[], object]
    fma: float | None
    dtype: str = "float64"
    permutations: float = 0.0

    def line(self) -> str:
        """Return the least time of some calls, in ms, and the median per cent of the limit."""
        import probe

        times = []
        for _ in range(2 if probe.IS_QUICK else 20):
            start = time.perf_counter()
            self.call()
            times.append(time.perf_counter() - start)
        of_limit = of_both = ""
        fraction = None
        if self.fma is not None:
            fraction = probe.fraction(self.call, dtype=self.dtype, fma=self.fma, operations=0.0)
        if fraction is not None:
            of_limit = f"{100 * fraction:.0f} %"
            both = 1 + probe.places(self.dtype) * self.permutations / self.fma
            of_both = f"{100 * both * fraction:.0f} %" if self.permutations else ""
        return f"| {self.name} | {1e3 * min(times):.3g} | {of_limit} | {of_both} |"


def harmonics(n_tokens: int) -> Iterator[Part]:
    """Both passes: a multiply-add for each of the moments, d + 1 for each harmonic of the sums."""
    import numpy as np
    import reference
    import registry

    from chaosphere.geometry.harmonics import HarmonicBasis

    # The degrees of β = 1 and 4 at rounding accuracy; moments are to one degree more.
    for dim, degree in ((3, 15), (3, 24), (4, 15), (4, 24), (5, 13)):
        x = reference.tokens(registry.Case(n_tokens=n_tokens, dim=dim))
        basis = HarmonicBasis(dim=dim, n_max=degree)
        a = np.random.default_rng(1).standard_normal((1, basis.size, dim + 1))
        fma, case = float(n_tokens * basis.size), f"d{dim} degree {degree} N{n_tokens}"
        more = (
            n_tokens * (degree + 1) * (degree + 2) if dim == 3 else 0
        )  # its recurrences count: docs/developers/fast-sums.md
        yield Part(name=f"moments {case}", call=functools.partial(basis.moments, x, None, n_threads=1), fma=fma + more)
        yield Part(
            name=f"sums {case}", call=functools.partial(basis.ratios, x, a, n_threads=1), fma=(dim + 1) * fma + more
        )


def causal(n_tokens: int) -> Iterator[Part]:
    """A weight of half of the pairs, and its sums for one side."""
    import bench_attention
    import reference
    import registry

    import chaosphere as cs
    from chaosphere.common import config

    for dim in (2, 3):
        for dtype in registry.BOTH:
            case = registry.Case(n_tokens=n_tokens, dim=dim, dtype=dtype)
            isa = config.configuration()["instruction set in use"]
            fma = 2 * dim + bench_attention.POWER[isa, dtype][0]
            attention = cs.SoftmaxAttention(beta=case.beta, mask="causal", method="direct")
            call = functools.partial(attention, reference.tokens(case), n_threads=1)
            weights = n_tokens * (n_tokens + 1) / 2
            yield Part(
                name=f"causal {case}",
                call=call,
                fma=fma * weights,
                dtype=dtype,
                permutations=weights if isa == "avx512" else 0.0,
            )


def pairs(n_tokens: int) -> Iterator[Part]:
    """The energy (12 multiply-adds of a power and d of the square serve both orders) and the histogram of 50 bins."""
    import reference
    import registry

    from chaosphere.kernels.pairs import pair_statistics

    for dim in (2, 3, 8):
        x = reference.tokens(registry.Case(n_tokens=n_tokens, dim=dim))
        for name, beta, n_bins in (("energy", 4.0, 0), ("histogram", None, 50), ("energy and histogram", 4.0, 50)):
            fma = None if n_bins else 0.5 * (dim + 12) * n_tokens**2
            call = functools.partial(pair_statistics, x, None, beta, n_bins, 1)
            yield Part(name=f"{name} d{dim} N{n_tokens}", call=call, fma=fma)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="the parts with this in their names")
    parser.add_argument("--quick", action="store_true", help="tiny sizes, few calls: check the bench itself")
    arguments = parser.parse_args()
    if arguments.quick:
        os.environ["CHAOSPHERE_BENCH"] = "quick"
    os.environ["CHAOSPHERE_BENCH_THREADS"] = "1"  # before the registry reads it
    import registry

    registry.set_environment()
    sizes = (300, 300, 300) if arguments.quick else (131_072, 16_384, 4_096)
    print("| part | ms | of the limit | with permutations |\n|---|---|---|---|")
    for parts, n_tokens in zip((harmonics, causal, pairs), sizes, strict=True):
        for part in parts(n_tokens):
            if arguments.only in part.name:
                print(part.line(), flush=True)


if __name__ == "__main__":
    main()
