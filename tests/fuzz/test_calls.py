"""Every public function with arguments that are wrong, extreme or of another type; see `calls`."""

import call_table
import calls

import chaosphere as cs

# Results and exceptions, which the library makes itself, and methods for tokens that are checked already.
NOT_CALLED = {
    "AttentionResult",
    "AxisymmetricSolution",
    "CoupledRun",
    "DensitySolution",
    "Fluctuations",
    "Gradient",
    "Estimate",
    "Interrupted",
    "SimulationError",
    "Solution",
    "SphereSolution",
    "CovarianceKernel",
}
NOT_CALLED |= {
    "SinkhornResult",
    "UnbalancedError",
    "UnresolvedDensityError",
    "laws.Law",
    "laws.Quadrature",
    "two_point.LongTime",
}
NOT_CALLED |= {
    "two_point.HittingProbabilities",
    "two_point.PairSolution",
    "laws",
    "measures",
    "phases",
    "phases.Branch",
    "phases.StationaryState",
    "phases.Transition",
    "plot",
    "stats",
    "measures.Clusters",
    "measures.Lifetimes",
    "measures.Modes",
    "measures.SphereModes",
    "measures.LyapunovEstimate",
    "stats.CONFIDENCE",
    "stats.FEWEST_REPLICAS",
    "stats.Interval",
    "theory",
    "training",
    "training.NetworkGradient",
    "training.Training",
    "two_point",
    "until",
}


def public_names():
    """Every name that a user may call, as in the keys of CALLS."""
    names = set(cs.__all__)
    for module in (cs.laws, cs.measures, cs.phases, cs.plot, cs.stats, cs.theory, cs.training, cs.two_point, cs.until):
        names |= {f"{module.__name__.split('.')[-1]}.{name}" for name in module.__all__}
    return names


def test_every_public_name_is_called():
    names = {name.split(" ")[0] for name in call_table.CALLS}
    assert public_names() <= names | NOT_CALLED
    for name in names:  # and there is no entry of a name that is gone
        assert name in public_names() or "." in name


def test_arguments_as_they_should_be(tmp_path, monkeypatch):
    """The table itself is right: with its own arguments nothing is refused."""
    monkeypatch.chdir(tmp_path)
    for name, (function, arguments) in call_table.CALLS.items():
        if name != "load_ensemble":
            result = function(**arguments)
            assert name in call_table.MAY_BE_NAN or not calls.not_finite(result), name


def test_wrong_arguments(effort):
    effort.loop("calls", n_fixed=100)
