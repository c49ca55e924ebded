"""All combinations of settings, and what each run is made of."""

import hashlib
from collections.abc import Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from caffelite.errors import SolverError
from caffelite.schema.documents import Document, SolverDocument
from caffelite.schema.messages import NetParameter
from caffelite.schema.upgrade import upgrade_net
from caffelite.solvers.settings import Settings, load_solver
from caffelite.solvers.sources import NetSource, PrototxtFiles
from caffelite.sweep.settings import Setting, is_of_solver, set_in_nets, set_in_solver

#: Of a solver: its nets, which are looked at by themselves; where snapshots go, which says nothing of what is computed;
#: and the seed, which a run has for itself.
_NOT_COMPUTED = (
    "snapshot_prefix",
    "random_seed",
    *(f"{net}{kind}" for net in ("net", "train_net", "test_net") for kind in ("", "_param")),
)

#: What a run is known by: a digest of solver and nets with its settings, and its seed.
Key = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Run:
    """A run that is to be made.

    Attributes
    ----------
    settings : dict of str to str
    seed : int
    digest : str
        Of solver and nets with these settings, without the seed.
    document : SolverDocument
        With the settings, the seed and the folder in it.
    files : PrototxtFiles
        The nets with the settings: no file is read again, whatever becomes of it meanwhile.
    folder : Path
        Its own, for snapshots and its log.
    allow_python : bool
    """

    settings: dict[str, str]
    seed: int
    digest: str
    document: SolverDocument
    files: PrototxtFiles
    folder: Path
    allow_python: bool

    @property
    def key(self) -> Key:
        """What it is known by."""
        return self.digest, self.seed

    @property
    def name(self) -> str:
        """What it is called in lines for people."""
        return " ".join([*(f"{name}={value}" for name, value in self.settings.items()), f"seed {self.seed}"])


def runs_of(
    document: SolverDocument,
    files: PrototxtFiles,
    settings: Sequence[Setting],
    seeds: int,
    output: Path,
    allow_python: bool = False,
) -> tuple[list[Run], list[NetSource]]:
    """Return the runs of a grid: for each combination of values, the last setting first, each seed.

    Parameters
    ----------
    document : SolverDocument
    files : PrototxtFiles
        What has been read already.
    settings : sequence of Setting
    seeds : int
        How many, from the solver's ``random_seed`` on, which is 1 where it is not given.
    output : Path
        The folder of the sweep.
    allow_python : bool, optional
        Whether Python layers may run the code that the nets name.

    Returns
    -------
    runs : list of Run
    nets : list of NetSource
        That they read.

    Raises
    ------
    SchemaError, SolverError
        A setting is unknown or does not take a value, or two combinations are the same.
    """
    runs: list[Run] = []
    nets: list[NetSource] = []
    seen: dict[str, str] = {}
    for values in product(*(setting.values for setting in settings)):
        chosen = {setting.name: value for setting, value in zip(settings, values, strict=True)}
        own_files = deepcopy(files)
        checked = _with_settings(document, own_files, chosen)
        sources = [checked.train_net(), *checked.test_nets()]
        digest = _digest(checked.document, sources)
        nets += sources
        for seed in range(checked.seed, checked.seed + seeds):
            own = load_solver(checked.document)
            folder = output / f"{digest[:12]}-seed{seed}"
            own.message.random_seed = seed
            own.message.snapshot_prefix = str(folder / Path(document.filename).stem)
            runs.append(Run(chosen, seed, digest, own, own_files, folder, allow_python))
        if digest in seen:
            raise SolverError(f"--set: {seen[digest]} and {_text(chosen)} are the same run; give each value once")
        seen[digest] = _text(chosen)
    return runs, nets


def _text(settings: dict[str, str]) -> str:
    return " ".join(f"{name}={value}" for name, value in settings.items())


def _with_settings(document: SolverDocument, files: PrototxtFiles, chosen: dict[str, str]) -> Settings:
    """Return a solver of its own with settings in it, checked; those of nets are put into ``files``."""
    own = load_solver(document)
    for name, value in chosen.items():
        if is_of_solver(name):
            set_in_solver(own.message, name, value)
    if not own.message.HasField("max_iter"):
        raise SolverError(f"{own.filename}: max_iter, the number of iterations, is not given: --set max_iter=N")
    inline = list(_inline(own))
    checked = Settings(own, files)
    sources = [checked.train_net(), *checked.test_nets()]
    distinct = {id(net): net for net in [*inline, *(source.document.message for source in sources)]}
    for name, value in chosen.items():
        if not is_of_solver(name):
            set_in_nets(list(distinct.values()), name, value)
    return checked


def _inline(solver: SolverDocument) -> Iterator[NetParameter]:
    """Yield the nets that are written in a solver, as they lie in it, in the present form."""
    param = solver.message
    nets = [getattr(param, name) for name in ("net_param", "train_net_param") if param.HasField(name)]
    for net in [*nets, *param.test_net_param]:
        yield upgrade_net(Document(net, solver.filename)).message


def _digest(solver: SolverDocument, nets: Sequence[NetSource]) -> str:
    """Return a digest of all that decides what a run computes, the seed and the data aside."""
    param = deepcopy(solver.message)
    for name in _NOT_COMPUTED:
        param.ClearField(name)
    parts = [param.SerializeToString(deterministic=True)]
    for net in nets:
        parts.append(repr((net.phase, net.level, net.stages)).encode())
        parts.append(net.document.message.SerializeToString(deterministic=True))
    whole = hashlib.sha256()
    for part in parts:
        whole.update(len(part).to_bytes(8, "little") + part)
    return whole.hexdigest()
