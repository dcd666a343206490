"""Sphinx: the pages beside this file, written in Markdown."""

project = "Sampan"
author = "The Sampan developers"
copyright = "The Sampan developers"
extensions = ["myst_parser"]
source_suffix = {".md": "markdown"}
html_theme = "pydata_sphinx_theme"
exclude_patterns = ["images/*"]
