"""What the colour of a layer tells: what it is, or how much of something it takes."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from caffelite.draw.amounts import short_number
from caffelite.draw.boxes import BoxRow, Diagram
from caffelite.draw.times import LayerShare

#: What --color can be.
COLOURINGS = ("kind", "time", "macs", "phase")

#: Background, border; dark text on them reads well, and boxes stand out on a light and on a dark page.
KINDS = {
    "data": ("#cfe3f7", "#3b73ad"),
    "weights": ("#ffe0b8", "#b86e14"),
    "pooling": ("#d9cff0", "#6a4fa3"),
    "normalization": ("#cdebd5", "#2f7d46"),
    "activation": ("#fff3b8", "#8f7a10"),
    "loss": ("#f9cdcd", "#a83838"),
    "measure": ("#e3e6ea", "#5b6572"),
    "other": ("#ffffff", "#5b6572"),
}
_PHASES = {"TRAIN": KINDS["weights"], "TEST": KINDS["data"], "": KINDS["other"]}
#: Nothing, and the most that any layer has.
_LEAST, _MOST, _HEAT_BORDER = (255, 255, 255), (245, 150, 90), "#8a4a20"


@dataclass(slots=True)
class Colouring:
    """How layers are coloured.

    Attributes
    ----------
    by : str
        One of :data:`COLOURINGS`.
    times : dict of int to LayerShare
        By the number of the layer in its net.
    most : float
        The largest amount that a layer has, where amounts are shown.
    """

    by: str = "kind"
    times: Mapping[int, LayerShare] = field(default_factory=dict)
    most: float = 0.0

    def over(self, diagram: Diagram) -> "Colouring":
        """Return the same for a diagram whose amounts are shown."""
        amounts = [self.amount(row) for box in diagram.boxes for row in box.rows]
        return Colouring(self.by, self.times, max(amounts, default=0.0))

    def amount(self, row: BoxRow) -> float:
        """Return how much of what is shown a layer has."""
        if self.by == "macs":
            return row.multiply_adds or 0
        return self.times[row.layers[0]].milliseconds if self.by == "time" and row.layers[0] in self.times else 0

    def of(self, row: BoxRow) -> tuple[str, str]:
        """Return the colours of a layer: background and border."""
        if self.by == "kind":
            return KINDS[row.kind]
        if self.by == "phase":
            return _PHASES[row.phases]
        # By the root, since the amounts of layers lie powers of ten apart.
        heat = (self.amount(row) / self.most) ** 0.5 if self.most else 0.0
        mixed = [round(low + heat * (high - low)) for low, high in zip(_LEAST, _MOST, strict=True)]
        return "#" + "".join(f"{part:02x}" for part in mixed), _HEAT_BORDER

    def told(self, row: BoxRow) -> list[str]:
        """Return what is written of the amount in a layer's box."""
        if self.by == "macs" and row.multiply_adds:
            return [f"{short_number(row.multiply_adds)} multiply-adds"]
        # Of two layers of one name, one a phase, one was timed.
        return [self.times[row.layers[0]].text()] if self.by == "time" and row.layers[0] in self.times else []
