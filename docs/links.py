"""Links between pages: as they stand in the repository, and as the site needs them."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping

_CODE = r"^ *(?:```|~~~|:::).*?^ *(?:```|~~~|:::) *$|`[^`\n]+`"
_LINK = r"(?P<before>\]\()(?P<path>[^)#\s]*)(?P<anchor>#[^)\s]*)?\)"


class BrokenLinkError(Exception):
    """A page links to a file that the site has no page for."""


def for_the_site(text: str, source: str, pages: Mapping[str, str]) -> str:
    """Returns a page's text with its links to files of the repository turned into links to the pages of the site.

    Code and addresses stay as they are.

    Args:
        text: Markdown.
        source: the page's file in the repository, from its root.
        pages: the page of each file, both from the repository's root.

    Raises:
        BrokenLinkError: a link goes to a file that is no page.

    Example:
        >>> pages = {"recipes/a/README.md": "docs/recipes/a.md", "recipes/b/README.md": "docs/recipes/b.md"}
        >>> for_the_site("[b](../b/README.md#ours), `[x](y)`", "recipes/a/README.md", pages)
        '[b](b.md#ours), `[x](y)`'
    """
    here = posixpath.dirname(pages[source])

    def turned(match: re.Match[str]) -> str:
        path = match["path"]
        if match["before"] is None or not path or re.match(r"[a-z]+:", path):
            return match[0]
        file = posixpath.normpath(posixpath.join(posixpath.dirname(source), path))
        if file not in pages:
            raise BrokenLinkError(f"{source} links to {path}, which is no page of the site")
        return f"]({posixpath.relpath(pages[file], here)}{match['anchor'] or ''})"

    return re.sub(f"{_CODE}|{_LINK}", turned, text, flags=re.DOTALL | re.MULTILINE)
