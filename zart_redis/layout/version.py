"""The version of this layout."""

from __future__ import annotations

VERSION = (1, 4)
"""Major and minor number of this layout. Versions of one major number work side by side."""
LAYOUT = "{}.{}".format(*VERSION)
"""The version as it is stored."""

FEATURES: frozenset[str] = frozenset({"versions"})
"""What the field `needs` of an execution may ask for and this version provides."""


def is_supported(layout: str) -> bool:
    """Whether this version may work on a namespace of that layout version."""
    return layout.split(".")[0] == str(VERSION[0])
