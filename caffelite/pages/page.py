"""A page: one file that needs no network and no program but a browser."""

import json
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from caffelite.errors import Error
from caffelite.files import atomic_write
from caffelite.pages.markup import Markup, element, join

#: Nothing is loaded from anywhere; pictures are in the page.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:"


@cache
def asset(name: str, package: str = __package__) -> str:
    """Return the text of a style sheet or a script that lies beside the modules of a package."""
    return resources.files(package).joinpath(name).read_text("utf-8")


def page(
    title: str, body: list[str], *, styles: tuple[str, ...] = (), scripts: tuple[str, ...] = (), data: Any = None
) -> str:
    """Return a page.

    It is light or dark as the reader's system is, until a button says otherwise; tables can be sorted; it prints.

    Parameters
    ----------
    title : str
    body : list of str or Markup
    styles, scripts : tuple of str
        Texts of style sheets and of scripts, behind those that every page has.
    data : object, optional
        What ``pageData()`` returns to the scripts: anything that JSON can hold. Numbers that are not finite are null.
    """
    head = [
        element("meta", charset="utf-8"),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", http_equiv="Content-Security-Policy", content=_POLICY),
        element("meta", name="generator", content="caffelite"),
        element("title", title),
        *[element("style", Markup(text)) for text in (asset("page.css"), *styles)],
    ]
    if data is not None:
        body = [*body, element("script", Markup(_json(data)), type="application/json", id="page-data")]
    body = [*body, *[element("script", Markup(text)) for text in (asset("page.js"), *scripts)]]
    top = element("button", "◐", type="button", id="theme", title="light or dark", aria_label="light or dark")
    document = element("html", element("head", *head), element("body", top, *body), lang="en")
    return "<!doctype html>\n" + join([document]) + "\n"


def _json(data: Any) -> str:
    """Return data as JSON in which nothing ends a script or begins a comment."""
    text = json.dumps(_finite(data), separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def _finite(data: Any) -> Any:
    if isinstance(data, float):
        return data if abs(data) < float("inf") else None
    if isinstance(data, dict):
        return {key: _finite(value) for key, value in data.items()}
    return [_finite(value) for value in data] if isinstance(data, list | tuple) else data


def write_page(path: str | Path, text: str) -> None:
    """Write a page; it is there whole or not at all.

    Raises
    ------
    Error
        The file cannot be written.
    """
    try:
        with atomic_write(path) as temporary:
            temporary.write_text(text, "utf-8")
    except OSError as error:
        raise Error(f"{path}: the page cannot be written: {error.strerror}") from None
