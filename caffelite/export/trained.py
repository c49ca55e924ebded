"""A trained net as it goes to another program: what is deployed of it, with its weights, and where both come from."""

from collections.abc import Mapping
from hashlib import file_digest
from pathlib import Path

import numpy as np

from caffelite import __version__
from caffelite.errors import NetError, WeightsError
from caffelite.net import Net
from caffelite.net.deploy import deploy
from caffelite.solvers.sources import NetSource
from caffelite.user_code.permission import AllowPython
from caffelite.words import TEST, Shape, quoted


def trained_net(
    source: NetSource,
    weights: Path | None,
    inputs: Mapping[str, Shape] | None = None,
    allow_python: AllowPython = False,
) -> tuple[Net, list[str]]:
    """Return the deploy net of a trained one, every blob kept, and the names of the layers that are gone.

    Parameters
    ----------
    source : NetSource
    weights : path or None
    inputs : mapping of str to tuple of int, optional
        Shapes of blobs that the net reads, in place of those of its data.
    allow_python : bool, optional

    Raises
    ------
    NetError
        See :func:`caffelite.net.deploy.deploy`; the net has weights, and none are given.
    WeightsError
        They are not this net's, or of a part of it only.
    """
    document, dropped = deploy(source.document, source.level, source.stages, inputs, allow_python)
    net = Net(document, TEST, keep=True, learn=False, allow_python=allow_python, output_root=None)
    learned = [layer.name for layer in net.layers if layer.blobs]
    if weights is None and learned:
        raise NetError(f"{document.filename}: {quoted(learned[0])} has weights; give the file with --weights")
    if weights is not None:
        transfer = net.copy_from(weights)
        if transfer.untrained:
            raise WeightsError(
                f"{weights}: it has no weights for {quoted(transfer.untrained[0])} of {document.filename}"
                + (f" and {len(transfer.untrained) - 1} more layers" if len(transfer.untrained) > 1 else "")
            )
    return net, dropped


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
