"""Figures are drawn without a display, and closed."""

import matplotlib as mpl
import pytest


@pytest.fixture(autouse=True)
def _closed_figures():
    mpl.use("Agg")
    from matplotlib import pyplot

    yield
    pyplot.close("all")
