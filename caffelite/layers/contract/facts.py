"""What is true of a layer type, and of a layer with its settings, as one frozen value."""

from dataclasses import dataclass, replace
from typing import Any

#: How many blobs: exactly n, or (least, most) with None for no limit.
Count = int | tuple[int, int | None]


@dataclass(frozen=True, slots=True)
class Facts:
    """What the graph, the plan, the diagram, the checks, the documentation and the tests read of a layer.

    A class declares those of its type (``facts = Facts(…)``, or ``facts = Base.facts.but(…)``); a layer has its own,
    which :meth:`Layer.specific_facts` makes once of them and the prototxt. It has many fields, as each stands for types
    that someone would list by name otherwise.

    Attributes
    ----------
    bottoms, tops : int or (int, int or None)
        Number of bottoms and tops: exactly n, or (least, most) with None for no limit.
    in_place : bool
        The top may be written over the bottom: element i of the top depends on element i of the bottom alone, or the
        kernels are written so that overwriting does no harm.
    view : bool
        The top is the bottom's memory with another shape; nothing is computed.
    loss : bool
        The first top is a loss, with weight 1 unless ``loss_weight`` says otherwise.
    backward_reads : frozenset of str
        Which data ``backward`` reads: "bottom", "top". What it does not read may be overwritten meanwhile.
    without_gradient : tuple of int
        The bottoms that never get a gradient (labels). An empty range of gradients: ``differentiable=False``.
    labels : tuple of int
        The bottoms of a layer that is no loss and no measure which hold labels all the same, so that a net in use has
        neither.
    refuses_gradient : bool
        Where a net learns through one of these, that is an error, as Caffe has it for labels; False: they get none.
    differentiable : bool
        False: no bottom ever gets a gradient (Accuracy, ArgMax).
    derivative : bool
        False: what it sends back is made by hand, and is not the derivative of what it computes (the losses of YOLO).
    source : bool
        The layer brings data into the net (no bottoms); its calls cannot be skipped.
    net_input : bool
        Its tops are the inputs of the net, blobs that the caller writes into and may give another shape (Input).
    filled_by_caller : bool
        It is a source whose data the caller puts in (Input, MemoryData): it reads none by itself.
    elementwise : bool
        Its top is a function of one number, taken of each element of its one bottom, and ``forward_with`` and
        ``backward_with`` compute such layers behind it as well: a chain of them is one function.
    absorbs : bool
        ``forward_with`` computes the layers behind it as well: those that are ``affine``, then ``elementwise`` ones and
        one that ``adds``, whose other bottom is the last of the bottoms then.
    adds : bool
        Its top is the sum of its two bottoms, element by element.
    affine : bool
        Multiplies each channel (axis 1) by a number and adds one; ``to_affine`` says which.
    absorbs_affine : bool
        ``forward_with`` and ``backward_with`` do what one layer behind it does as well, if that has
        ``learned_affine``.
    absorbs_activation : frozenset of str
        They do an ``activation`` of one of these names behind it, or behind what it absorbs, as well.
    activation : (str, float) or None
        The function that kernels of other layers know the layer by, and its slope for negative values.
    dynamic : bool
        The shapes of the tops depend on the data: ``shapes`` returns the largest, ``resize`` those of each pass.
    kind : str
        What it is, for its colour in a diagram: data, weights, pooling, normalization, activation, loss, measure or
        other.
    settings : tuple of str
        The messages of the prototxt that it reads its settings from.
    deploy : str
        What becomes of it in a net that is deployed: it is "kept", it is "dropped" with all that reads it alone, what
        reads it reads its bottom ("identity"), or the type of layer that takes its place and reads its first bottom.
    deploy_top : str
        What the top of that layer is called, where Caffe's nets have a name for it; empty: it keeps its name.
    folds : frozenset of str
        Which layers that multiply and shift channels its weights can take in, where a net is deployed: those "before"
        it and those "behind" it; see :class:`~caffelite.layers.shared.linear.Linear`.
    rectifies : bool
        It cuts what is below 0 off, sharply or softly: channels of mean 0 without a learned shift lose half of it.
    saturates : bool
        It tends to a limit on both sides, so that large differences of what it reads can be small ones of its top.
    reads_own_output : str
        Whether Caffe's gradient of it is computed from its own top, which must not be written over then: "never",
        "always", or "in place", where the top is also its bottom. (``backward_reads`` is about the gradient here.)
    share : bool
        Its first top is a share of the whole, from 0 to 1, which people read as a percentage.
    images_meet : str
        Why the images of a batch meet in it, whatever its settings, so that a batch cannot be divided among processes;
        see :meth:`Layer.images_meet`.
    constant : bool
        Its tops do not depend on what is in images: Parameter, PriorBox.
    averages : bool
        A mean over processes of the top is its value for the mean of the bottoms, so it may read what is one number of
        the whole batch, of which each process has its own.
    """

    bottoms: Count = 1
    tops: Count = 1
    in_place: bool = False
    view: bool = False
    loss: bool = False
    backward_reads: frozenset[str] = frozenset({"bottom", "top"})
    without_gradient: tuple[int, ...] = ()
    labels: tuple[int, ...] = ()
    refuses_gradient: bool = True
    differentiable: bool = True
    derivative: bool = True
    source: bool = False
    net_input: bool = False
    filled_by_caller: bool = False
    elementwise: bool = False
    absorbs: bool = False
    adds: bool = False
    affine: bool = False
    absorbs_affine: bool = False
    absorbs_activation: frozenset[str] = frozenset()
    activation: tuple[str, float] | None = None
    dynamic: bool = False
    kind: str = "other"
    settings: tuple[str, ...] = ()
    deploy: str = "kept"
    deploy_top: str = ""
    folds: frozenset[str] = frozenset()
    rectifies: bool = False
    saturates: bool = False
    reads_own_output: str = "never"
    share: bool = False
    images_meet: str = ""
    constant: bool = False
    averages: bool = False

    def but(self, **changes: Any) -> "Facts":
        """Return these facts with some of them changed."""
        return replace(self, **changes)
