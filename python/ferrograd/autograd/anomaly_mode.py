"""Anomaly detection: a backward pass that fails or answers NaN names the forward call that is to blame."""

import warnings

from ferrograd._C._autograd import is_anomaly_check_nan_enabled, is_anomaly_enabled, set_anomaly_enabled

__all__ = ["detect_anomaly", "set_detect_anomaly"]


class set_detect_anomaly:
    """Switches detection on or off: as a function at once, as a context manager until it is left.

    Ops that are recorded while it is on remember the Python stack. If the derivative of one fails, or is NaN (an error with
    `check_nan`), a warning shows that stack. It slows programs down.
    """

    def __init__(self, mode, check_nan=True):
        self._before = is_anomaly_enabled(), is_anomaly_check_nan_enabled()
        set_anomaly_enabled(mode, check_nan)

    def __enter__(self):
        pass

    def __exit__(self, *exception):
        set_anomaly_enabled(*self._before)


class detect_anomaly:
    """Detection in a ``with`` block; see ``set_detect_anomaly``."""

    def __init__(self, check_nan=True):
        self._before = is_anomaly_enabled(), is_anomaly_check_nan_enabled()
        self.check_nan = check_nan
        warnings.warn(
            "Anomaly Detection has been enabled. This mode will increase the runtime and should only be enabled for debugging.",
            stacklevel=2,
        )

    def __enter__(self):
        set_anomaly_enabled(True, self.check_nan)

    def __exit__(self, *exception):
        set_anomaly_enabled(*self._before)
