"""The training loop."""

from collections import deque
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any

from caffelite.errors import SolverError
from caffelite.gpu.choice import Bill
from caffelite.layers.contract.group import ALONE, BATCH, PIECES, Group
from caffelite.net import Net
from caffelite.net.caller import one_thread
from caffelite.net.machine import thread_count, together
from caffelite.net.statistics import average_statistics
from caffelite.net.transfer import Transfer
from caffelite.schema.documents import SolverDocument
from caffelite.schema.messages import SolverParameter
from caffelite.schema.printer import to_text
from caffelite.solvers import debug_info, snapshots
from caffelite.solvers.agreement import Agreement
from caffelite.solvers.divergence import Watch
from caffelite.solvers.logs import LogListener
from caffelite.solvers.passes import Passes
from caffelite.solvers.resuming import Resumed, resume
from caffelite.solvers.rules import RULES
from caffelite.solvers.settings import Settings, load_solver
from caffelite.solvers.snapshot_files import state_path, write_snapshot
from caffelite.solvers.sources import NetSource, check_loss
from caffelite.solvers.standby import Standby
from caffelite.solvers.testing import Tests, in_turns, records_per_pass, whole_outputs
from caffelite.user_code.permission import AllowPython


class Solver:
    """Trains a net as a SolverParameter says, in the order in which Caffe does.

    An iteration: the test nets, if it is their turn; gradients are set to zero; ``iter_size`` times forward
    and backward; the learning rate; a display; clipping, weight decay and the update; the iteration is
    counted; a snapshot, if it is its turn.

    Parameters
    ----------
    source : path, SolverDocument or SolverParameter, or Settings made of one
        ``test_iter: 0`` stands for the whole test set.
    listener : Listener, optional
        Is told how it goes (any object will do that has some of a Listener's methods); by default lines in
        Caffe's log format. Of processes that train together only the first one's is told.
    keep : bool, optional
        Blobs keep their values and gradients (see :class:`caffelite.net.Net`).
    seed : int, optional
        Overrides ``random_seed``. Without either it is 1: a run is always the same.
    weights : sequence of path, optional
        Weights to start from, in place of those that the solver names.
    allow_python : bool or "imported", optional
        Whether Python layers may run the code that the nets name.
    output_root : path, optional
        The folder that HDF5Output layers write to; by default the current one.
    gpu : int, optional
        The GPU that BatchNorm layers run on; by default the file's ``device_id``, where it says ``solver_mode: GPU``.
    non_finite : {"stop", "warn", "ignore"}, optional
        What is done where a loss, a gradient or a parameter is not finite: a snapshot of the last finite state and a
        DivergenceError; one warning; nothing.
    group : Group, optional
        The processes that train together: each of them has a solver of the same settings, and calls the same methods
        at the same time.
    dealing : {"pieces", "turns"}, optional
        Whether the batch of the file is divided among them, or each has one of its own.
    bn_statistics : {"batch", "process"}, optional
        Whether BatchNorm takes the statistics of all of it, or each process those of its own images.

    Attributes
    ----------
    settings : Settings
    gpu : Gpu or None
    param : SolverParameter
        A copy of the one given; that of the settings, where these are given.
    net : Net
    caller : Caller
        Which thread trains: that of ``net``, for the whole of a step.
    test_nets : list of Net
        They use the parameters of ``net`` by layer name.
    rule : UpdateRule
    iteration : int
        How many are done.
    current_step : int
        What the learning rate policy has counted.
    rate : float
        The learning rate of the last iteration.
    snapshot_at, tested_at : int or None
        The iteration of the last snapshot, and of the last test that went to its end, of this run.
    reduction : Reduction
        What adds up the gradients of all processes, with the times that it has waited.

    Raises
    ------
    SchemaError, SolverError, NetError, ShapeError, DataError, WeightsError
    """

    def __init__(
        self,
        source: str | Path | SolverDocument | SolverParameter | Settings,
        listener: Any = None,
        *,
        keep: bool = False,
        seed: int | None = None,
        weights: Sequence[str | Path] | None = None,
        allow_python: AllowPython = False,
        output_root: str | Path = ".",
        gpu: int | None = None,
        non_finite: str = "stop",
        group: Group = ALONE,
        dealing: str = PIECES,
        bn_statistics: str = BATCH,
    ) -> None:
        self._allow_python, self._output_root = allow_python, output_root
        self.group, self._dealing, self._bn_statistics = group, dealing, bn_statistics
        self.settings = source if isinstance(source, Settings) else Settings(load_solver(source))
        self.param = p = self.settings.param
        if seed is not None:
            p.random_seed = seed
        self.listener = object() if group.rank else LogListener() if listener is None else listener
        self._tell("on_log", "caffe.cpp:197", f"Use {thread_count()}.")
        self._tell("on_log", "solver.cpp:45", f"Initializing solver from parameters: \n{to_text(p).rstrip()}")
        for note in self.settings.notes:
            self._tell("on_say", note)
        self.gpu, note = self.settings.chosen_gpu(gpu)
        if note:
            self._tell("on_say", note)
        self._bill = Bill(self.gpu, partial(self._tell, "on_say"))
        self.iteration = self.current_step = 0
        self.rate = 0.0
        self._losses: deque[float] = deque(maxlen=p.average_loss)
        self._agreement = Agreement(group)
        self.snapshot_at: int | None = None
        self.tested_at: int | None = None
        self._standby = Standby()
        self.test_nets: list[Net] = []
        tests = self.settings.test_nets()
        training = self.settings.train_net()
        self._tell("on_log", "solver.cpp:102", f"Creating training net from {training.described}")
        with together():
            self.net = self._build(training, keep, None)
            self.caller = self.net.caller
            try:
                for i, one in enumerate(tests):
                    self._tell("on_log", "solver.cpp:190", f"Creating test net (#{i}) specified by {one.described}")
                    self.test_nets.append(self._build(one, keep, self.net))
                if weights is None:
                    weights = [name.strip() for text in p.weights for name in text.split(",")]
                for path in weights:
                    self.copy_from(path)
                self.rule = RULES[p.type](p, self.net)
                say = partial(self._tell, "on_say")
                self._watch = Watch(self.net, self.rule, non_finite, p.iter_size, say, self.snapshot)
                self._tests = Tests(self.test_nets, p, self._tell, self._agreement, self._watch.tested)
                self._passes = Passes(self.net, group, self._watch, self._agreement)
                self.reduction = self._passes.reduction
            except BaseException:
                self.close()
                raise
        self._tell("on_log", "solver.cpp:57", "Solver scaffolding done.")

    def _build(self, source: NetSource, keep: bool, share: Net | None) -> Net:
        build = partial(
            source.net,
            keep=keep or bool(self.param.debug_info),
            share=share,
            # The random numbers of a test net are not those that the train net sees.
            seed=self.settings.seed + (0 if share is None else 1 + len(self.test_nets)),
            # The net that is trained learns in whichever phase the files put it.
            learn=True if share is None else None,
            allow_python=self._allow_python,
            # What the net writes to files the first process writes.
            output_root=None if self.group.rank else self._output_root,
            gpu=self.gpu,
        )
        if share is None:
            return build(group=self.group, dealing=self._dealing, bn_statistics=self._bn_statistics)
        return in_turns(lambda group: build(group=group), self.group)

    def _tell(self, event: str, *facts: Any) -> None:
        method = getattr(self.listener, event, None)
        if method is not None:
            method(*facts)

    # Running.

    @property
    def smoothed_loss(self) -> float:
        """Mean of the losses of the last ``average_loss`` iterations; NaN before the first.

        Caffe forgets them at each call of ``step``; here they are kept.
        """
        return sum(self._losses) / len(self._losses) if self._losses else float("nan")

    @property
    def loss(self) -> float:
        """Loss of the last iteration; NaN before the first."""
        return self._losses[-1] if self._losses else float("nan")

    @property
    def records_per_iteration(self) -> int:
        """How many records an iteration takes; 0 where the net has no source of data."""
        return records_per_pass(self.net) * int(self.param.iter_size)

    @property
    def stopped(self) -> bool:
        """Whether the run was asked to stop."""
        return self._agreement.stop

    def request_stop(self) -> None:
        """Ask the loop to end after the iteration (or test batch) it is in; a signal handler may call it.

        Where processes train together, all of them do so, at most an iteration later; so it is with a snapshot.
        """
        self._agreement.stop_asked = True

    def request_snapshot(self) -> None:
        """Ask the loop for a snapshot after the iteration it is in; a signal handler may call it."""
        self._agreement.snapshot_asked = True

    @one_thread
    def copy_from(
        self, path: str | Path, *, layer_map: Mapping[str, str] | None = None, skip_mismatch: bool = False
    ) -> Transfer:
        """Start from weights; returns what was taken. Test nets see them too. See :meth:`.Net.copy_from`."""
        self._tell("on_log", "solver.cpp:77", f"Finetuning from {path}")
        done = self.net.copy_from(path, layer_map=layer_map, skip_mismatch=skip_mismatch)
        for net in self.test_nets:
            if net.learnable:
                own_map = {old: new for old, new in (layer_map or {}).items() if new in net.params}
                net.copy_from(path, layer_map=own_map, skip_mismatch=skip_mismatch)
        return done

    @one_thread
    def solve(self, resume: str | Path | None = None) -> None:
        """Train up to ``max_iter``, with tests, displays and snapshots on the way.

        Parameters
        ----------
        resume : path, optional
            A ``.solverstate`` to go on from.

        Raises
        ------
        SolverError
            ``max_iter`` is missing, no layer of the net is a loss, or snapshots cannot be written where they should go.
        WeightsError
            See :meth:`restore`.
        """
        p = self.param
        if not p.HasField("max_iter"):
            raise SolverError(f"{self.settings.document.filename}: max_iter, the number of iterations, is not given")
        check_loss(self.net)
        if not self.group.rank:
            snapshots.check_folder(self.settings.document)
        self._tell("on_start", self.net.name, p.lr_policy)
        self._agreement.forget_stop()
        if resume is not None:
            self._tell("on_log", "solver.cpp:296", f"Restoring previous solver status from {resume}")
            self.restore(resume)
        self.step(p.max_iter - self.iteration)
        due = p.snapshot_after_train and (not p.snapshot or self.iteration % p.snapshot != 0)
        self._agreement.ask()
        if (due or self._agreement.snapshot) and self.snapshot_at != self.iteration:
            self.snapshot()
        self._agreement.forget_snapshot()
        if not self._agreement.stop:
            if p.display and self.iteration % p.display == 0:
                # Caffe looks at one more batch here; the snapshot has been written, so nothing hangs on it.
                self._watch.begin(self.iteration, self._losses)
                self._losses.append(self._passes.forward())
                self._tell("on_final", self.iteration, self.smoothed_loss)
            if p.test_interval and self.iteration % p.test_interval == 0:
                self.test_all()
        self._tell("on_end", self._agreement.stop)

    @one_thread
    def step(self, iterations: int) -> None:
        """Train for a number of iterations, with tests, displays and snapshots when it is their turn."""
        p = self.param
        end = self.iteration + iterations
        self._shown = perf_counter()
        while self.iteration < end:
            if p.test_interval and self.iteration % p.test_interval == 0 and (self.iteration or p.test_initialization):
                self.test_all()
                if self._agreement.stop:
                    break
            self._iterate()
            if (p.snapshot and self.iteration % p.snapshot == 0) or self._agreement.snapshot:
                self._agreement.forget_snapshot()
                self.snapshot()
            if self._agreement.stop:
                break

    def _iterate(self) -> None:
        self._standby.begin()
        if self._standby.slow and not self.group.rank:
            self._standby.put_aside(self._state(), self.net)
        self._bill.begin()
        self._watch.begin(self.iteration, self._losses)
        self.net.zero_grad()
        self._tell("on_iteration", self.iteration)
        shown = bool(self.param.display) and self.iteration % self.param.display == 0
        debug = partial(self._tell, "on_debug") if shown and self.param.debug_info else None
        passes = self.param.iter_size
        loss = sum(self._passes.run(one + 1 == passes, debug) for one in range(passes))
        self._bill.end(self.iteration + 1 == self.param.max_iter)
        self._losses.append(loss / passes)
        self._tell("on_gradients", self.iteration)
        self.rate, step = self.settings.rate(self.iteration, self.current_step)
        if shown:
            now = perf_counter()
            self._tell(
                "on_display", self.iteration, self.smoothed_loss, whole_outputs(self.net), self.rate, now - self._shown
            )
            self._shown = now
        if step != self.current_step and self.param.lr_policy == "multistep":
            self._tell("on_policy_step", self.iteration, step)
        with self._standby.changes:
            self.current_step = step
            self.apply_update()
            if debug is not None:
                debug(debug_info.update(self.net))
            self.iteration += 1
            self._standby.end()
        self._tell("on_step", self.iteration, self.smoothed_loss)

    @one_thread
    def apply_update(self) -> None:
        """Change the parameters by their gradients at the rate ``rate``; the iteration is not counted."""
        clipped = self._watch.update(self.rate, self.iteration)
        if clipped is not None:
            self._tell("on_clip", clipped[0], self.param.clip_gradients, clipped[1])

    @one_thread
    def test_all(self) -> None:
        """Test every test net for its ``test_iter`` batches."""
        average_statistics(self.net, self.group)
        if not self.group.rank:
            self._standby.put_aside(self._state(), self.net)
        self._tests.run(self.iteration)
        self._standby.end_test()
        if not self._agreement.stop:
            self.tested_at = self.iteration

    @one_thread
    def snapshot(self) -> str:
        """Write weights and state; return the path of the state.

        They are ``PREFIX_iter_N.caffemodel`` and ``PREFIX_iter_N.solverstate``, with ``.h5`` added for HDF5. Older
        ones are removed as ``snapshot_keep`` says. Of processes that train together the first one writes them.
        """
        average_statistics(self.net, self.group)
        with self._standby.changes:
            if self.group.rank:
                path = state_path(self.settings.document, self.iteration)
            else:
                path = write_snapshot(self.settings.document, self._state(), self.net, self._tell)
            self.snapshot_at = self.iteration
        return path

    def rescue(self) -> bool:
        """Write the snapshot of the last whole iteration while the next one, or a test, goes on in another thread.

        It is for a process that ends now: what runs will wait, at its end, for the lock that is left locked here.

        Returns
        -------
        bool
            False, and nothing is written, where no slow iteration and no test is running, and by other processes than
            the first one.
        """
        whole = self._standby.take()
        if whole is not None and self.snapshot_at != self.iteration:
            state, weights = whole
            write_snapshot(self.settings.document, state, self.net, self._tell, weights)
        return whole is not None

    def _state(self) -> snapshots.State:
        extra = snapshots.extra_of(self._nets(), self.param.type, self._losses)
        return snapshots.State(self.iteration, self.current_step, "", self.rule.history, extra)

    def _nets(self) -> dict[str, Net]:
        return {"train": self.net, **{f"test{i}": net for i, net in enumerate(self.test_nets)}}

    @one_thread
    def restore(self, path: str | Path, *, allow_changed: bool = False) -> Resumed:
        """Go on from a ``.solverstate``, of caffelite (bit for bit) or of Caffe (data from the first record).

        Parameters
        ----------
        path : path
        allow_changed : bool, optional
            Go on also where the weights, the net or the type of solver are not those that it was written with.

        Raises
        ------
        WeightsError
            The files cannot be read, or something is not as it was, see :func:`.resuming.resume`.
        """
        resumed = resume(path, self._nets(), self.rule, allow_changed)
        self.iteration, self.current_step = resumed.iteration, resumed.current_step
        self._losses.clear()
        self._losses.extend(resumed.losses)
        self.snapshot_at = self.tested_at = None
        return resumed

    def close(self) -> None:
        """Stop the threads and close the files of all nets."""
        for net in [self.net, *self.test_nets]:
            net.close()
