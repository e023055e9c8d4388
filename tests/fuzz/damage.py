"""Files of every kind that the project writes, with flipped bits, cut off, or gone.

The rule: the right values come out, or one error of one line that names the file and says what to do. A store may also
count members as unfinished. Never a wrong value, never the traceback of a codec.
"""

import contextlib
import functools
import io
import json
import re
import shutil

import numpy as np
from worker import Fault

import chaosphere as cs
from chaosphere.cli.main import main
from chaosphere.reporting import netcdf

LIMIT = 20
X = cs.sample_uniform(20, 3, rng=0, n_replicas=2)
MLP = cs.MLP(width=4, activation="tanh")
MODEL = cs.Transformer(attention=cs.SoftmaxAttention(beta=1.0), mlp=MLP, depth=8, horizon=1.0)
REMEDY = re.compile(r"remove|rename|delete|another name|another file|again")
CHAOS = "chaos --study rates --tokens 8 16 --nodes 16 --replicas 3 --depth 3 --width 4 --json --out"


def order(time, x):
    return cs.measures.order_parameter(x)


def energy(time, x):
    return cs.measures.energy(x)


class Stop(Exception):
    """Ends a run."""


class Order:
    """`order`, which can be told to stop a run; whether it does is no part of what identifies the run."""

    version = 1
    stop_at = 2.0

    def __call__(self, time, x):
        if time > self.stop_at:
            raise Stop
        return order(time, x)


ORDER = Order()


def model(beta):
    return cs.Transformer(attention=cs.SoftmaxAttention(beta=beta), mlp=MLP, depth=3, horizon=1.0)


def simulate(path):
    keep = cs.Checkpoint(path=path, every_steps=2)
    return cs.simulate(MODEL, X, rng=0, save_at=np.linspace(0, 1, 5), observe={"r": ORDER}, checkpoint=keep)


def ensemble(path):
    options = {"sweep": {"beta": [1.0, 2.0]}, "observe": {"r": order, "e": energy}, "n_tokens": 2000}
    return cs.ensemble(model, cs.laws.Uniform(dim=2), seeds=range(4), store=path, n_threads=1, **options)


