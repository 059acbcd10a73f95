"""The base of all errors of this package."""

from __future__ import annotations

import re
from typing import Any, ClassVar


class ZartError(Exception):
    """Base of all errors of this package.

    ``code`` is the name of the class in snake case, such as ``"execution_not_found"``, for use by programs.

    The ``args`` of an error are its fields, in the order of its constructor. So errors can be copied and pickled, and
    two errors of the same type with equal fields are equal.
    """

    code: ClassVar[str] = "zart_error"

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.code = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", cls.__name__).lower()

    def __eq__(self, other: object) -> bool:
        if type(self) is not type(other):
            return NotImplemented
        assert isinstance(other, ZartError)
        return len(self.args) == len(other.args) and all(map(_equal, self.args, other.args))

    def __hash__(self) -> int:
        return hash(type(self))  # the fields may hold errors that cannot be hashed


def _equal(one: Any, other: Any) -> bool:
    """Equality of fields. Exceptions, which mostly compare by identity, are equal when their args are."""
    if one == other:
        return True
    return isinstance(one, BaseException) and type(one) is type(other) and bool(one.args == other.args)
