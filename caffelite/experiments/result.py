"""What an experiment found: figures, curves and a verdict."""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

#: What can become of a claim.
VERDICTS = ("held", "held in part", "did not hold")


@dataclass(frozen=True, slots=True)
class Curve:
    """A line of a plot, once for each seed.

    Attributes
    ----------
    label : str
    x : sequence of float
    ys : sequence of sequence of float
        For each seed as many values as ``x`` has; what is no number is not drawn.
    """

    label: str
    x: Sequence[float]
    ys: Sequence[Sequence[float]]


@dataclass(frozen=True, slots=True)
class Panel:
    """A plot with axes of its own.

    Attributes
    ----------
    title, x_label, y_label : str
    curves : sequence of Curve
    x_scale, y_scale : str
        ``"linear"`` or ``"log"``.
    """

    title: str
    x_label: str
    y_label: str
    curves: Sequence[Curve]
    x_scale: str = "linear"
    y_scale: str = "linear"


@dataclass(frozen=True, slots=True)
class Result:
    """What an experiment found.

    Attributes
    ----------
    name, title : str
    setting : str
        What was trained, and how.
    claim : str
        What is said elsewhere.
    verdict : str
        One of :data:`VERDICTS`.
    sentence : str
        Why, with the figures.
    columns : sequence of str
    rows : sequence of sequence of str
        A table.
    panels : sequence of Panel
    data : str
        Which images.
    seeds : sequence of int
    share : float
        Of the iterations that the experiment is made of.
    """

    name: str
    title: str
    setting: str
    claim: str
    verdict: str
    sentence: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    panels: Sequence[Panel]
    data: str
    seeds: Sequence[int]
    share: float

    def to_json(self) -> str:
        """Return all of it as JSON; what is no number is null."""
        return json.dumps(_plain(asdict(self)))

    @classmethod
    def from_json(cls, text: str) -> "Result":
        """Return what :meth:`to_json` wrote.

        Raises
        ------
        ValueError, TypeError, KeyError
            It was something else.
        """
        values = json.loads(text)
        panels = [
            Panel(**{**panel, "curves": [_curve(curve) for curve in panel["curves"]]}) for panel in values["panels"]
        ]
        return cls(**{**values, "panels": panels})

    def table(self) -> str:
        """Return the table as Markdown."""
        numbers = [all(not row[i] or row[i][0].isdigit() for row in self.rows) for i in range(len(self.columns))]
        lines = [self.columns, ["--:" if number else "---" for number in numbers], *self.rows]
        return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _curve(values: dict[str, Any]) -> Curve:
    ys = [[math.nan if y is None else y for y in line] for line in values["ys"]]
    return Curve(values["label"], values["x"], ys)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    if isinstance(value, float | np.floating):
        return float(f"{value:.6g}") if math.isfinite(value) else None
    return value


def verdict(*parts: bool) -> str:
    """Return what became of a claim of several parts."""
    return VERDICTS[0] if all(parts) else VERDICTS[1] if any(parts) else VERDICTS[2]


def spread(values: Sequence[float], form: str = "{:.1f}") -> str:
    """Write the mean over the seeds and, where there are several, the range: ``97.1 (96.8 to 97.4)``."""
    numbers = np.asarray(values, np.float64)
    if np.isnan(numbers).any():
        return "no number"
    mean = form.format(numbers.mean())
    low, high = form.format(numbers.min()), form.format(numbers.max())
    return mean if low == high else f"{mean} ({low} to {high})"


def reached(x: Sequence[float], y: Sequence[float], level: float) -> float:
    """Return the first ``x`` at which ``y`` is ``level`` or more; infinity if there is none."""
    return next((here for here, value in zip(x, y, strict=True) if value >= level), math.inf)


def when(epochs: Sequence[float]) -> str:
    """Write after how many epochs something happened, over the seeds; in some of them it may never have."""
    finite = [value for value in epochs if math.isfinite(value)]
    if not finite:
        return "never"
    text = spread(finite, "{:.2f}")
    return text if len(finite) == len(epochs) else f"{text}, never in {len(epochs) - len(finite)} of {len(epochs)} runs"


def after(epochs: Sequence[float]) -> str:
    """Write the same in a sentence: ``after 1.20 epochs``, or ``never``."""
    text = when(epochs)
    return text if text == "never" else f"after {text} epochs"


def sentence(parts: Sequence[str]) -> str:
    """Return one sentence of several parts."""
    text = "; ".join(parts)
    return f"{text[0].upper()}{text[1:]}."
