"""Reading a solver file, checking it, and the settings of a solver for a net that has none."""

from functools import partial
from pathlib import Path
from typing import Any

from caffelite.errors import SolverError
from caffelite.gpu.choice import Gpu, gpu_or_reason
from caffelite.net.graph import included
from caffelite.schema import messages
from caffelite.schema.documents import Document, NetDocument, SolverDocument
from caffelite.schema.text import read_solver
from caffelite.schema.upgrade import upgrade_solver
from caffelite.solvers.policies import WarmUp, check_policy, check_scaling, learning_rate
from caffelite.solvers.rules import RULES
from caffelite.solvers.sources import NetSource, PrototxtFiles, source_to_train, sources_to_test
from caffelite.words import TEST, TRAIN, did_you_mean, quoted

#: The seed where ``random_seed`` is not given: runs are repeatable without asking. (Caffe takes the clock.)
DEFAULT_SEED = 1
#: Fields with these numbers are those of forks; caffelite's own come behind them.
_FORKS = range(20000, 20100)
_GPU = 1  # SolverParameter.SolverMode

#: What a net without a solver is trained with.
DEFAULTS: dict[str, Any] = {
    "type": "SGD",
    "base_lr": 0.01,
    "momentum": 0.9,
    "weight_decay": 0.0005,
    "lr_policy": "multistep",
    "gamma": 0.1,
    "stepvalue": [5000, 8000],
    "max_iter": 10000,
    "display": 100,
}


def load_solver(source: str | Path | SolverDocument | messages.SolverParameter) -> SolverDocument:
    """Return a solver as a document of its own.

    Parameters
    ----------
    source : path, SolverDocument or SolverParameter
        A message or a document is copied, so that what is changed later does not change this solver.

    Raises
    ------
    SchemaError
    """
    if isinstance(source, str | Path):
        document = read_solver(source)
        _set_prefix(document.message, Path(source))
        return document
    given = source if isinstance(source, Document) else Document(source, "solver")
    message = messages.SolverParameter()
    message.CopyFrom(given.message)
    document = upgrade_solver(Document(message, given.filename, given.places, given.unknown))
    if message.snapshot_prefix or Path(given.filename).is_file():
        _set_prefix(message, Path(given.filename))
    return document


def _set_prefix(solver: messages.SolverParameter, file: Path) -> None:
    """Name snapshots after the solver file where no prefix is given, or only a folder."""
    if not solver.HasField("snapshot_prefix"):
        solver.snapshot_prefix = str(file.with_suffix(""))
    elif solver.snapshot_prefix.endswith("/") or Path(solver.snapshot_prefix).is_dir():
        solver.snapshot_prefix = str(Path(solver.snapshot_prefix) / file.stem)


def default_solver(net: NetDocument) -> SolverDocument:
    """Return the solver that a net without one is trained with.

    SGD with momentum 0.9, weight decay 0.0005, learning rate 0.01 divided by ten at 5,000 and 8,000 of 10,000
    iterations, a line every 100. If the net has layers of its own for TEST, the whole test set every 1,000
    iterations.

    Parameters
    ----------
    net : NetDocument
        Read from a file, which the solver names.
    """
    solver = messages.SolverParameter(net=net.filename, **DEFAULTS)
    solver.snapshot_prefix = f"snapshots/{Path(net.filename).stem}"
    for i, layer in enumerate(net.message.layer):
        in_train, in_test = (included(layer, phase, 0, (), partial(net.place, i)) for phase in (TRAIN, TEST))
        if in_test and not in_train:
            solver.test_interval = 1000
            solver.test_iter[:] = [0]
    return Document(solver, f"default solver of {net.filename}")


