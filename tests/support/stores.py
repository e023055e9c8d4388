"""Small ensembles in stores, and a store that stops to write."""

import os

import chaosphere as cs
from chaosphere.ensembles.store import Store


def fail_after(n_batches, monkeypatch):
    """Make the store refuse to write more than so many batches."""
    write, left = Store.write, [n_batches]

    def limited(self, batch, values):
        if not left[0]:
            raise OSError(28, os.strerror(28))
        left[0] -= 1
        write(self, batch, values)

    monkeypatch.setattr(Store, "write", limited)


def first(time, x):
    return x[:, 0]


def height(time, x):
    return time + x[:, 0, 0]


# Two points of two batches each, for little.
QUICK = {
    "n_tokens": 2000,
    "seeds": range(4),
    "sweep": {"scale": [1.0, 2.0]},
    "observe": {"first": first, "energy": height},
}


def free(scale):
    """A model without attention."""
    return cs.Transformer(attention=None, mlp=cs.MLP(width=2), depth=2, horizon=1.0, noise_scale=scale)
