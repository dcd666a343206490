"""How Sampan looks and speaks: what JupyterHub's pages and the service's own share. Imports nothing of ours."""

from __future__ import annotations

from pathlib import Path

TEMPLATES = Path(__file__).parent / "templates"
"""`page.html`, JupyterHub's own with Sampan's navigation and style in it; both sides' pages extend it."""
