"""The names of all that can be measured, filled by the modules of `workloads` and by `probes`."""

import itertools

WORKLOADS = {}
PROBES = {}


def workload(name, **parameters):
    """Registers a function under `name`, once for each combination of the parameters' values."""

    def register(make):
        for values in itertools.product(*parameters.values()):
            chosen = dict(zip(parameters, values))
            WORKLOADS[name.format(**chosen)] = lambda lib, chosen=chosen: make(lib, **chosen)
        return make

    return register


def probe(name, unit, once=False):
    """Registers a function that measures something in a fresh process; `once` if it gives the same each time."""

    def register(measure):
        PROBES[name] = (measure, unit, once)
        return measure

    return register


def need(condition, what):
    """Leaves a workload out for a library that cannot do it."""
    if not condition:
        raise NotImplementedError(what)


def finished(lib, x):
    """A result, once it is there."""
    lib.finish(x)
    return x
