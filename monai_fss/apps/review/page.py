# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""A review page as one HTML text."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from importlib.resources import files as package_files
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

__all__ = ["SCRIPTS", "page_html"]

TEMPLATE = package_files("monai_fss") / "apps" / "review" / "template"
SCRIPTS = ("state.js", "rows.js", "page.js")


def page_html(content: Mapping[str, Any]) -> str:
    """
    The page.

    Names of scans and organs, and reasons, come from files: they are embedded as JSON, in which ``<``, ``>``, ``&`` and
    ``'`` are escaped, and the script sets them as text. The page's own policy lets it load pictures that lie beside it
    and run its own script, and nothing else.

    Args:
        content: see :func:`monai_fss.apps.review.content.page_content`.

    Returns:
        HTML, ASCII characters alone in what comes from files.

    Raises:
        ValueError: ``content`` has a NaN or an infinity.
    """
    environment = Environment(autoescape=True, undefined=StrictUndefined)
    environment.policies["json.dumps_kwargs"] = {"allow_nan": False, "separators": (",", ":")}
    style, script = _text("page.css"), "\n".join(map(_text, SCRIPTS))
    return environment.from_string(_text("page.html")).render(
        content=content, style=Markup(style), script=Markup(script), style_hash=_hash(style), script_hash=_hash(script)
    )


def _text(name: str) -> str:
    return (TEMPLATE / name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    """As a Content-Security-Policy names the script that may run."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
