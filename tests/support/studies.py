"""A study file as tests write it, whole or with lines of it replaced."""

import re

GOOD = """
title = "A study"
[model]
type = "transformer"
depth = 4
horizon = 1.0
[model.attention]
value_scale = -1.0
[model.mlp]
width = 8
activation = "sigmoid"
[tokens]
n_tokens = 6
law = "uniform"
dim = 3
[sweep]
"attention.beta" = [0.5, 4.0]
noise_scale = { from = 1.0, to = 2.0, count = 3 }
[observe.energy]
measure = "energy"
beta = 1.0
[observe.met]
measure = "pair_fraction"
above = 0.5
[run]
replicas = 5
first_seed = 10
save_at = [0.0, 0.5, 1.0]
executor = "none"
[picture]
value = "met"
x = "beta"
y = "noise_scale"
critical = true
"""


def written(tmp_path, text=GOOD, **replaced):
    """The file, with each `old = "new"` line replaced; None removes it."""
    for old, new in replaced.items():
        assert re.search(rf"^{old} = .*\n", text, flags=re.MULTILINE), old
        text = re.sub(rf"^{old} = .*\n", "" if new is None else f"{old} = {new}\n", text, flags=re.MULTILINE)
    path = tmp_path / "small.toml"
    path.write_text(text)
    return path
