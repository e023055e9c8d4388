"""An observable that ends a run by an error."""


class Stop(Exception):
    pass


def stop_at(moment):
    """A function of (time, tokens) that raises Stop from a time on."""

    def observable(t, x):
        if t >= moment:
            raise Stop
        return float(x[0, 0])

    observable.version = 1  # the moment, which is in the closure, makes no other run
    return observable
