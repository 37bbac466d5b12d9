"""What the documentation site does beside the pages: links that leave this folder lead to the repository."""

from __future__ import annotations

import posixpath
import re
from typing import Any

REPOSITORY = "https://github.com/onnxplain/onnxplain/blob/main/"


def on_page_markdown(markdown: str, *, page: Any, **_: Any) -> str:
    """Pages name files of the repository relative to themselves; on the site these become addresses."""

    def absolute(found: re.Match[str]) -> str:
        path = posixpath.normpath(posixpath.join("docs", posixpath.dirname(page.file.src_uri), found[1]))
        return f"]({REPOSITORY}{path}{found[2] or ''})"

    return re.sub(r"\]\((\.\./[^)#\s]*)(#[^)\s]*)?\)", absolute, markdown)
