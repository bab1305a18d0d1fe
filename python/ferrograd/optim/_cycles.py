"""Schedules of the learning rate up and down again, and of the momentum against it."""

import math
import types

from ferrograd.optim._schedule import _check_optimizer, _for_groups, _Formula, _set

__all__ = ["CyclicLR", "OneCycleLR"]


class _WithMomentum(_Formula):
    """A schedule of the rate and, against it, of the momentum: of the first beta where the optimizer has betas."""

    def _init_momentum(self, optimizer, base_momentum, max_momentum, last_epoch):
        """Answers the lists for the groups; a new schedule begins with the highest."""
        if "momentum" not in optimizer.defaults and "betas" not in optimizer.defaults:
            raise ValueError("optimizer must support momentum or beta1 with `cycle_momentum` option enabled")
        self.use_beta1 = "betas" in optimizer.defaults
        low = _for_groups("base_momentum", optimizer, base_momentum)
        high = _for_groups("max_momentum", optimizer, max_momentum)
        if last_epoch == -1:
            for high_momentum, low_momentum, group in zip(high, low, optimizer.param_groups):
                self._set_momentum(group, high_momentum)
                group["max_momentum"] = high_momentum
                group["base_momentum"] = low_momentum
        return low, high

    def _set_momentum(self, group, momentum):
        if self.use_beta1:
            group["betas"] = (momentum, *group["betas"][1:])
        else:
            group["momentum"] = momentum


class CyclicLR(_WithMomentum):
    """From `base_lr` to `max_lr` in `step_size_up` steps and back in `step_size_down`, again and again (Smith, 2015).

    The height of a cycle is full with `mode` "triangular", halved each time with "triangular2" and times gamma^step with
    "exp_range", or times `scale_fn` of the number of the cycle or of the step, as `scale_mode` says.
    `cycle_momentum`: the momentum goes between `max_momentum` and `base_momentum`, the other way around.
    """

    def __init__(
        self,
        optimizer,
        base_lr,
        max_lr,
        step_size_up=2000,
        step_size_down=None,
        mode="triangular",
        gamma=1.0,
        scale_fn=None,
        scale_mode="cycle",
        cycle_momentum=True,
        base_momentum=0.8,
        max_momentum=0.9,
        last_epoch=-1,
    ):
        _check_optimizer(optimizer)
        self.optimizer = optimizer
        base_lrs = _for_groups("base_lr", optimizer, base_lr)
        if last_epoch == -1:
            for lr, group in zip(base_lrs, optimizer.param_groups):
                _set(group, "lr", lr)
        self.max_lrs = _for_groups("max_lr", optimizer, max_lr)
        step_size_up = float(step_size_up)
        step_size_down = float(step_size_down) if step_size_down is not None else step_size_up
        self.total_size = step_size_up + step_size_down
        self.step_ratio = step_size_up / self.total_size
        if mode not in ["triangular", "triangular2", "exp_range"] and scale_fn is None:
            raise ValueError("mode is invalid and scale_fn is None")
        self.mode = mode
        self.gamma = gamma
        self._scale_fn_custom = scale_fn
        self.scale_mode = scale_mode
        self._init_scale_mode()
        self.cycle_momentum = cycle_momentum
        if cycle_momentum:
            momentums = self._init_momentum(optimizer, base_momentum, max_momentum, last_epoch)
            self.base_momentums, self.max_momentums = momentums
        super().__init__(optimizer, last_epoch)
        self.base_lrs = base_lrs

    def _init_scale_mode(self):
        if self._scale_fn_custom is None:
            self.scale_mode = "iterations" if self.mode == "exp_range" else "cycle"

    def scale_fn(self, x):
        """The height of a cycle."""
        if self._scale_fn_custom is not None:
            return self._scale_fn_custom(x)
        if self.mode == "triangular":
            return 1.0
        return 1 / (2.0 ** (x - 1)) if self.mode == "triangular2" else self.gamma**x

    def _rates(self):
        cycle = math.floor(1 + self.last_epoch / self.total_size)
        x = 1.0 + self.last_epoch / self.total_size - cycle
        factor = x / self.step_ratio if x <= self.step_ratio else (x - 1) / (self.step_ratio - 1)
        at = cycle if self.scale_mode == "cycle" else self.last_epoch

        def height(low, high):
            return (high - low) * factor * self.scale_fn(at)

        lrs = [low + height(low, high) for low, high in zip(self.base_lrs, self.max_lrs, strict=True)]
        if self.cycle_momentum:
            groups = zip(self.optimizer.param_groups, self.base_momentums, self.max_momentums, strict=True)
            for group, low, high in groups:
                self._set_momentum(group, high - height(low, high))
        return lrs

    def state_dict(self):
        """All that the schedule is made of, but for the optimizer and a `scale_fn` that has no state."""
        state = super().state_dict()
        fn = state.pop("_scale_fn_custom")
        state["_scale_fn_custom"] = None if fn is None or isinstance(fn, types.FunctionType) else fn.__dict__.copy()
        return state

    def load_state_dict(self, state_dict):
        """Takes over what `state_dict` returned; a `scale_fn` without state stays."""
        fn = state_dict["_scale_fn_custom"]
        super().load_state_dict({key: value for key, value in state_dict.items() if key != "_scale_fn_custom"})
        if fn is not None:
            self._scale_fn_custom.__dict__.update(fn)
        self._init_scale_mode()


