"""Study files with lines, values and bytes changed at random.

The rule: exit code 0, or 2 with one line of error; never a traceback, never a study that runs for ever unasked.
"""

import contextlib
import functools
import io
import json
import os
import re
import shutil
import sys

from worker import Fault

from chaosphere.cli.main import main

LIMIT = 15
STUDIES = (
    """title = "small"
[model]
type = "transformer"
depth = 3
horizon = 1.0
noise_scale = 0.5
normalization = "peri"
initial_radius = 2.0
[model.attention]
beta = 2.0
value_scale = 1.0
method = "auto"
[model.mlp]
width = 4
activation = "tanh"
bias_std = 0.3
[tokens]
law = "von-mises-fisher"
n_tokens = 6
mean_direction = [0.0, 0.6, 0.8]
concentration = 2.0
[observe.energy]
beta = 1.0
[observe.square]
measure = "radius_moment"
power = 2.0
[observe.near]
measure = "pair_fraction"
above = 0.9
[run]
replicas = 2
first_seed = 3
save_at = [0.5, 1.0]
threads = 1
memory_limit_gb = 1.0
""",
    """[model]
type = "limit"
horizon = 0.5
n_steps = 2
scheme = "heun"
temperature = 0.1
[model.attention]
type = "unnormalized"
value_scale = -1.0
rescaled = true
[model.field]
activation = "relu"
method = "auto"
[tokens]
law = "uniform"
n_tokens = 5
dim = 3
[sweep]
"attention.beta" = { from = 0.5, to = 4.0, count = 2, scale = "log" }
"temperature" = [0.1, 0.2]
[observe.order_parameter]
[observe.clusters]
measure = "cluster_count"
tolerance = 0.1
[run]
replicas = 1
save_at = { from = 0.0, to = 0.5, count = 3 }
[picture]
value = "order_parameter"
x = "time"
y = "beta"
""",
)
OF_LAYERS = """[[model.attention]]
beta = 2.0
[[model.attention]]
type = "l2"
query = [[1.0, 0.0, 0.5]]
key = [[1.0, 0.5, 0.0]]
[[model.mlp]]
type = "fixed"
inner = [[1.0, 0.0, -1.0], [0.5, 0.5, 0.0]]
outer = [[1.0, 0.0], [0.0, 1.0], [-1.0, 2.0]]
inner_bias = [0.1, -0.1]
activation = "gelu"
[[model.mlp]]
width = 4
"""
LONG = """[model]
type = "limit"
horizon = 8.0
n_steps = 4
scheme = "dormand-prince"
tolerance = 1e-6
[model.attention]
beta = 2.0
[tokens]
n_tokens = 4
dim = 2
[observe.mean_cosine]
[until]
type = "threshold"
measure = "pair_fraction"
above = 0.99
at_least = 1.0
[run]
replicas = 2
save_at = [0.0, 2.0, 8.0]
coalesce = 1e-6
"""
CLUSTERED = LONG.replace(
    LONG[LONG.index("[until]") : LONG.index("[run]")], '[until]\ntype = "clustered"\ntolerance = 0.1\n'
)
STUDIES = (
    STUDIES[0],
    STUDIES[1].replace('"temperature" = [0.1, 0.2]\n', ""),
    LONG,
    CLUSTERED,
    "[model]\ndepth = 2\nhorizon = 1.0\nnormalization = 'pre'\n"
    + OF_LAYERS
    + STUDIES[0][STUDIES[0].index("[tokens]") :],
)
VALUES = (
    *[
        "0",
        "1",
        "2",
        "-1",
        "3",
        "64",
        "1e308",
        "1e-308",
        "5e-324",
        "nan",
        "inf",
        "-inf",
        "true",
        "false",
        "1e400",
        "0x10",
        "1_000",
        "9223372036854775807",
    ],
    *[
        "9223372036854775808",
        "1000000000000000000",
        "-0.0",
        "0.1",
        "700.0",
        "1e16",
        "[]",
        "{}",
        "[[]]",
        "[1]",
        "[1.0,2.0]",
        "[nan]",
        '["a"]',
        "''",
        '""',
    ],
    *(
        '"tanh"',
        '"relu"',
        '"pre"',
        '"ngpt"',
        '"x"',
        '"energy"',
        '"time"',
        '".zarray"',
        '"a\\\\b"',
        '"\\u0000"',
        '"é"',
        '"$x_$"',
        "1979-05-27",
    ),
    *("07:32:00", '"""\na\nb"""', "{ from = 0, to = 1, count = 10000000000 }", "{ from = 1, to = 0, count = 2 }"),
    *(
        "{ from = 0, to = 1, count = 0 }",
        '{ from = 0, to = 1, count = 2, scale = "log" }',
        "[1, 1]",
        '[1, "a"]',
        "[true]",
    ),
    *("[0.1, nan]", "[1e308, -1e308]", "{ a = { b = { c = 1 } } }", '"' + 300 * "a" + '"', "10" + 400 * "0"),
)
NAMES = (
    "x",
    "energy",
    "energy_mean",
    "time",
    "replica",
    "seed",
    "finished",
    ".zarray",
    "a/b",
    "a.b",
    "..",
    "",
    "é",
    "a\\nb",
)


