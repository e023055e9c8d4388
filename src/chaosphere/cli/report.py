"""Files, tables and claims that a command gives."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from chaosphere.common import files
from chaosphere.plot import style
from chaosphere.reporting import netcdf
from chaosphere.reporting.claims import Claim


@dataclass(frozen=True, slots=True, kw_only=True)
class Outputs:
    """The names of the files of a study."""

    data: Path
    picture: Path


def outputs(folder: Path, name: str, *, kind: str) -> Outputs:
    """Return the names of the files of a study; refuse to start work whose results could not be written.

    Parameters
    ----------
    folder : Path
    name : str
        Of the study.
    kind : str
        Of the picture: its suffix, without the point.

    Raises
    ------
    ImportError
        If a library that writes them is not installed.
    ValueError
        If one of them cannot be written.
    """
    netcdf.require()
    style.require()
    out = Outputs(data=folder / f"{name}.nc", picture=folder / f"{name}.{kind}")
    for path in (out.data, out.picture):
        files.check_writable(path, "--out")
    return out


def print_claims(claims: Sequence[Claim]) -> None:
    """Print claims as strict JSON."""
    print(json.dumps([claim.as_dict() for claim in claims], indent=2, allow_nan=False))