class OneCycleLR(_WithMomentum):
    """One cycle: from max_lr / div_factor to `max_lr`, then down to the first by `final_div_factor` (Smith and Topin, 2017).

    It rises for `pct_start` of the `total_steps`, or of `epochs` times `steps_per_epoch`, along a cosine or a line.
    `three_phase` falls as long as it rose, then to the last rate. `cycle_momentum`: the momentum goes the other way around.
    """

    def __init__(
        self,
        optimizer,
        max_lr,
        total_steps=None,
        epochs=None,
        steps_per_epoch=None,
        pct_start=0.3,
        anneal_strategy="cos",
        cycle_momentum=True,
        base_momentum=0.85,
        max_momentum=0.95,
        div_factor=25.0,
        final_div_factor=1e4,
        three_phase=False,
        last_epoch=-1,
    ):
        _check_optimizer(optimizer)
        self.optimizer = optimizer
        if total_steps is None and (epochs is None or steps_per_epoch is None):
            raise ValueError("You must define either total_steps OR (epochs AND steps_per_epoch)")
        counts = dict(total_steps=total_steps) if total_steps is not None else dict(epochs=epochs, steps_per_epoch=steps_per_epoch)
        for name, count in counts.items():
            if not isinstance(count, int) or count <= 0:
                raise ValueError(f"Expected positive integer {name}, but got {count}")
        self.total_steps = math.prod(counts.values())
        if not isinstance(pct_start, float) or not 0 <= pct_start <= 1:
            raise ValueError(f"Expected float between 0 and 1 pct_start, but got {pct_start}")
        risen, last = float(pct_start * self.total_steps) - 1, self.total_steps - 1
        if three_phase:
            fallen = float(2 * pct_start * self.total_steps) - 2
            phases = [(risen, "initial_lr", "max_lr"), (fallen, "max_lr", "initial_lr"), (last, "initial_lr", "min_lr")]
        else:
            phases = [(risen, "initial_lr", "max_lr"), (last, "max_lr", "min_lr")]
        self._schedule_phases = [
            {
                "end_step": end_step,
                "start_lr": start,
                "end_lr": end,
                "start_momentum": "base_momentum" if start == "max_lr" else "max_momentum",
                "end_momentum": "base_momentum" if end == "max_lr" else "max_momentum",
            }
            for end_step, start, end in phases
        ]
        if anneal_strategy not in ["cos", "linear"]:
            raise ValueError(f"anneal_strategy must be one of 'cos' or 'linear', instead got {anneal_strategy}")
        self._anneal_func_type = anneal_strategy
        max_lrs = _for_groups("max_lr", optimizer, max_lr)
        if last_epoch == -1:
            for group, max_lr in zip(optimizer.param_groups, max_lrs):
                group["initial_lr"] = max_lr / div_factor
                group["max_lr"] = max_lr
                group["min_lr"] = group["initial_lr"] / final_div_factor
        self.cycle_momentum = cycle_momentum
        if cycle_momentum:
            self._init_momentum(optimizer, base_momentum, max_momentum, last_epoch)
        super().__init__(optimizer, last_epoch)

    def _anneal_func(self, start, end, pct):
        if self._anneal_func_type == "linear":
            return (end - start) * pct + start
        return end + (start - end) / 2.0 * (math.cos(math.pi * pct) + 1)

    def _rates(self):
        step = self.last_epoch
        if step > self.total_steps:
            raise ValueError(f"Tried to step {step} times. The specified number of total steps is {self.total_steps}")
        start = 0.0
        for phase in self._schedule_phases:
            if step <= phase["end_step"]:
                break
            if phase is not self._schedule_phases[-1]:
                start = phase["end_step"]
        pct = (step - start) / (phase["end_step"] - start)
        lrs = []
        for group in self.optimizer.param_groups:
            lrs.append(self._anneal_func(group[phase["start_lr"]], group[phase["end_lr"]], pct))
            if self.cycle_momentum:
                self._set_momentum(group, self._anneal_func(group[phase["start_momentum"]], group[phase["end_momentum"]], pct))
        return lrs
