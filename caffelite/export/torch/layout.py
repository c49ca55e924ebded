"""Lines of Python of a width that one can read."""

import textwrap

WIDTH = 120
_CLOSING = {"(": ")", "[": "]"}


def statement(target: str, expression: str, indent: int) -> list[str]:
    """Return the lines, without their indent, of an assignment; one that is too long is broken at spaces in brackets.

    Parameters
    ----------
    target, expression : str
        A text in quotes in it has no spaces and no brackets.
    indent : int
        How far in the lines are to stand.
    """
    line = f"{target} = {expression}"
    if indent + len(line) <= WIDTH:
        return [line]
    head = _call(expression)
    inner = expression[len(head) : -1] if head else expression
    wrapped = textwrap.wrap(inner, WIDTH - indent - 4, break_long_words=False, break_on_hyphens=False)
    return [f"{target} = {head or '('}", *(f"    {part}" for part in wrapped), expression[-1] if head else ")"]


def _call(expression: str) -> str:
    """Return an expression up to its first bracket, if the last thing in it is the bracket that closes that one."""
    start = min((expression.find(c) for c in _CLOSING if c in expression), default=-1)
    depth = 0
    for i, c in enumerate(expression[start:] if start >= 0 else ""):
        depth += (c in _CLOSING) - (c in _CLOSING.values())
        if depth == 0:
            return expression[: start + 1] if start + i == len(expression) - 1 else ""
    return ""
