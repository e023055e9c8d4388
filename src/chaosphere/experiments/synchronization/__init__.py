"""Synchronization by noise: the decay of the energy beside the theorem's bound and the linear theory."""

from chaosphere.experiments.synchronization.drawing import draw
from chaosphere.experiments.synchronization.runs import pair_energy, run, theorem
from chaosphere.experiments.synchronization.verdicts import claims, rate_claim, table

__all__ = ["claims", "draw", "pair_energy", "rate_claim", "run", "table", "theorem"]