def cases(folder):
    os.chdir(folder)
    # A dry run times steps for a quarter of a second each; once is enough here.
    plan = sys.modules["chaosphere.ensembles.plan"]
    assert callable(plan._median_seconds)
    plan._median_seconds = lambda function, most: (function(), 1e-3)[1]
    return case


def case(rng):
    lines = STUDIES[rng.integers(len(STUDIES))].splitlines()
    for _ in range(rng.integers(1, 4)):
        lines = mutate(lines, rng)
    data = "\n".join(lines).encode("utf-8", "surrogateescape")
    if rng.random() < 0.08:
        data = bytes_changed(data, rng)
    name = ["s.toml", "s.toml", "s.toml", "a b.toml", "é.toml", "s"][rng.integers(6)]
    options = [[], ["--json"], ["--threads", "2"], ["--seed", str(rng.integers(2**40))]][rng.integers(4)]
    changed = [line for line in lines if line not in "".join(STUDIES)]
    return f"{name} {options} {changed[:6]} {data[:60] if not changed else ''}", functools.partial(
        check, data, name, options
    )


def mutate(lines, rng):
    at = rng.integers(len(lines)) if lines else 0
    kind = rng.integers(8)
    if not lines or kind == 0:
        return [*lines[:at], *lines[at + 1 :]]
    if kind == 1:
        return [*lines[:at], lines[rng.integers(len(lines))], *lines[at:]]
    if kind == 2:
        table = [
            "[model]",
            "[run]",
            "[tokens]",
            "[picture]",
            "[sweep]",
            "[until]",
            f'[observe."{NAMES[rng.integers(len(NAMES))]}"]',
        ][rng.integers(7)]
        return [*lines, table, 'measure = "order_parameter"' if "observe" in table else "depth = 1"]
    if kind == 3:
        return [*lines[:at], f'"{NAMES[rng.integers(len(NAMES))]}" = {VALUES[rng.integers(len(VALUES))]}', *lines[at:]]
    numbered = [i for i, line in enumerate(lines) if " = " in line]
    if not numbered:
        return lines
    at = numbered[rng.integers(len(numbered))]
    key, _, _ = lines[at].partition(" = ")
    value = VALUES[rng.integers(len(VALUES))] if rng.random() < 0.8 else repr(float(10.0 ** rng.uniform(-12, 12)))
    return [*lines[:at], f"{key} = {value}", *lines[at + 1 :]]


def bytes_changed(data, rng):
    kind = rng.integers(6)
    at = int(rng.integers(len(data) or 1))
    if kind == 0:
        return b"\xef\xbb\xbf" + data
    if kind == 1:
        return data.replace(b"\n", b"\r\n")
    if kind == 2:
        return data[:at] + rng.bytes(4) + data[at:]
    if kind == 3:
        return data[:at]
    if kind == 4:
        return b"a = " + b"[" * 2000 + b"]" * 2000 + b"\n" + data
    return data.decode("utf-8", "replace").encode("utf-16")


def command(*arguments):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = main(list(arguments))
        except SystemExit as error:
            code = error.code
    return code, out.getvalue(), err.getvalue()


def check(data, name, options):
    shutil.rmtree("out", ignore_errors=True)
    with open(name, "wb") as stream:
        stream.write(data)
    code, out, err = command("run", name, "--dry-run", *options)
    judge(code, err)
    if code != 0:
        return
    steps = re.search(r"steps +([0-9.e+]+), of ([0-9]+) tokens", out)
    if steps is None or float(steps[1]) > 2000 or int(steps[2]) > 2000:
        return
    if re.search(r"executor +(processes|dask|mpi)", out):
        return
    horizon = re.search(rb"^horizon = ([0-9.]+)$", data, flags=re.MULTILINE)
    if "steps are refined" in out and (horizon is None or float(horizon[1]) > 100):  # may take 10⁶ inner steps
        return
    code, out, err = command("run", name, "--out", "out", *options)
    judge(code, err)
    if code == 0 and "--json" in options:
        json.loads(out, parse_constant=_refuse)


def _refuse(constant):
    raise Fault(f"--json prints {constant}")


def judge(code, err):
    if code not in (0, 2):
        raise Fault(f"exit code {code}: {err[-300:]}")
    lines = err.strip().splitlines()
    if code == 2 and (len(lines) != 1 or not lines[0].startswith("chaosphere run: error: ")):
        raise Fault(f"an error of {len(lines)} lines: {err[:300]}")
    if code == 2 and len(lines[0]) < 35:
        raise Fault(f"an error that says nothing: {lines[0]}")
