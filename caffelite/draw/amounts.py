"""How amounts are written in diagrams."""

from caffelite.draw.boxes import Diagram


def totals_text(diagram: Diagram) -> str:
    """Return what a net has and takes, in words."""
    return ", ".join(totals_lines(diagram))


def totals_lines(diagram: Diagram) -> list[str]:
    """Return what a net has, and what a pass of it takes, a line of words each; of each phase where they differ."""
    parts = [f"{diagram.layers} layers"]
    if diagram.parameters is not None:
        parts.append(f"{short_number(diagram.parameters)} parameters ({short_bytes(4 * diagram.parameters)})")
    passes = {
        name: f"{short_number(one.multiply_adds)} multiply-adds, {short_bytes(one.bytes)} of blobs"
        for name, one in diagram.totals.items()
    }
    if len(set(passes.values())) == 1:
        told = list(passes.values())[:1]
    else:
        told = [f"in {name} {text}" for name, text in passes.items()]
    return [", ".join(parts), *told]


def short_number(value: int) -> str:
    """Write a number of parameters as people do: ``25.6 k``."""
    for limit, unit in ((10**9, "G"), (10**6, "M"), (10**3, "k")):
        if value >= limit:
            return f"{value / limit:.3g} {unit}"
    return str(value)


def short_bytes(size: int) -> str:
    """Write a number of bytes: ``25.6 kB``."""
    return f"{short_number(size)}B" if size >= 1000 else f"{size} bytes"
