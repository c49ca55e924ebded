"""Which known name a name that is not known was meant to be."""

from collections.abc import Iterable
from functools import lru_cache

from caffelite.words import distance

_SUFFIX = "_param"
#: Names of forks that lie near names of other forks: that of caffe-jacinto beside OpenCL Caffe's ``quantizer``.
_OF_FORKS = {"quantize"}


def slips_of(name: str, known: Iterable[str]) -> list[str]:
    """Return the field that ``name`` looks like a slip of, or none where it rather is a name of its own.

    A slip starts with the right letter and is one change away from the right name (two in names of ten letters and
    more); a change is a letter too many, too few, another one, or two that are swapped. Capitals, underscores, a
    forgotten ``_param`` and a forgotten ``_size`` do not count. Names of forks are often near a known one and mean
    something else, so these are no slips: another number (``pooling3d_param``) and another axis (``kernel_d`` beside
    ``kernel_h``).
    """
    if name in _OF_FORKS:
        return []
    by_letter = _by_letter(tuple(known))
    letter = _plain(name)[:1]
    candidates = by_letter.get(letter, ())
    if f"{name}_size" in candidates:
        return [f"{name}_size"]
    best: tuple[int, str] | None = None
    for candidate in candidates:
        if _digits(name) != _digits(candidate) or _differ_in_axis(name, candidate):
            continue
        changes = _changes(name, candidate)
        if changes is not None and (best is None or changes < best[0]):
            best = changes, candidate
    return [best[1]] if best else []


@lru_cache
def _by_letter(known: tuple[str, ...]) -> dict[str, list[str]]:
    """Return names by the letter that a slip of them begins with: a file may have any number of unknown fields."""
    names: dict[str, list[str]] = {}
    for name in known:
        names.setdefault(_plain(name)[:1], []).append(name)
    return names


def _changes(name: str, candidate: str) -> int | None:
    if name.endswith(_SUFFIX) and candidate.endswith(_SUFFIX):
        # What they have in common anyway must not make short names look alike: elu_param, relu_param.
        return _near(_plain(name.removesuffix(_SUFFIX)), _plain(candidate.removesuffix(_SUFFIX)))
    if _plain(name) == _plain(candidate.removesuffix(_SUFFIX)):
        return 0
    return _near(_plain(name), _plain(candidate))


def _near(a: str, b: str) -> int | None:
    allowed = 0 if len(a) < 3 else 1 if len(a) < 10 else 2
    if a[:1] != b[:1] or abs(len(a) - len(b)) > allowed:
        return None
    changes = distance(a, b)
    return changes if changes <= allowed else None


def _plain(name: str) -> str:
    return name.lower().replace("_", "")


def _digits(name: str) -> str:
    return "".join(c for c in name if c.isdigit())


def _differ_in_axis(a: str, b: str) -> bool:
    """Whether two names differ only in a last part of one letter, or one of them has none."""
    head_a, tail_a = _axis(a)
    head_b, tail_b = _axis(b)
    return head_a == head_b and tail_a != tail_b


def _axis(name: str) -> tuple[str, str]:
    return (name[:-2], name[-1]) if name[-2:-1] == "_" else (name, "")
