"""Mutated study files and observables that misbehave; see `study_files` and `observables`."""


def test_mutated_study_files(effort):
    effort.loop("study_files", n_fixed=60)


def test_observables_that_misbehave(effort):
    effort.loop("observables", n_fixed=60)
