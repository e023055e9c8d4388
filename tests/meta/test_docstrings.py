"""The docstrings of public names hold what numpydoc asks for, and what a reader needs to try the examples."""

import ast
import builtins
import doctest
import enum
import importlib
import inspect
from functools import cache
from pkgutil import resolve_name

import pytest
from numpydoc.docscrape import get_doc_object
from numpydoc.validate import ERROR_MSGS, Validator, validate

NAMESPACES = [
    "chaosphere",
    "chaosphere.laws",
    "chaosphere.measures",
    "chaosphere.phases",
    "chaosphere.plot",
    "chaosphere.stats",
    "chaosphere.theory",
    "chaosphere.training",
    "chaosphere.two_point",
    "chaosphere.until",
]
# What public functions take and return besides, and what models, schemes and interactions of a user's own are made of.
EXTENDING = [
    "chaosphere.common.shape.Shape",
    "chaosphere.common.streams.Draws",
    "chaosphere.common.streams.Noise",
    "chaosphere.common.streams.Stream",
    "chaosphere.interactions.growth.EnergyGrowth",
    "chaosphere.interactions.protocol.Interaction",
    "chaosphere.interactions.protocol.InteractionPlan",
    "chaosphere.interactions.protocol.Partition",
    "chaosphere.interactions.protocol.Pullback",
    "chaosphere.measures.observables.StateObservable",
    "chaosphere.measures.token_means.SharedObservable",
    "chaosphere.measures.token_means.SharedStateObservable",
    "chaosphere.models.protocol.Cost",
    "chaosphere.models.protocol.Inside",
    "chaosphere.models.protocol.Model",
    "chaosphere.models.protocol.ModelPlan",
    "chaosphere.models.protocol.StepContext",
    "chaosphere.noise.protocol.CommonNoise",
    "chaosphere.noise.protocol.NoisePlan",
    "chaosphere.models.schemes.Flow",
    "chaosphere.models.schemes.Scheme",
    "chaosphere.noise.activations.Activation",
    "chaosphere.noise.decay_rate.EnergyDecay",
    "chaosphere.noise.protocol.Increment",
    "chaosphere.noise.layer_law.LayerLaw",
    "chaosphere.noise.rates.Synchronization",
]
# ES01, an extended summary: where the first line says all, a second one would be padding.
# PR08 and RT04, capital letters: descriptions may start with a symbol of the paper, and most of these are small.
CODES = set(ERROR_MSGS) - {"ES01", "PR08", "RT04"}


def is_protocol(obj):
    return getattr(obj, "_is_protocol", False)


def members(name):
    """The public methods and properties that a class has from chaosphere, by their full names."""
    cls = resolve_name(name)
    if not inspect.isclass(cls):
        return []
    kinds = (classmethod, staticmethod, property, type(members))
    return sorted(
        {
            f"{name}.{member}"
            for base in cls.__mro__
            if base.__module__.startswith("chaosphere.")
            for member, value in vars(base).items()
            if isinstance(value, kinds) and (member == "__call__" or not member.startswith("_"))
        }
    )


def public_names():
    names = list(EXTENDING)
    for namespace in NAMESPACES:
        module = importlib.import_module(namespace)
        names += [f"{namespace}.{name}" for name in module.__all__ if callable(getattr(module, name))]
    return names + [member for name in names for member in members(name)]


NAMES = public_names()


def exceptions(name):
    """Codes that a name is excused from: a protocol's members have no body, and its own example writes them."""
    owner = name.rpartition(".")[0]
    return {"EX01"} if owner in NAMES and is_protocol(resolve_name(owner)) else set()


class PublicValidator(Validator):
    """Knows the arguments of a name as users pass them."""

    def __init__(self, obj_name):
        super().__init__(get_doc_object(resolve_name(obj_name)))
        self.owner = resolve_name(obj_name.rpartition(".")[0])

    @property
    def signature_parameters(self):
        parameters = super().signature_parameters
        if inspect.isclass(self.obj) and (is_protocol(self.obj) or issubclass(self.obj, enum.Enum)):
            return ()  # users do not call these
        if inspect.isclass(self.owner) and parameters[:1] == ("kernel",):
            parameters = parameters[1:]  # functions of a kernel that are methods of it: their `self`
        return tuple(parameter for parameter in parameters if not parameter.startswith("_"))


@cache
def see_also(name):
    return {target for entry, _ in get_doc_object(resolve_name(name))["See Also"] for target, _ in entry}


def example(name):
    docstring = inspect.getdoc(resolve_name(name)) or ""
    return doctest.DocTestParser().get_examples(docstring)


def undefined(source):
    """Names that code uses and does not define."""
    used, defined = set(), set(dir(builtins))
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Name(id=name, ctx=ast.Load()):
                used.add(name)
            case ast.Name(id=name) | ast.arg(arg=name) | ast.ExceptHandler(name=name):
                defined.add(name)
            case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
                defined.add(name)
            case ast.Import(names=aliases) | ast.ImportFrom(names=aliases):
                defined |= {(alias.asname or alias.name).partition(".")[0] for alias in aliases}
    return used - defined


@pytest.mark.parametrize("name", NAMES)
def test_numpydoc(name):
    errors = validate(name, validator_cls=PublicValidator)["errors"]
    codes = CODES - exceptions(name)
    assert [error for error in errors if error[0] in codes] == []


@pytest.mark.parametrize("name", NAMES)
def test_what_a_docstring_refers_to_is_public_and_refers_back(name):
    targets = see_also(name)
    assert targets <= set(NAMES) - {name}
    assert [target for target in targets if name not in see_also(target)] == []


@pytest.mark.parametrize("name", NAMES)
def test_an_example_can_be_copied_as_it_stands(name):
    examples = example(name)
    assert undefined("".join(part.source for part in examples)) == set()
    assert not any(part.options.get(doctest.SKIP) for part in examples)


def test_the_rules_themselves():
    assert undefined("import a.b as c\nc.d(e, lambda f: f)\ntry: g = 1\nexcept c.h as i: i\ng") == {"e"}
    assert "chaosphere.CovarianceKernel.from_activation" in NAMES
    assert "chaosphere.MLPLayer.__call__" in NAMES
    assert see_also("chaosphere.ensemble") >= {"chaosphere.load_ensemble", "chaosphere.simulate"}
    assert exceptions("chaosphere.models.protocol.ModelPlan.advance") == {"EX01"}
    assert exceptions("chaosphere.Transformer.plan") == set()


def test_a_docstring_that_lacks_something_fails():
    class Incomplete:
        """Nothing."""

        def method(self, x, y=1):
            """Return something

            Parameters
            ----------
            x : int
            z : int
                No such argument.
            """
            return x

    module = importlib.import_module(__name__)
    module.Incomplete = Incomplete
    codes = {error[0] for error in validate(f"{__name__}.Incomplete.method", validator_cls=PublicValidator)["errors"]}
    assert codes >= {"SS03", "PR01", "PR02", "PR07", "RT01", "SA01", "EX01"}
