"""Small runs of the commands, and what reads what they print."""

import json

SMALL = ["--tokens", "16", "32", "64", "--replicas", "4", "--depth", "4", "--width", "8"]
TINY = [*SMALL, "--dim", "2", "--nodes", "32"]
TINY_MEAN_FIELD = [
    *["--horizon", "0.1", "--steps", "2", "4", "--modes", "32", "--nodes", "8", "16", "--width", "4", "--depth", "4"],
    *["--replicas", "2", "--pair-replicas", "2"],
]
TINY_SYNC = ["--activations", "tanh", "--tokens", "4", "--width", "4", "--depth", "4", "--horizon", "1"]
TINY_CAUSAL = ["--study", "correlation", "--tokens", "16", "--steps", "4", "--replicas", "2"]
TINY_METASTABILITY = ["--study", "merging", "--barriers", "1", "2"]
TINY_PHASES = [
    *("--attentions", "softmax", "--beta", "1", "--tokens", "8", "--steps", "4", "--systems", "2"),
    *("--shares", "0.8", "1.2", "--replicas", "2"),
]
TINY_RANDOM = ["--study", "ends", "--dim", "3", "--beta", "1", "--pairs", "10", "--steps", "4", "--replicas", "2"]
TINY_TRAINING = [
    *("--study", "sizes", "--tokens", "4", "--sizes", "2", "4", "--steps", "0", "1", "--limit-heads", "4"),
    *("--replicas", "2"),
]
TINY_ESTIMATE = [
    *("--activation", "erf", "--value-scale", "0", "--horizon", "0.25", "--steps", "2", "--field-tolerance", "0.01"),
    *("--tolerance", "0.2"),
]
TINY_UNIFORM = [
    *("--tokens", "4", "8", "--nodes", "32", "--horizon", "4", "--steps", "40", "--systems", "1", "--replicas", "2"),
]
TINY_TABLE = ["--activations", "relu", "--dims", "5", "--bias-std", "0"]


def strict_json(text):
    """Parse as a strict reader does: NaN and Infinity are no JSON."""

    def refuse(constant):
        raise AssertionError(f"{constant} is not JSON")

    return json.loads(text, parse_constant=refuse)
