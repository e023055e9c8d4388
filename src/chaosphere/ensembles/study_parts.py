"""What a study file can name: laws, models, the parts of models, and conditions that end a run.

To add a law, an interaction, a network, a model, a part or a condition, add a line to `LAWS`, `INTERACTIONS`, `MLPS`,
`MODELS`, `PARTS` or `CONDITIONS`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from chaosphere.ensembles.study_table import Table, build, list_of_values, unknown
from chaosphere.ensembles.sweep import N_TOKENS
from chaosphere.geometry import laws
from chaosphere.geometry.laws import Law
from chaosphere.interactions.l2 import L2Attention
from chaosphere.interactions.potential import PotentialInteraction
from chaosphere.interactions.protocol import consensus_rate_of
from chaosphere.interactions.random_attention import RandomAttention
from chaosphere.interactions.sinkhorn import SinkhornAttention
from chaosphere.interactions.softmax import SoftmaxAttention
from chaosphere.interactions.unnormalized import UnnormalizedAttention
from chaosphere.models.protocol import Model
from chaosphere.models.sde import LimitSDE
from chaosphere.models.transformer import Transformer
from chaosphere.noise.fixed_mlp import FixedMLP
from chaosphere.noise.gaussian import GaussianField
from chaosphere.noise.mlp import MLP
from chaosphere.noise.protocol import CommonNoise
from chaosphere.simulation.until import Clustered, Threshold

_SCHEDULES = {"": ("noise_scale",), "attention": ("beta", "value_scale")}  # keys that may have a number for each step
_KERNEL_KEYS = ("activation", "bias_std", "output_bias_std", "weight_std")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A part of a model, in a table [model.NAME] of its own, or in a list of tables [[model.NAME]], one for each layer.

    Attributes
    ----------
    keys : callable
        From the table, and its name in messages, to the keys that it may have.
    make : callable
        From the table, `where`, its name in messages, and `dim` to the part.
    is_per_layer : bool
        Whether there may be a list of tables.
    """

    keys: Callable[[Mapping[str, Any], str], tuple[str, ...]]
    make: Callable[..., Any]
    is_per_layer: bool = False

    def tables(self, values: Any, where: str) -> Iterator[tuple[Any, str]]:
        """Return the table, or those of the list, each with its name in messages.

        Raises
        ------
        ValueError
            If the list is empty.
        """
        if not (self.is_per_layer and isinstance(values, list)):
            yield values, where
            return
        if not values:
            raise ValueError(f"{where} must be a table, or a list of one table for each layer, got an empty list")
        for number, table in enumerate(values):
            yield table, f"{where}[{number}]"

    def of(self, values: Any, where: str, *, dim: int) -> Any:
        """Return the part that a table describes, or the list of parts."""
        parts = [self.make(table, where=name, dim=dim) for table, name in self.tables(values, where)]
        return parts if isinstance(values, list) else parts[0]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ModelKind:
    """A type of model.

    Attributes
    ----------
    cls : type
        A dataclass; [model] has its fields as keys.
    parts : tuple of str
        Fields that are tables of their own, in `PARTS`.
    """

    cls: Any
    parts: tuple[str, ...]

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys of [model] that are no tables; `n_fine_steps` is for coupled runs alone."""
        return tuple(name for name in field_names(self.cls) if name not in (*self.parts, "n_fine_steps"))


def field_names(cls: Any) -> tuple[str, ...]:
    """Return the names of a dataclass's fields."""
    return tuple(field.name for field in dataclasses.fields(cls))


def _field_keys(values: Any, where: str) -> tuple[str, ...]:
    """Return the keys of a table of a common noise."""
    if _noise(values, where) == "random-attention":
        return (*field_names(RandomAttention), "type")
    return (*_KERNEL_KEYS, "method", "tolerance", "width", "type")


def _noise(values: Any, where: str) -> str:
    return Table(values, where).choice("type", ("gaussian", "random-attention"), default="gaussian")


def _field(values: dict[str, Any], *, where: str, dim: int) -> CommonNoise:
    """Return the common noise that the table describes: the Gaussian field of wide layers, or random attention."""
    kind, values = _noise(values, where), {key: value for key, value in values.items() if key != "type"}
    if kind == "random-attention":
        noise: RandomAttention = build(RandomAttention, where, values=values)
        return noise
    layer = {"width": 1} | {key: value for key, value in values.items() if key in _KERNEL_KEYS}
    kernel = build(MLP, where, values=layer).kernel(dim)
    rest = {key: value for key, value in values.items() if key not in _KERNEL_KEYS}
    field: GaussianField = build(GaussianField, where, values={"kernel": kernel} | rest)
    return field


def _of_types(types: Mapping[str, Any]) -> Part:
    """Return the part that is a dataclass, named by the key `type` of its table; the first is the default."""

    def cls(values: Any, where: str) -> Any:
        return types[Table(values, where).choice("type", tuple(types), default=next(iter(types)))]

    def keys(values: Any, where: str) -> tuple[str, ...]:
        return (*field_names(cls(values, where)), "type")

    def make(values: dict[str, Any], *, where: str, dim: int) -> Any:
        rest = {key: value for key, value in values.items() if key != "type"}
        return build(cls(values, where), where, values=rest)

    return Part(keys=keys, make=make, is_per_layer=True)


