"""The version of this layout."""

from __future__ import annotations

from enum import auto

from zart_redis.layout.name import StoredName

VERSION = (1, 10)
"""Major and minor number of this layout. Versions of one major number work side by side."""
LAYOUT = "{}.{}".format(*VERSION)
"""The version as it is stored."""


class Feature(StoredName):
    """What the field `needs` of an execution may ask for and this version provides."""

    VERSIONS = auto()
    LIMITS = auto()
    COMPENSATION = auto()
    """An on_failure body that a cancel asked for."""
    CHILDREN = auto()
    """A parent to tell, or children to cancel."""


FEATURES: frozenset[str] = frozenset(Feature)


def is_supported(layout: str) -> bool:
    """Whether this version may work on a namespace of that layout version."""
    return layout.split(".")[0] == str(VERSION[0])
