"""Caffe's stop watch."""

import warnings
from time import perf_counter


class Timer:
    """Measures from ``start()`` to ``stop()``, or to where ``ms`` is read; a second ``start()`` changes nothing."""

    def __init__(self) -> None:
        self._began: float | None = None
        self._seconds: float | None = None

    def start(self) -> None:
        """Begin to measure; nothing happens where it is running."""
        if self._began is None:
            self._began = perf_counter()

    def stop(self) -> None:
        """End the measurement; nothing happens where it is not running."""
        if self._began is not None:
            self._seconds, self._began = perf_counter() - self._began, None

    @property
    def ms(self) -> float:
        """The milliseconds of the last measurement, which ends now if it is going on; 0 with a warning before one."""
        self.stop()
        if self._seconds is None:
            warnings.warn("this Timer has not been started, so it has measured nothing", stacklevel=2)
            return 0.0
        return 1e3 * self._seconds
