"""How `make docs` makes a static site of these pages; nothing in it is fetched from elsewhere."""

from __future__ import annotations

from weightslab_common import __version__

project = "WeightsLab"
author = "WeightsLab"
release = version = __version__
extensions = ["myst_parser", "sphinx.ext.autodoc"]
# Backticks in docstrings are code, as in the pages.
default_role = "code"
myst_heading_anchors = 3
myst_enable_extensions = ["colon_fence"]
autodoc_typehints = "none"
# Blocks of queries and of console talk have languages of their own, which the tests read.
suppress_warnings = ["misc.highlighting_failure"]
html_theme = "furo"
html_title = f"WeightsLab {version}"
html_show_sphinx = False
html_copy_source = False