LAWS = {"uniform": laws.Uniform, "von-mises-fisher": laws.VonMisesFisher}
INTERACTIONS = {
    "softmax": SoftmaxAttention,
    "unnormalized": UnnormalizedAttention,
    "sinkhorn": SinkhornAttention,
    "l2": L2Attention,
    "potential": PotentialInteraction,
    "random": RandomAttention,
}
CONDITIONS = {"clustered": Clustered, "threshold": Threshold}
MLPS = {"random": MLP, "fixed": FixedMLP}
PARTS = {
    "attention": _of_types(INTERACTIONS),
    "mlp": _of_types(MLPS),
    "field": Part(keys=_field_keys, make=_field),
}
MODELS = {
    "transformer": ModelKind(cls=Transformer, parts=("attention", "mlp")),
    "limit": ModelKind(cls=LimitSDE, parts=("attention", "field")),
}


def law_and_size(values: Any, *, is_swept: bool = False) -> tuple[Law, int | None]:
    """Return the law and the number of tokens of the table [tokens], which must have none where it is swept."""
    cls = LAWS[Table(values, "tokens").choice("law", tuple(LAWS), default="uniform")]
    fields = field_names(cls)
    table = Table(values, "tokens", allowed=("law", "n_tokens", *fields))
    if is_swept and "n_tokens" in table.values:
        raise ValueError("[sweep] n_tokens must not be given in [tokens] as well")
    n_tokens = None if is_swept else table.integer("n_tokens", low=1)
    return build(cls, "tokens", values={key: value for key, value in values.items() if key in fields}), n_tokens


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ModelFactory:
    """The function from swept values to models that a table [model] and the paths in [sweep] describe.

    Attributes
    ----------
    values : dict
        The table.
    dim : int
    paths : mapping of str to str
        Path in [model] of each swept parameter of the model, such as "attention.beta" of beta.
    """

    values: dict[str, Any]
    dim: int
    paths: Mapping[str, str]

    def __post_init__(self) -> None:
        """Check the keys of the tables and of the sweep."""
        kind = self.kind
        Table(self.values, "model", allowed=["type", *kind.parts, *kind.keys])
        sweepable = list(kind.keys)
        for name in kind.parts:
            for table, where in PARTS[name].tables(self.values[name], f"model.{name}") if name in self.values else ():
                keys = PARTS[name].keys(table, where)
                Table(table, where, allowed=keys)
                if table is self.values[name]:
                    sweepable += [f"{name}.{key}" for key in keys if key != "type"]
        for path in self.paths.values():
            part = path.partition(".")[0]
            if part in kind.parts and isinstance(self.values.get(part), list):
                raise ValueError(
                    f"[sweep] {path} must not be a key of [[model.{part}]]: there it has a value in each layer"
                )
            if path not in sweepable:
                raise ValueError(f"[sweep] unknown parameter {unknown(path, [*sweepable, N_TOKENS])}")
            *table, key = path.split(".")
            if key in (self.values[table[0]] if table else self.values):
                raise ValueError(f"[sweep] {path} must not be given in [{'.'.join(['model', *table])}] as well")

    @property
    def kind(self) -> ModelKind:
        """The type of the models."""
        return MODELS[Table(self.values, "model").choice("type", tuple(MODELS), default="transformer")]

    def __call__(self, **point: Any) -> Model:
        """Return the model with these values of the swept parameters."""
        values = self._values(point)
        model: Model = build(self.kind.cls, "model", values=values | self._parts(values))
        return model

    def _spread(self, values: dict[str, Any]) -> None:
        """Replace {from, to, scale} of parameters that may change by a number for each step of the model."""
        n_steps = values.get("depth", values.get("n_steps"))
        counts = {} if n_steps is None else {"count": n_steps}
        for name, keys in _SCHEDULES.items():
            table = values.get(name, {}) if name else values
            for key in keys if isinstance(table, dict) else ():
                if isinstance(entry := table.get(key), dict):
                    where = f"[model.{name}] {key}" if name else f"[model] {key}"
                    table[key] = list_of_values(counts | entry, where)

    def critical_noise_scale(self, **point: Any) -> float:
        """Return s_c = √(δ/λ1), where a cluster's exponent s²λ1 − δ changes sign; NaN where δ/λ1 is not positive.

        arXiv:2604.26898, section on synchronization; δ is the rate at which attention alone contracts a cluster.

        Raises
        ------
        ValueError
            If the model has no random layers, no attention whose `consensus_rate` is known, or other steps than the
            equation is the limit of.
        """
        parts = self._parts(self._values(point))
        attention, mlp = parts.get("attention"), parts.get("mlp")
        rate, values = consensus_rate_of(attention), self._values(point)
        others = {"normalization": "post", "attention_exponent": 1, "mlp_exponent": 0.5}
        is_usual = all(values.get(name, usual) == usual for name, usual in others.items())
        if not isinstance(mlp, MLP) or rate is None or not mlp.resample or not is_usual:
            raise ValueError(
                "[picture] critical needs a model with attention.value_scale and one random mlp, drawn anew for each "
                "layer, without a mask, with the default exponents and normalization"
            )
        return float(mlp.kernel(self.dim).critical_noise_scale(rate))

    def _values(self, point: Mapping[str, Any]) -> dict[str, Any]:
        """Return the table [model] with the swept values in it, without its type."""
        values = {key: dict(value) if isinstance(value, dict) else value for key, value in self.values.items()}
        values.pop("type", None)
        for name, path in self.paths.items():
            *table, key = path.split(".")
            (values[table[0]] if table else values)[key] = point[name]
        self._spread(values)
        return values

    def _parts(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return the parts of the model, None where there is no table."""
        return {
            name: PARTS[name].of(values[name], f"model.{name}", dim=self.dim) if name in values else None
            for name in self.kind.parts
        }
