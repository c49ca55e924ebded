"""The training loop."""

from collections.abc import Sequence
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from caffelite.errors import SolverError, WeightsError
from caffelite.kernels.update import SCALE, Update
from caffelite.layers.base import TEST, TRAIN, count
from caffelite.net import Net
from caffelite.schema.text import Document, read_solver
from caffelite.solvers.logs import Listener, LogListener, Output
from caffelite.solvers.settings import Settings
from caffelite.solvers.snapshots import State, read_state, write_state

_HDF5 = 0  # SolverParameter.SnapshotFormat


class Solver:
    """Trains a net as a SolverParameter says, in the order in which Caffe does.

    Parameters
    ----------
    source : path or Document
        A solver prototxt.
    listener : Listener, optional
        Is told how it goes; by default lines in Caffe's log format.
    keep : bool, optional
        Blobs keep their values and gradients (see :class:`caffelite.net.Net`).
    seed : int, optional
        Overrides ``random_seed``. Without either it is 1: a run is always the same.

    Attributes
    ----------
    net : Net
    test_nets : list of Net
        They use the parameters of ``net`` by layer name.
    iteration : int
        How many are done.
    rate : float
        The learning rate of the last iteration.

    Raises
    ------
    SchemaError, SolverError, NetError
    """

    def __init__(
        self, source: Any, listener: Listener | None = None, *, keep: bool = False, seed: int | None = None
    ) -> None:
        document = read_solver(source) if isinstance(source, str | Path) else source
        self.settings = Settings(document)
        self.param = p = self.settings.param
        self.listener = LogListener() if listener is None else listener
        if seed is None:
            seed = p.random_seed if p.random_seed >= 0 else 1
        net, level, stages = self.settings.train_net()
        self.net = Net(net, TRAIN, level=level, stages=stages, seed=seed, keep=keep)
        self.test_nets: list[Net] = []
        try:
            for test, level, stages in self.settings.test_nets():
                self.test_nets.append(Net(test, TEST, level=level, stages=stages, seed=seed, keep=keep, share=self.net))
        except BaseException:
            self.close()
            raise
        learnable = self.net.learnable
        self._update = Update(
            self.settings.rule, p.regularization_type == "L1", self.net.data, self.net.diff,
            [count(own.blob.shape) for own in learnable], [(own.lr_mult, own.decay_mult) for own in learnable],
        )  # fmt: skip
        self.iteration = 0
        self.current_step = 0
        self.rate = 0.0
        self._losses: list[float] = []
        self._smoothed = 0.0
        self._start = 0
        self._resumed = False
        self._stop = False
        self._snapshot_wanted = False
        for path in (name.strip() for text in p.weights for name in text.split(",")):
            self.copy_from(path)

    # Running.

    def copy_from(self, path: str | Path) -> list[str]:
        """Start from weights; returns the layers that were set. Test nets see them too."""
        done = self.net.copy_from(path)
        for net in self.test_nets:
            own = {name for name in net.params if name not in self.net.params}
            if own:
                net.copy_from(path)
        return done

    def solve(self, resume: str | Path | None = None) -> None:
        """Train up to ``max_iter``, with tests and snapshots on the way."""
        p = self.param
        self._stop = False
        if resume is not None:
            self.restore(resume)
        self.listener.on_start(self.net.name, p.lr_policy)
        self.step(p.max_iter - self.iteration)
        if p.snapshot_after_train and (not p.snapshot or self.iteration % p.snapshot):
            self.snapshot()
        if not self._stop:
            if p.display and self.iteration % p.display == 0:
                # Caffe looks at one more batch here; the snapshot has been written, so nothing hangs on it.
                loss = self.net.forward()
                self._smooth(loss)
                self.listener.on_final(self.iteration, self._smoothed)
            if p.test_interval and self.iteration % p.test_interval == 0:
                self.test_all()
        self.listener.on_end(self._stop)

    def step(self, iterations: int) -> None:
        """Train for a number of iterations."""
        p = self.param
        if not self._resumed:
            self._start, self._losses, self._smoothed = self.iteration, [], 0.0
        self._resumed = False
        end = self.iteration + iterations
        shown = perf_counter()
        while self.iteration < end:
            if p.test_interval and self.iteration % p.test_interval == 0 and (self.iteration or p.test_initialization):
                self.test_all()
                if self._stop:
                    break
            self.net.zero_grad()
            loss = 0.0
            for _ in range(p.iter_size):
                loss += self.net.forward()
                self.net.backward()
            self._smooth(loss / p.iter_size)
            self.rate, self.current_step = self.settings.rate(self.iteration, self.current_step)
            if p.display and self.iteration % p.display == 0:
                now = perf_counter()
                self.listener.on_display(self.iteration, self._smoothed, outputs_of(self.net), self.rate, now - shown)
                shown = now
            self.apply_update()
            self.iteration += 1
            self.listener.on_step(self.iteration, self._smoothed)
            if (p.snapshot and self.iteration % p.snapshot == 0) or self._snapshot_wanted:
                self._snapshot_wanted = False
                self.snapshot()
            if self._stop:
                break

    def apply_update(self) -> None:
        """Change the parameters by their gradients, at the present learning rate."""
        p, settings = self.param, self._update.settings
        self.settings.write(settings, self.rate, self.iteration)
        settings[SCALE] = 1 / p.iter_size
        if p.clip_gradients > 0:
            norm = self._update.norm()
            if norm > p.clip_gradients:
                settings[SCALE] *= p.clip_gradients / norm
        self._update.apply()

    def _smooth(self, loss: float) -> None:
        many = self.param.average_loss
        if len(self._losses) < many:
            self._smoothed = (self._smoothed * len(self._losses) + loss) / (len(self._losses) + 1)
            self._losses.append(loss)
        else:
            i = (self.iteration - self._start) % many
            self._smoothed += (loss - self._losses[i]) / many
            self._losses[i] = loss

    def request_stop(self) -> None:
        """Ask the loop to end after the iteration it is in."""
        self._stop = True

    def request_snapshot(self) -> None:
        """Ask the loop for a snapshot after the iteration it is in."""
        self._snapshot_wanted = True

    @property
    def stopped(self) -> bool:
        """Whether the run was asked to stop."""
        return self._stop

    def test_all(self) -> None:
        """Test every test net."""
        for i, net in enumerate(self.test_nets):
            if self._stop:
                return
            self.listener.on_test_start(self.iteration, i)
            outputs, loss = run_test(net, self.param.test_iter[i], lambda: self._stop)
            if not self._stop:
                self.listener.on_test(self.iteration, i, outputs, loss if self.param.test_compute_loss else None)

    # Snapshots.

    def snapshot(self) -> str:
        """Write weights and state; return the path of the state."""
        prefix = self.param.snapshot_prefix or str(Path(self.settings.document.filename).with_suffix(""))
        if prefix.endswith("/") or Path(prefix).is_dir():
            prefix = str(Path(prefix) / Path(self.settings.document.filename).stem)
        end = ".h5" if self.param.snapshot_format == _HDF5 else ""
        kind = "HDF5" if end else "binary proto"
        base = f"{prefix}_iter_{self.iteration}"
        model, state = f"{base}.caffemodel{end}", f"{base}.solverstate{end}"
        try:
            self.listener.on_snapshot(model, f"Snapshotting to {kind} file")
            self.net.save(model)
            self.listener.on_snapshot(state, f"Snapshotting solver state to {kind} file")
            write_state(state, State(self.iteration, self.current_step, model, self._history(), self._extra()))
        except OSError as error:
            raise SolverError(f"{error.filename or base}: the snapshot cannot be written: {error.strerror}") from None
        return state

    def _history(self) -> list[np.ndarray]:
        shapes = [own.blob.shape for own in self.net.learnable]
        arrays, start = [], 0
        for _ in range(self._update.history.size // max(self.net.data.size, 1)):
            for shape in shapes:
                arrays.append(self._update.history[start : start + count(shape)].reshape(shape))
                start += count(shape)
        return arrays

    def _nets(self) -> dict[str, Net]:
        return {"train": self.net, **{f"test{i}": net for i, net in enumerate(self.test_nets)}}

    def _extra(self) -> dict[str, np.ndarray]:
        extra = {f"{kind}/{key}": array for kind, net in self._nets().items() for key, array in net.state().items()}
        extra["losses"] = np.array(self._losses, np.float64)
        extra["smoothed"] = np.array([self._smoothed, self._start], np.float64)
        return extra

    def restore(self, path: str | Path) -> None:
        """Go on from a ``.solverstate``, of caffelite (bit for bit) or of Caffe (data from the first record).

        Raises
        ------
        WeightsError
            The files cannot be read, or were written by another solver or for another net.
        """
        state = read_state(path)
        expected = self._history()
        if len(state.history) != len(expected):
            raise WeightsError(f"{path}: holds {len(state.history)} history blobs, but {self.settings.rule} on this net "
                               f"has {len(expected)}; it was written by another type of solver or for another net")
        for j, (found, own) in enumerate(zip(state.history, expected, strict=True)):
            if found.shape != own.shape and found.size != own.size:
                raise WeightsError(f"{path}: history blob {j} has shape {found.shape}, expected {own.shape}")
        model = next((p for p in (Path(state.learned_net), Path(path).parent / Path(state.learned_net).name)
                      if state.learned_net and p.exists()), None)  # fmt: skip
        if model is None:
            raise WeightsError(f'{path}: its weights "{state.learned_net}" are neither there nor beside it')
        self.net.copy_from(model)
        for found, own in zip(state.history, expected, strict=True):
            own[...] = found.reshape(own.shape)
        self.iteration, self.current_step = state.iteration, state.current_step
        for kind, net in self._nets().items():
            net.load_state({key.removeprefix(f"{kind}/"): array for key, array in state.extra.items()
                            if key.startswith(f"{kind}/")})  # fmt: skip
        if "smoothed" in state.extra:
            self._losses = [float(loss) for loss in state.extra["losses"]]
            self._smoothed, self._start = float(state.extra["smoothed"][0]), int(state.extra["smoothed"][1])
            self._resumed = True

    def close(self) -> None:
        """Stop the threads and close the files of all nets."""
        for net in [self.net, *self.test_nets]:
            net.close()


def outputs_of(net: Net, values: Sequence[np.ndarray] | None = None) -> list[Output]:
    """Return every value of the net's outputs (or of ``values`` in their place)."""
    found: list[Output] = []
    for j, name in enumerate(net.outputs):
        flat = net.blobs[name].flat if values is None else values[j]
        weight = net.graph.names[name].loss_weight
        found += [Output(len(found) + i, name, float(value), weight) for i, value in enumerate(flat)]
    return found


def run_test(net: Net, iterations: int, stopped: Any = lambda: False) -> tuple[list[Output], float]:
    """Run a net forward ``iterations`` times; return the means of its outputs and of its loss."""
    sums = [np.zeros(net.blobs[name].flat.shape, np.float64) for name in net.outputs]
    loss = 0.0
    for _ in range(iterations):
        if stopped():
            break
        loss += net.forward()
        for total, name in zip(sums, net.outputs, strict=True):
            total += net.blobs[name].flat
    return outputs_of(net, [total / iterations for total in sums]), loss / iterations


def epoch_iterations(net: Net) -> int | None:
    """Return how many passes show a net every record of its data once; None where it has no database."""
    passes = [-(-layer.epoch_size // layer.batch_size) for layer in net.layers if hasattr(layer, "epoch_size")]
    return max(passes) if passes else None


__all__ = ["Document", "Solver", "epoch_iterations", "outputs_of", "run_test"]
