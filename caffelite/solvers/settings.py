"""A solver's settings: which net, which rule, which learning rate."""

import difflib
import math
from pathlib import Path
from typing import Any, NoReturn

from caffelite.errors import SolverError
from caffelite.kernels.update import CORRECTION, DECAY, DELTA, MOMENTUM, RATE, SECOND
from caffelite.schema.messages import SolverParameter
from caffelite.schema.text import Document, NetDocument, net_from_message, read_net

RULES = ("SGD", "Nesterov", "AdaGrad", "RMSProp", "AdaDelta", "Adam")
#: What each learning-rate policy needs.
POLICIES = {
    "fixed": (), "step": ("gamma", "stepsize"), "exp": ("gamma",), "inv": ("gamma", "power"),
    "multistep": ("gamma", "stepvalue"), "poly": ("power", "max_iter"), "sigmoid": ("gamma", "stepsize"),
}  # fmt: skip


class Settings:
    """A SolverParameter, checked.

    Parameters
    ----------
    document : Document
        Of a SolverParameter.

    Attributes
    ----------
    param : SolverParameter message
    rule : str

    Raises
    ------
    SolverError
        A setting is missing, unknown, or contradicts another; names its place.
    """

    def __init__(self, document: Document) -> None:
        self.document = document
        self.param = document.message
        self.rule = self._choice("type", RULES)
        self.policy = self._choice("lr_policy", tuple(POLICIES)) if self.param.lr_policy else "fixed"
        self._check()

    def fail(self, text: str, setting: str | None = None) -> NoReturn:
        """Raise a SolverError with the place of a setting."""
        place = self.document.setting(setting) if setting else self.document.filename
        raise SolverError(f"{place}: {text}")

    def _choice(self, setting: str, known: tuple[str, ...]) -> str:
        value: str = getattr(self.param, setting)
        if value in known:
            return value
        near = difflib.get_close_matches(value.lower(), [name.lower() for name in known], n=1, cutoff=0.4)
        hint = f'did you mean "{next(n for n in known if n.lower() == near[0])}"?' if near else f"it can be {', '.join(known)}"
        self.fail(f'{setting} has no value "{value}"; {hint}', setting)

    def _check(self) -> None:
        p = self.param
        for setting in POLICIES[self.policy]:
            if setting == "stepvalue" and not p.stepvalue or setting != "stepvalue" and not p.HasField(setting):
                self.fail(f'lr_policy "{self.policy}" needs {setting}', "lr_policy")
        if self.policy == "step" and p.stepsize < 1:
            self.fail(f"stepsize is {p.stepsize}, expected at least 1", "stepsize")
        if p.iter_size < 1:
            self.fail(f"iter_size is {p.iter_size}, expected at least 1", "iter_size")
        if p.average_loss < 1:
            self.fail(f"average_loss is {p.average_loss}, expected at least 1", "average_loss")
        if self.rule in ("AdaGrad", "RMSProp") and p.momentum:
            self.fail(f"{self.rule} has no momentum; leave it out", "momentum")
        if self.rule == "RMSProp" and not 0 <= p.rms_decay < 1:
            self.fail(f"rms_decay is {p.rms_decay:g}, expected at least 0 and below 1", "rms_decay")
        if p.regularization_type not in ("L1", "L2"):
            self.fail(f'regularization_type has no value "{p.regularization_type}"; it can be L1 or L2',
                      "regularization_type")

    def rate(self, iteration: int, current_step: int) -> tuple[float, int]:
        """Return the learning rate of an iteration, and the step that the policy has reached."""
        p = self.param
        base, gamma = p.base_lr, p.gamma
        if self.policy == "step":
            current_step = iteration // p.stepsize
            return base * gamma**current_step, current_step
        if self.policy == "exp":
            return base * gamma**iteration, current_step
        if self.policy == "inv":
            return base * (1 + gamma * iteration) ** -p.power, current_step
        if self.policy == "multistep":
            while current_step < len(p.stepvalue) and iteration >= p.stepvalue[current_step]:
                current_step += 1
            return base * gamma**current_step, current_step
        if self.policy == "poly":
            return base * (1 - min(iteration / p.max_iter, 1.0)) ** p.power, current_step
        if self.policy == "sigmoid":
            return base / (1 + math.exp(-gamma * (iteration - p.stepsize))), current_step
        return base, current_step

    def write(self, settings: Any, rate: float, iteration: int) -> None:
        """Write what the update needs of an iteration into its settings (the gradient's scale is left alone)."""
        p = self.param
        settings[RATE], settings[MOMENTUM], settings[DECAY], settings[DELTA] = rate, p.momentum, p.weight_decay, p.delta
        settings[SECOND] = p.rms_decay if self.rule == "RMSProp" else p.momentum2
        if self.rule == "Adam":
            t = iteration + 1
            settings[CORRECTION] = math.sqrt(1 - p.momentum2**t) / (1 - p.momentum**t)

    # Which nets.

    def train_net(self) -> tuple[NetDocument, int, list[str]]:
        """Return the net to train, its level and its stages."""
        p = self.param
        ways = [name for name in ("net", "net_param", "train_net", "train_net_param") if p.HasField(name)]
        if len(ways) != 1:
            found = " and ".join(ways) if ways else "none"
            self.fail(f"name the net to train once, by net, net_param, train_net or train_net_param; found {found}",
                      ways[1] if ways else None)
        net = self._net(ways[0])
        level, stages = _state(net.message.state, p.train_state)
        return net, level, stages

    def test_nets(self) -> list[tuple[NetDocument, int, list[str]]]:
        """Return the nets to test, one for each ``test_iter``, with level and stages."""
        p = self.param
        named = [net_from_message(m, self.document.setting("test_net_param", i)) for i, m in enumerate(p.test_net_param)]
        named += [self._read(path, self.document.setting("test_net", i)) for i, path in enumerate(p.test_net)]
        generic = next((name for name in ("net_param", "net") if p.HasField(name)), None)
        many = len(p.test_iter)
        if many < len(named) or (many > len(named) and generic is None):
            self.fail(f"test_iter is given {many} times for {len(named)} test nets", "test_iter" if many else "test_net")
        nets = named + [self._net(generic) for _ in range(many - len(named))] if generic else named
        if p.test_state and len(p.test_state) != many:
            self.fail(f"test_state is given {len(p.test_state)} times for {many} test nets", "test_state")
        if nets and not p.HasField("test_interval"):
            self.fail("test_iter needs test_interval", "test_iter")
        states = list(p.test_state) or [None] * many
        return [(net, *_state(net.message.state, state)) for net, state in zip(nets, states, strict=True)]

    def _net(self, way: str) -> NetDocument:
        value = getattr(self.param, way)
        if isinstance(value, str):
            return self._read(value, self.document.setting(way))
        return net_from_message(value, self.document.setting(way))

    def _read(self, path: str, place: str) -> NetDocument:
        # Caffe takes the path from the current folder; a solver that travels with its net is found as well.
        for candidate in (Path(path), Path(self.document.filename).parent / path,
                          Path(self.document.filename).parent / Path(path).name):  # fmt: skip
            if candidate.exists():
                return read_net(candidate)
        raise SolverError(f'{place}: net "{path}" does not exist, neither from the current folder nor beside the solver')


def _state(own: Any, given: Any) -> tuple[int, list[str]]:
    level, stages = own.level, list(own.stage)
    if given is not None:
        level = given.level if given.HasField("level") else level
        stages += given.stage
    return level, stages


def default_solver(net_path: str | Path) -> Document:
    """Return the solver a net without one is trained with.

    SGD with momentum 0.9, learning rate 0.01 divided by ten at 5,000 and 8,000 of 10,000 iterations, weight decay
    0.0005; a test of 100 batches every 1,000 iterations.
    """
    solver = SolverParameter(
        net=str(net_path), base_lr=0.01, momentum=0.9, weight_decay=0.0005, lr_policy="multistep", gamma=0.1,
        stepvalue=[5000, 8000], max_iter=10000, display=100, test_iter=[100], test_interval=1000,
        snapshot_prefix=f"snapshots/{Path(net_path).stem}",
    )  # fmt: skip
    return Document(solver, f"default solver of {net_path}")
