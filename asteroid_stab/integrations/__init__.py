"""The training step in other people's toolkits: one module a toolkit, imported only when asked for.

The page beside this file, README.md, has an example of each.
"""

from __future__ import annotations


def missing(module: str, error: ImportError, install: str) -> ImportError:
    """Returns the error for a toolkit that cannot be imported.

    Args:
        module: of this package.
        error: that the import raised.
        install: the command that installs the toolkit.

    Example:
        >>> missing("asteroid_stab.integrations.other", ImportError("No module named 'other'"), "pip install other")
        ImportError("asteroid_stab.integrations.other needs its toolkit (No module named 'other'): pip install other")
    """
    return ImportError(f"{module} needs its toolkit ({error}): {install}", name=error.name)
