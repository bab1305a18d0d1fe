"""What all schedules of the learning rate have: the initial rates, steps, state."""

import warnings
from contextlib import contextmanager
from functools import wraps
from weakref import ref

from ferrograd import Tensor
from ferrograd.optim.optimizer import Optimizer, _scalar

_EPOCH_WARNING = "The argument `epoch` of `scheduler.step()` is deprecated: call `scheduler.step()` after each epoch, without it."


def _for_groups(name, optimizer, value):
    """A value of each group, from a list of these or one for all."""
    count = len(optimizer.param_groups)
    values = value if isinstance(value, (list, tuple)) else [value] * count
    if len(values) != count:
        raise ValueError(f"{name} must have as many values as the optimizer has groups: {len(values)} values, {count} groups")
    return [_own(v) for v in values]


def _own(value):
    return value.clone() if isinstance(value, Tensor) else value


def _values(optimizer, key):
    return [_own(group[key]) for group in optimizer.param_groups]


def _set(group, key, value):
    """Changes an option; where it is a tensor, in place."""
    if isinstance(group[key], Tensor):
        group[key].fill_(_scalar(value))
    else:
        group[key] = value


def _check_optimizer(optimizer):
    if not isinstance(optimizer, Optimizer):
        raise TypeError(f"{type(optimizer).__name__} is not an Optimizer")


def _note_steps(optimizer):
    """From now on, a step of `optimizer` leaves a mark, by which a wrong order of steps is told."""
    if hasattr(optimizer.step, "_wrapped_by_lr_sched"):
        return
    step, weak = optimizer.step.__func__, ref(optimizer)

    @wraps(step)
    def wrapper(*args, **kwargs):
        self = weak()
        self._opt_called = True
        return step(self, *args, **kwargs)

    wrapper._wrapped_by_lr_sched = True
    optimizer.step = wrapper


@contextmanager
def _flag(scheduler, name):
    """An attribute that is True for the time being."""
    setattr(scheduler, name, True)
    try:
        yield
    finally:
        setattr(scheduler, name, False)


class LRScheduler:
    """Base of the schedules. A subclass says in `get_lr` what the rates of the groups are at `last_epoch`.

    `last_epoch` other than -1 continues a schedule, whose groups have an "initial_lr" already.
    """

    _get_lr_called_within_step = False
    _is_initial = False

    def __init__(self, optimizer, last_epoch=-1):
        _check_optimizer(optimizer)
        self.optimizer = optimizer
        for i, group in enumerate(optimizer.param_groups):
            if last_epoch == -1:
                group.setdefault("initial_lr", _own(group["lr"]))
            elif "initial_lr" not in group:
                raise KeyError(
                    f"param 'initial_lr' is not specified in param_groups[{i}] when resuming scheduler with last_epoch >= 0: "
                    "load the state of the optimizer first, or leave last_epoch at -1"
                )
        self.base_lrs = _values(optimizer, "initial_lr")
        self.last_epoch = last_epoch
        _note_steps(optimizer)
        self._initial_step()

    def _initial_step(self):
        self._step_count = 0
        with _flag(self, "_is_initial"):
            self.step()

    def state_dict(self):
        """All that the schedule is made of, but for the optimizer."""
        return {key: value for key, value in self.__dict__.items() if key != "optimizer"}

    def load_state_dict(self, state_dict):
        """Takes over what `state_dict` of a schedule of the same kind returned. Load the optimizer's state, too."""
        self.__dict__.update(state_dict)

    def get_last_lr(self):
        """The rates that the last step set."""
        return self._last_lr

    def get_lr(self):
        """The rates at `last_epoch`, from those before."""
        raise NotImplementedError

    def step(self, epoch=None):
        """Sets the next rates; to be called after the step of the optimizer."""
        if self._step_count == 1:
            if not hasattr(self.optimizer.step, "_wrapped_by_lr_sched"):
                warnings.warn(
                    "`optimizer.step()` was replaced after the learning rate scheduler was made. "
                    "Call `optimizer.step()` before `lr_scheduler.step()`.",
                    UserWarning,
                    stacklevel=2,
                )
            elif not getattr(self.optimizer, "_opt_called", False):
                warnings.warn(
                    "Detected call of `lr_scheduler.step()` before `optimizer.step()`. "
                    "Call them in the opposite order; else the first value of the schedule is skipped.",
                    UserWarning,
                    stacklevel=2,
                )
        self._step_count += 1
        if epoch is not None:
            warnings.warn(_EPOCH_WARNING, UserWarning, stacklevel=2)
        self._update_lr(epoch)

    def _update_lr(self, epoch=None):
        with _flag(self, "_get_lr_called_within_step"):
            self.last_epoch = self.last_epoch + 1 if epoch is None else epoch
            if epoch is not None and hasattr(self, "_get_closed_form_lr"):
                values = self._get_closed_form_lr()
            else:
                values = self.get_lr()
        self._set_lr(values)

    def _set_lr(self, values):
        for group, lr in zip(self.optimizer.param_groups, values, strict=True):
            _set(group, "lr", lr)
        self._last_lr = _values(self.optimizer, "lr")


class _LRScheduler(LRScheduler):
    """The old name of `LRScheduler`."""


class _Formula(LRScheduler):
    """A schedule of this module, whose rates `_rates` tells."""

    def get_lr(self):
        """The rates at `last_epoch`, from those before."""
        if not self._get_lr_called_within_step:
            warnings.warn(
                "To get the last learning rate computed by the scheduler, please use `get_last_lr()`.", UserWarning, stacklevel=2
            )
        return self._rates()

    def _same(self):
        return _values(self.optimizer, "lr")

    def _times(self, factor):
        return [group["lr"] * factor for group in self.optimizer.param_groups]
