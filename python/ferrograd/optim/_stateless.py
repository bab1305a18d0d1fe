"""Optimizers with other parameters and state for a while."""

from collections import defaultdict
from contextlib import contextmanager

from ferrograd import Tensor

__all__ = ["swap_in_optimizer_params_and_state"]


def _check(optimizer, parameters, saved):
    """Fails unless `saved` is like the optimizer's own state_dict, and there is a parameter for each of its own."""

    def need(fits, what):
        if not fits:
            raise RuntimeError(f"swap_in_optimizer_params_and_state requires {what}")

    need(optimizer.state, "initialized optimizer state")
    need(isinstance(saved, dict), "an optimizer state_dict")
    state, groups = saved.get("state"), saved.get("param_groups")
    need(isinstance(state, dict), "swapin_optim_state['state'] to be a dict")
    need(isinstance(groups, list), "swapin_optim_state['param_groups'] to be a list")
    need(len(groups) == len(optimizer.param_groups), "as many parameter groups as the optimizer has")
    numbers = set()
    for own, group in zip(optimizer.param_groups, groups):
        need(isinstance(group, dict) and isinstance(group.get("params"), list), "groups that are dicts with a list of params")
        need(len(group["params"]) == len(own["params"]), "groups of the same sizes")
        need(set(group) == set(own), f"groups with the same options, but {sorted(set(group) ^ set(own))} are in one only")
        numbers.update(group["params"])
    need(not any(isinstance(key, Tensor) for key in numbers | set(state)), "numbers in place of parameters, as in a state_dict")
    need(numbers >= set(state), "state of parameters in the groups only")
    need(all(isinstance(value, dict) for value in state.values()), "state of parameters to be dicts")
    need(len(parameters) >= sum(len(group["params"]) for group in groups), "as many parameters as the groups have")


@contextmanager
def swap_in_optimizer_params_and_state(optimizer, swapin_parameters, swapin_optim_state):
    """Within it, `optimizer` has the parameters of a dict, in its order, and options and state of a state_dict like its own.

    The tensors are used as they are: a step changes them.
    """
    _check(optimizer, swapin_parameters, swapin_optim_state)
    own_state, own_groups = optimizer.state, [dict(group) for group in optimizer.param_groups]
    parameters = iter(swapin_parameters.values())
    try:
        state = defaultdict(dict)
        for group, new in zip(optimizer.param_groups, swapin_optim_state["param_groups"]):
            params = [next(parameters) for _ in new["params"]]
            group.update(new, params=params)
            for p, number in zip(params, new["params"]):
                state[p] = dict(swapin_optim_state["state"].get(number, {}))
        optimizer.state = state
        yield
    finally:
        optimizer.state = own_state
        for group, own in zip(optimizer.param_groups, own_groups):
            group.clear()
            group.update(own)
