"""The errors a user can cause or meet. Each message is one sentence a person can act on."""


class Error(RuntimeError):
    """Base of every error caffelite raises on purpose; the command line prints it as one line and exits with 1.

    It is a RuntimeError because those that pycaffe raises are, and scripts catch these.

    Parameters
    ----------
    message : str
    table : str, optional
        What there is of it in detail: lines below the message.
    """

    def __init__(self, message: str = "", table: str = "") -> None:
        super().__init__(message)
        self.message, self.table = message, table

    def __str__(self) -> str:
        return f"{self.message}\n{self.table}" if self.table else str(self.message)


class SchemaError(Error):
    """A prototxt or a solver file does not say what it must; names file, line and column."""


class NetError(Error):
    """Layers do not fit together: a missing bottom, a wrong count, a parameter that is not allowed."""


class ShapeError(NetError, ValueError):
    """Two shapes do not fit; names the layer, the axis and both numbers."""


class BusyError(Error):
    """A second thread calls a net, or its solver, that another thread is running; names the net."""


class WeightsError(Error):
    """A weights or state file cannot be read, or does not fit the net."""


class DataError(Error):
    """A data source, a mean file or a data set cannot be read or does not fit."""


class SolverError(Error):
    """A solver's settings contradict each other or cannot be followed."""


class DivergenceError(Error):
    """A value of a run is not finite; names the first layer and blob, and where the last finite state is."""


class ScriptError(Error):
    """A script or a notebook cannot be read."""


class MissingExtraError(Error):
    """An optional package or program is needed; the message says what to install."""


class GpuError(Error):
    """No GPU can be used, or arrays on one do not fit; the message says why."""


class NumbaError(Error):
    """The installed numba lacks something that compiling kernels takes; names it, and the versions that work."""


def first_line(error: Exception) -> str:
    """Return the first line of what an error of another program says; its kind where it says nothing."""
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return next((line.strip() for line in text.splitlines() if line.strip()), type(error).__name__)
