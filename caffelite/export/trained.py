"""A trained net as it goes to another program: what is deployed of it, with its weights, and where both come from."""

from collections.abc import Collection, Iterable, Mapping
from hashlib import file_digest
from pathlib import Path

import numpy as np

from caffelite import __version__
from caffelite.errors import NetError, WeightsError
from caffelite.net import Net
from caffelite.net.deploy import deploy
from caffelite.net.transfer import transfer
from caffelite.schema.weights import LayerWeights, read_weights
from caffelite.solvers.sources import NetSource
from caffelite.user_code.permission import AllowPython
from caffelite.words import TEST, Shape, quoted


def trained_net(
    source: NetSource,
    weights: Path | None,
    inputs: Mapping[str, Shape] | None = None,
    allow_python: AllowPython = False,
    kept: Collection[str] = (),
) -> tuple[Net, list[str]]:
    """Return the deploy net of a trained one, every blob kept, and the names of the layers that are gone.

    Parameters
    ----------
    source : NetSource
    weights : path or None
    inputs : mapping of str to tuple of int, optional
        Shapes of blobs that the net reads, in place of those of its data.
    allow_python : bool, optional
    kept : collection of str, optional
        Types of layers that stay though they compute nothing here: see :func:`caffelite.net.deploy.deploy`.

    Raises
    ------
    NetError
        See :func:`caffelite.net.deploy.deploy`; the net has weights, and none are given.
    WeightsError
        They are not this net's, or of a part of it only.
    """
    document, dropped = deploy(source.document, source.level, source.stages, inputs, allow_python, kept)
    net = Net(document, TEST, keep=True, learn=False, allow_python=allow_python, output_root=None)
    learned = [layer.name for layer in net.layers if layer.blobs]
    if weights is None and learned:
        raise NetError(f"{document.filename}: {quoted(learned[0])} has weights; give the file with --weights")
    if weights is not None:
        take_all(net, read_weights(weights), str(weights))
    return net, dropped


def take_all(net: Net, weights: Iterable[LayerWeights], file: str) -> None:
    """Set all parameters of a net.

    Parameters
    ----------
    net : Net
    weights : iterable of LayerWeights
    file : str
        Where they come from, for errors.

    Raises
    ------
    WeightsError
        They are not this net's, or of a part of it only.
    """
    net.changed()
    untrained = transfer(weights, net.layers, file, net.name).untrained
    if untrained:
        raise WeightsError(
            f"{file}: it has no weights for {quoted(untrained[0])} of {net.document.filename}"
            + (f" and {len(untrained) - 1} more layers" if len(untrained) > 1 else "")
        )


def forward_afresh(net: Net) -> None:
    """Run a net as a model of another program is run, which knows nothing of the run before."""
    net.load_state({key: np.zeros_like(array) for key, array in net.state().items()})
    net.forward()


def origin(source: NetSource, weights: Path | None) -> dict[str, str]:
    """Return what a file tells of where it comes from: the names of both files, SHA-256 of each, and the version."""
    told = {"caffelite_version": __version__}
    for key, path in (("prototxt", Path(source.document.filename)), ("weights", weights)):
        if path is not None and path.is_file():
            with path.open("rb") as file:
                told |= {key: path.name, f"{key}_sha256": file_digest(file, "sha256").hexdigest()}
    return told