class Settings:
    """A SolverParameter, checked.

    Parameters
    ----------
    document : SolverDocument
        Of a SolverParameter.
    files : PrototxtFiles, optional
        What has been read already. The nets are read once, however often they are asked for.

    Attributes
    ----------
    document : SolverDocument
    param : SolverParameter message
    notes : list of str
        What will be done otherwise than the file says, one sentence each.

    Raises
    ------
    SolverError
        A setting is missing, unknown, or contradicts another; names its place.
    """

    def __init__(self, document: SolverDocument, files: PrototxtFiles | None = None) -> None:
        self.document = document
        self._files = files or PrototxtFiles()
        self.param = document.message
        _check_rule(document)
        check_policy(document)
        _check_numbers(document)
        self.notes = _notes(document)
        self._warm_up = WarmUp(1.0, 0)

    @property
    def seed(self) -> int:
        """The seed of the run."""
        return int(self.param.random_seed) if self.param.random_seed >= 0 else DEFAULT_SEED

    @property
    def gpu(self) -> int | None:
        """The number of the GPU that the file asks for; Caffe's own default is a GPU, ours is none."""
        asked = self.param.HasField("solver_mode") and self.param.solver_mode == _GPU
        return self.param.device_id if asked else None

    def chosen_gpu(self, asked: int | None) -> tuple[Gpu | None, str]:
        """Return the GPU to run on, and a note where there is to be one but it runs on the CPU.

        Parameters
        ----------
        asked : int or None
            Its number; None is what the file asks for.

        Raises
        ------
        GpuError
            There are GPUs, but none of this number.
        """
        number = self.gpu if asked is None else asked
        if number is None:
            return None, ""
        gpu, reason = gpu_or_reason(number)
        if gpu is not None:
            return gpu, ""
        who = f"{self.document.setting('solver_mode')}: solver_mode is GPU" if asked is None else f"GPU {asked}"
        return None, f"{who}: {reason}; it runs on the CPU"

    def rate(self, iteration: int, current_step: int) -> tuple[float, int]:
        """Return the learning rate of an iteration, and the step that the policy has come to."""
        rate, step = learning_rate(self.param, iteration, current_step)
        return float(rate) * self._warm_up.factor(iteration), step

    def scale_rate(self, times: float, iterations: int) -> None:
        """Multiply the learning rate, for batches that are larger than those it was found for.

        Parameters
        ----------
        times : float
            How many times larger.
        iterations : int
            It grows from once to so many times the rate over the first iterations.

        Raises
        ------
        SolverError
            For this type of solver or policy the rule says nothing.
        """
        check_scaling(self.document)
        self._warm_up = WarmUp(times, iterations)

    def train_net(self) -> NetSource:
        """Return the net to train."""
        return source_to_train(self.document, self._files)

    def test_nets(self) -> list[NetSource]:
        """Return the nets to test, one for each ``test_iter``."""
        return sources_to_test(self.document, self._files)


def _check_numbers(document: SolverDocument) -> None:
    solver = document.message
    _at_least(
        document, average_loss=1, iter_size=1, test_interval=0, snapshot=0, display=0, max_iter=0, snapshot_keep=0
    )
    for j, count in enumerate(solver.test_iter):
        if count < 0:
            raise SolverError(
                f"{document.setting('test_iter', j)}: test_iter is {count}, expected 1 or more, or 0 for "
                "the whole test set"
            )
    if solver.regularization_type not in ("L1", "L2"):
        raise SolverError(
            f"{document.setting('regularization_type')}: regularization_type is "
            f'{quoted(solver.regularization_type)}, expected "L1" or "L2"'
        )
    if solver.snapshot and not solver.HasField("snapshot_prefix"):
        raise SolverError(f"{document.setting('snapshot')}: snapshot is given, but no snapshot_prefix that says where")


def _check_rule(document: SolverDocument) -> None:
    solver = document.message
    if solver.type not in RULES:
        known = {name.lower(): name for name in RULES}
        types = f"it can be {', '.join(map(quoted, RULES))}"
        hint = did_you_mean(solver.type.lower(), known, types, write=lambda name: quoted(known[name]))
        raise SolverError(f"{document.setting('type')}: there is no solver type {quoted(solver.type)}{hint}")
    rule = RULES[solver.type]
    if not rule.momentum and solver.momentum:
        raise SolverError(f"{document.setting('momentum')}: {solver.type} does not use momentum; leave it out")
    for setting in rule.shares:
        value = getattr(solver, setting)
        # Adam divides by 1 - momentum, and a mean that keeps all of itself never learns of anything.
        if not 0 <= value < 1:
            raise SolverError(
                f"{document.setting(setting)}: {setting} is {value:g}, expected 0 or more and less than 1"
            )


def _at_least(document: SolverDocument, **limits: int) -> None:
    for setting, least in limits.items():
        value = getattr(document.message, setting)
        if value < least:
            raise SolverError(f"{document.setting(setting)}: {setting} is {value}, expected {least} or more")


def _notes(document: SolverDocument) -> list[str]:
    solver = document.message
    notes = []
    if solver.snapshot_diff:
        notes.append(f"{document.setting('snapshot_diff')}: snapshot_diff: snapshots hold no gradients")
    if solver.test_interval and not (solver.test_iter or solver.test_net or solver.test_net_param):
        notes.append(f"{document.setting('test_interval')}: test_interval without test_iter tests nothing")
    for field, _ in solver.ListFields():
        if field.number in _FORKS:
            notes.append(f"{document.setting(field.name)}: {field.name} belongs to a fork of Caffe; it has no effect")
    return notes
