"""Pictures of tokens and of what is observed on them; they take and return Axes of Matplotlib.

    tokens       the tokens: on the circle, on a globe, or projected from higher dimensions
    observables  what a run recorded, over time, with intervals over replicas
    cosines      the histogram of the cosines of pairs
    phases       branches of stationary states
    clip         an animation of a run, as GIF or MP4
    save         a picture in a file whose suffix says its kind

Without `ax` each draws into a new figure of pyplot, which a notebook shows; none calls `plt.show`.
"""

from chaosphere.plot.branches import phases
from chaosphere.plot.clips import clip
from chaosphere.plot.clouds import tokens
from chaosphere.plot.histograms import cosines
from chaosphere.plot.lines import observables
from chaosphere.plot.style import save

__all__ = ["clip", "cosines", "observables", "phases", "save", "tokens"]


def __dir__() -> list[str]:
    return __all__