def chaos(folder, *more):
    """Return exit code, stdout and stderr of a small experiment."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main([*CHAOS.split(), str(folder), *more])
    return code, out.getvalue(), err.getvalue()


class Good:
    """The files as they should be, and what comes out of them."""

    def __init__(self, folder):
        self.folder, self.work = folder / "good", folder / "work"
        self.folder.mkdir()
        self.run = cs.simulate(MODEL, X, rng=0, save_at=np.linspace(0, 1, 5), observe={"r": order})

        ORDER.stop_at = 0.7  # in step 6: the checkpoints of that step and of one before stay
        with contextlib.suppress(Stop):
            simulate(self.folder / "c.npz")
        ORDER.stop_at = 2.0
        self.data = ensemble(self.folder / "s.zarr")
        code, self.claims, _ = chaos(self.folder)
        assert code == 0
        self.nodes = netcdf.load(self.folder / "chaos.nc")
        np.save(self.folder / "x0.npy", X[0])
        np.savez_compressed(self.folder / "x0.npz", X[0])

    def copy(self):
        shutil.rmtree(self.work, ignore_errors=True)
        shutil.copytree(self.folder, self.work)
        return self.work


def damage(path, rng):
    """Damage one file; return what was done."""
    data = bytearray(path.read_bytes())
    kind = ["flip", "flip", "flip", "flips", "cut", "empty", "remove", "zeros", "noise", "longer"][rng.integers(10)]
    n = len(data)
    if kind == "remove":
        path.unlink()
        return kind
    if kind in ("flip", "flips") and n:
        positions = rng.integers(n, size=1 if kind == "flip" else rng.integers(2, 60))
        for at in positions:
            data[at] ^= 1 << rng.integers(8)
        kind += f" {positions[:3]}"
    elif kind == "cut":
        del data[rng.integers(max(n, 1)) :]
    elif kind == "empty":
        data = bytearray()
    elif kind == "longer":
        data += rng.bytes(rng.integers(1, 100))
    elif n:
        start = rng.integers(n)
        stop = min(n, start + rng.integers(1, 513))
        data[start:stop] = bytes(stop - start) if kind == "zeros" else rng.bytes(stop - start)
    path.write_bytes(data)
    return f"{kind}, {n} bytes"


def cases(folder):
    good = Good(folder)
    files = {
        "checkpoint": [good.folder / "c.npz", good.folder / "c.npz.previous"],
        "store": sorted(p for p in (good.folder / "s.zarr").rglob("*") if p.is_file()),
        "netcdf": [good.folder / "chaos.nc"],
        "tokens": [good.folder / "x0.npy", good.folder / "x0.npz"],
    }
    checks = {"checkpoint": check_checkpoint, "store": check_store, "netcdf": check_netcdf, "tokens": check_tokens}
    kinds = ["checkpoint", "checkpoint", "store", "store", "netcdf", "netcdf", "tokens"]

    def case(rng):
        kind = kinds[rng.integers(len(kinds))]
        work = good.copy()
        path = files[kind][rng.integers(len(files[kind]))]
        victim = work / path.relative_to(good.folder)
        done = damage(victim, rng) if victim.exists() else "absent"
        label = f"{victim.relative_to(work)}: {done}"
        return label, functools.partial(checks[kind], good, work, victim, rng.random() < 0.2)

    return case


def errors(function, *arguments, name):
    """Return the result, or None after an error that is as it should be."""
    try:
        return function(*arguments)
    except (ValueError, OSError) as error:
        judge(str(error), name)
        return None


def judge(text, name):
    if "\n" in text.strip():
        raise Fault(f"{name}: an error of several lines: {text[:300]}")
    if name not in text:
        raise Fault(f"{name}: an error that does not name the file: {text[:300]}")
    if not REMEDY.search(text):
        raise Fault(f"{name}: an error without a remedy: {text[:300]}")


def check_checkpoint(good, work, victim, is_long):
    run = errors(simulate, work / "c.npz", name="c.npz")
    if run is None:
        return
    same = np.array_equal(run.final, good.run.final) and np.array_equal(run.states, good.run.states)
    if not same or not np.array_equal(run.observables["r"], good.run.observables["r"]):
        raise Fault("checkpoint: wrong values")


def last_line(text):
    """The error of a command, which may have said before what it is going to do."""
    lines = text.strip().splitlines()
    if len([line for line in lines if "error: " in line]) != 1 or "error: " not in lines[-1]:
        raise Fault(f"an error of several lines: {text[:300]}")
    return lines[-1]


def compare(name, data, good):
    """Every number of the finished members of a dataset must be right."""
    if set(data.variables) != set(good.variables) or dict(data.sizes) != dict(good.sizes):
        raise Fault(f"{name}: variables or sizes differ")
    finished = data["finished"].values.astype(bool) if "finished" in data else None
    for key in good.variables:
        got, want = data[key], good[key]
        if finished is not None and not finished.all():
            if key == "finished" or key.endswith(("_mean", "_low", "_high")):
                continue
            if got.dims[: finished.ndim] == data["finished"].dims:
                if not np.isnan(got.values[~finished]).all():
                    raise Fault(f"{name}: {key} of unfinished members is not NaN")
                got, want = got.values[finished], want.values[finished]
        if got.dtype != want.dtype or not np.array_equal(np.asarray(got), np.asarray(want), equal_nan=_is_float(want)):
            raise Fault(f"{name}: wrong values of {key}")


def _is_float(array):
    return array.dtype.kind == "f"


def check_store(good, work, victim, is_long):
    path = work / "s.zarr"
    for name, function in (("load_ensemble", cs.load_ensemble), ("ensemble", ensemble)):
        data = errors(function, path, name="s.zarr")
        if data is None:
            continue
        compare(name, data, good.data)
        if name == "ensemble" and not data["finished"].values.all():
            raise Fault("ensemble: not all members are finished")
        if json.loads(data.attrs["identity"]) != json.loads(good.data.attrs["identity"]):
            raise Fault(f"{name}: the identity is another")


def check_netcdf(good, work, victim, is_long):
    path = work / "chaos.nc"
    identity = good.nodes.attrs["identity"]
    data = errors(netcdf.load, path, name="chaos.nc") if path.exists() else None
    if data is not None and data.attrs.get("identity") == identity:
        compare("results.load", data, good.nodes)
    data = errors(netcdf.resume, path, identity, name="chaos.nc")
    if data is not None:
        compare("results.resume", data, good.nodes)
    if not is_long:
        return
    code, out, err = chaos(work)
    if code == 0:
        if json.loads(out) != json.loads(good.claims):
            raise Fault("chaos: wrong claims")
    elif code == 2:
        judge(last_line(err), "chaos.nc")
    else:
        raise Fault(f"chaos: exit code {code}")


def check_tokens(good, work, victim, is_long):
    """A file of numbers has no checksum of ours (.npz has one of its own): one line, or a run."""
    (work / "chaos.nc").unlink()
    code, out, err = chaos(work, "--x0", str(victim))
    if code == 2:
        if "x0" not in last_line(err):
            raise Fault(f"chaos --x0: {err[:300]}")
    elif code != 0:
        raise Fault(f"chaos --x0: exit code {code}")
    elif any(claim["measured"] is None for claim in json.loads(out)):
        raise Fault("chaos --x0: NaN")
