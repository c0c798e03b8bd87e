"""Configuration of the site, which ``make docs`` builds with Sphinx.

Sphinx was chosen over mkdocs: the docstrings are written with its roles and directives, which it renders and checks
itself, so that a reference to a name that does not exist ends the build.
"""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from asteroid_stab import __version__  # noqa: E402

project = "asteroid-stab"
author = "The asteroid-stab authors"
copyright = author
release = version = __version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "myst_nb",
    "sphinx_copybutton",
    "docs.sources",
    "docs.references",
    "docs.mathml",
]
exclude_patterns = ["_*"]
nitpicky = True
suppress_warnings = ["config.cache"]

html_theme = "furo"
html_title = "asteroid-stab"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_favicon = "_static/icon.svg"
html_math_renderer = "mathml"
html_show_sphinx = False
html_copy_source = False
html_show_sourcelink = False

default_role = "code"
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
autodoc_mock_imports = ["speechbrain", "espnet2", "accelerate"]
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 100
napoleon_numpy_docstring = False
napoleon_use_ivar = True
napoleon_custom_sections = ["Shapes"]

myst_enable_extensions = ["dollarmath", "colon_fence", "deflist"]
myst_heading_anchors = 4
nb_execution_mode = "force"
nb_execution_in_temp = True  # what a notebook writes is removed with its folder
nb_execution_timeout = 600
nb_execution_raise_on_error = True
nb_merge_streams = True  # lines that were printed one after the other are one block
copybutton_exclude = ".linenos, .gp, .go"
