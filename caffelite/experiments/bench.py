"""What an experiment works with: images, seeds, and a count of how far it is."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from caffelite.data.database import open_database
from caffelite.datasets.mnist import TEST_LMDB, TRAIN_LMDB
from caffelite.datasets.prepare import Prepared
from caffelite.net import Net
from caffelite.parallel.jobs import Team
from caffelite.schema.text import net_from_text
from caffelite.words import TEST


@dataclass(frozen=True, slots=True)
class Images:
    """A data set in memory.

    Attributes
    ----------
    train, test : ndarray of float32, shape (images, 1, 28, 28)
        From 0 to below 1.
    train_labels, test_labels : ndarray of float32, shape (images,)
    described : str
        Which images these are.
    folder : Path
        Where their databases are.
    """

    train: np.ndarray
    train_labels: np.ndarray
    test: np.ndarray
    test_labels: np.ndarray
    described: str
    folder: Path = Path()


def load_images(prepared: Prepared) -> Images:
    """Read MNIST, or what stands in for it, through a Data layer.

    Raises
    ------
    DataError
    """
    train, test = _read(prepared.folder / TRAIN_LMDB), _read(prepared.folder / TEST_LMDB)
    origin = "the built-in set of drawn digits, not MNIST" if prepared.builtin else "MNIST"
    described = f"{origin}: {len(train[0]):,} training and {len(test[0]):,} test images"
    return Images(*train, *test, described=described, folder=prepared.folder)


def _read(source: Path) -> tuple[np.ndarray, np.ndarray]:
    database = open_database(source)
    count = len(database)
    database.close()
    net = Net(
        net_from_text(
            'layer { name: "d" type: "Data" top: "x" top: "y" transform_param { scale: 0.00390625 } '
            f'data_param {{ source: "{source}" batch_size: {count} backend: LMDB }} }}'
        ),
        TEST,
    )
    try:
        net.forward()
        return net.blobs["x"].data.copy(), net.blobs["y"].data.copy()
    finally:
        net.close()


class Bench:
    """Where an experiment takes place.

    Parameters
    ----------
    images : Images
    seeds : sequence of int
        Every curve is drawn for each.
    share : float
        Of the iterations that an experiment is made of; 1 for all.
    originals : path, optional
        A folder with the original files of data sets, should CIFAR-10 be missing.
    say : callable
        Takes lines for the user.
    on_progress : callable, optional
        Told of iterations: how many are done, of how many, and what is being done.
    team : Team, optional
        Who trains where trainings depend on nothing but their task (:meth:`each`); by default this process. It has
        the images of :func:`load_images`, in the folder of which ``images`` tells.
    """

    def __init__(
        self,
        images: Images,
        seeds: Sequence[int] = (1, 2, 3),
        share: float = 1,
        originals: Path | None = None,
        say: Callable[[str], None] = print,
        on_progress: Callable[[int, int, str], None] = lambda done, total, text: None,
        team: Team | None = None,
    ) -> None:
        self.images, self.seeds, self.originals, self.say = images, seeds, originals, say
        self.share = share
        self._team = team
        self._on_progress = on_progress
        self._done = self._total = 0
        self._doing = ""

    def of(self, iterations: int) -> int:
        """Return how many iterations to make where a whole experiment has this many."""
        return max(1, round(iterations * self.share))

    def epochs(self, count: float, batch: int) -> int:
        """Return how many iterations show every training image that many times."""
        return self.of(round(count * len(self.images.train) / batch))

    def expect(self, iterations: int) -> None:
        """Tell how many iterations all runs together will have."""
        self._total = iterations

    def done(self, iterations: int) -> None:
        """Count iterations."""
        self._done += iterations
        self._on_progress(self._done, self._total, self._doing)

    def runs(self, labels: Sequence[str]) -> Iterator[tuple[str, int]]:
        """Go through all curves and seeds; seeds inside, so that curves are seen complete."""
        for label in labels:
            for seed in self.seeds:
                self._doing = label
                yield label, seed

    def each(self, train: Callable[["Bench", Any], Any], tasks: Iterable[Any]) -> list[Any]:
        """Return what a function makes of a bench and each task, side by side where there is a team.

        Parameters
        ----------
        train : callable
            A function that a process can be told by its name.
        tasks : iterable
        """
        if self._team is None:
            return [train(self, task) for task in tasks]
        tasks = list(tasks)
        results: list[Any] = [None] * len(tasks)
        work = partial(_elsewhere, train, self.images.folder, self.share)
        with closing(self._team.finish(work, tasks)) as outcomes:
            for outcome in outcomes:
                if outcome.error is not None:
                    raise outcome.error
                results[outcome.number], iterations = outcome.result
                self.done(iterations)
        return results

    def marks(self, iterations: int, number: int) -> list[int]:
        """Return up to ``number`` iterations to look at a net, closer together at the beginning; the last is one."""
        return sorted({max(1, round(iterations * (i / number) ** 2)) for i in range(1, number + 1)})


def _elsewhere(train: Callable[[Bench, Any], Any], folder: Path, share: float, task: Any) -> tuple[Any, int]:
    """Return what a function makes of a task, and how many iterations it made."""
    done = 0

    def count(iterations: int, *_: object) -> None:
        nonlocal done
        done = iterations

    return train(Bench(_images_in(folder), share=share, on_progress=count), task), done


@cache
def _images_in(folder: Path) -> Images:
    """Read the images once in a process that trains for others."""
    return load_images(Prepared("mnist", folder, "", False))
