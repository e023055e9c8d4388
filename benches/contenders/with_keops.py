"""KeOps: what its user would write without chaosphere."""

import numpy as np
from reference import tokens
from registry import Case

from contenders.shared import Missing, Run, require


class KeOps:
    """Attention as one reduction over j, compiled for its formula by KeOps when it is first called.

    In float64 only: its running sums in float32 are off by more than the benches allow.
    """

    name = "keops"

    def __init__(self) -> None:
        require("pykeops").set_verbose(False)
        self.Genred = require("pykeops.numpy").Genred

    def attention(self, case: Case) -> Run:
        if case.dtype == "float32":
            raise Missing("keops sits out float32")
        variables = [f"x = Vi({case.dim})", f"y = Vj({case.dim})"]
        # The last column sums the weights.
        reduction = self.Genred("Exp((x|y)) * Concat(y, IntCst(1))", variables, reduction_op="Sum", axis=1)
        x = tokens(case)

        def run() -> np.ndarray:
            sums = reduction(case.beta * x, x, backend="CPU")
            return sums[..., :-1] / sums[..., -1:]

        run()  # compiles
        return run
