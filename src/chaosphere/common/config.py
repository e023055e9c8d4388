"""What this installation is: version, instruction sets, threads, compiler."""

from __future__ import annotations

import platform

import numpy as np
import scipy

from chaosphere.kernels import abi


def configuration() -> dict[str, str | int | list[str]]:
    """Return the facts that `show_config` prints, as a dictionary of plain values."""
    from importlib.metadata import version  # takes long to import

    return {
        "chaosphere": version("chaosphere"),
        "instruction set in use": abi.isa_in_use(),
        "instruction sets compiled": abi.compiled_isas(),
        "instruction sets usable here": [isa for isa in abi.compiled_isas() if abi.isa_runs(isa)],
        "OpenMP": "yes" if abi.has_openmp else "no (built without it: one thread)",
        "threads": abi.max_threads(),
        "compiler": abi.compiler,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "scipy": scipy.__version__,
        "machine": platform.machine(),
    }


def show_config() -> None:
    """Print version, instruction sets compiled and in use, OpenMP, threads and compiler.

    See Also
    --------
    chaosphere.Solution : What a run returns.

    Examples
    --------
    >>> import chaosphere as cs
    >>> cs.show_config()  # doctest: +ELLIPSIS
    chaosphere...
    """
    for name, value in configuration().items():
        print(f"{name:30s}{', '.join(value) if isinstance(value, list) else value}")
