"""Sphinx's settings: the pages of docs/, and the public names from their docstrings."""

import caffelite

project = "caffelite"
copyright = "2026, the caffelite authors"
release = version = caffelite.__version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.viewcode", "numpydoc"]
exclude_patterns = ["experiments"]
# Links from one page to a heading of another, by the names that the repository's own site gives them.
myst_heading_anchors = 3
autosummary_generate = False
numpydoc_show_class_members = False
autodoc_member_order = "bysource"
autodoc_typehints = "none"
html_theme = "furo"
html_title = f"caffelite {release}"
html_copy_source = False
pygments_style = "friendly"
