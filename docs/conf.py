"""How `make docs` builds these pages."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

project = "foremesh"
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "from_code"]
exclude_patterns = ["conf.py", "from_code"]
html_theme = "furo"
html_title = "foremesh"
html_show_copyright = False
html_copy_source = False
html_show_sourcelink = False
highlight_language = "none"  # of a block that names none: what a command prints
myst_heading_anchors = 3
myst_fence_as_directive = ["mermaid"]  # drawn by us: Mermaid itself would come from elsewhere
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
