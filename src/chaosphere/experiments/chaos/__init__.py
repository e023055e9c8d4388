"""Propagation of chaos: how fast N tokens forget that they are finitely many.

A case is a model with an initial law. In every replica, systems of N tokens of a ladder run in lockstep with the
mean-field limit under the same layers. Quadrature nodes discretise the mean-field measure μ_t. Every token X^i has a
coupled copy X̄^i, a passive tracer with the same start that μ_t moves. For the transport distance, passive points of
their own stand for μ_t: N on the circle, 4N beyond, a quadrature of the initial law. Their error keeps a fixed
proportion at most, so that exponents are not touched.

With tokens of the user's there is no law: all M of them are the reference, and systems are drawn from them without
replacement. The variance is then proportional to 1/N − 1/M instead of 1/N, and errors are fitted against the effective
number 1/(1/N − 1/M), which leaves no bias from the finite reference.
"""

from chaosphere.experiments.chaos.drawing import draw, draw_exponents
from chaosphere.experiments.chaos.runs import identity, run, seconds
from chaosphere.experiments.chaos.verdicts import ERRORS, claims, depth_claims, table

__all__ = ["ERRORS", "claims", "depth_claims", "draw", "draw_exponents", "identity", "run", "seconds", "table"]
