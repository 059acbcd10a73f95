"""Errors to bytes and back, without ever loading a class because a string in Redis names it.

An error is recorded in one of three forms: ``_Framework``, an error of this package, by name and fields;
``_Declared``, one whose exact type is named in ``raises=``, by its state; and ``_Remote``, any other, as
text. A name read from Redis only selects among the types that the program declares. Values are encoded by ``codec``.
"""

from __future__ import annotations

import functools
import inspect
import traceback
from collections.abc import Iterable
from types import FunctionType, MemberDescriptorType
from typing import Any, Final, TypeAlias

import msgspec

from zart_redis import errors
from zart_redis.codec import codec_for
from zart_redis.difference import difference
from zart_redis.errors import InvalidInput, RemoteError, SerializationError, ZartError
from zart_redis.type_info import resolve_hints

_MAX_TYPE_NAME: Final = 512  # bytes, as are the next
_MAX_MESSAGE: Final = 4096
_MAX_TRACEBACK: Final = 8192
_MAX_NOTES: Final = 8192  # together
_LEAST: Final = 8  # below this, cutting is no use

_FRAMEWORK: Final[dict[str, type[ZartError]]] = {
    name: value
    for name, value in vars(errors).items()
    if isinstance(value, type) and issubclass(value, ZartError) and value is not RemoteError
}


class _Remote(msgspec.Struct, array_like=True, tag="remote"):
    type_name: str
    message: str
    traceback: str
    notes: list[str] = []


class _Declared(msgspec.Struct, array_like=True, tag="declared"):
    class_name: str
    args: list[msgspec.Raw]
    attributes: dict[str, msgspec.Raw]
    guided: tuple[bool, bool]
    """Whether the args, and the attributes, are decoded by annotations or as they come."""
    remote: _Remote
    """The plain form, for readers who do not know the class."""


class _Framework(msgspec.Struct, array_like=True, tag="zart"):
    name: str
    args: list[_Remote | _Declared | _Framework | str | int | float | None]
    notes: list[str] = []


_Record: TypeAlias = _Remote | _Declared | _Framework
_RECORD: Final = codec_for(_Record)
_encode_record: Final = msgspec.msgpack.Encoder().encode
_ANY: Final = codec_for(Any)


class ErrorCodec:
    """Encodes and decodes the errors of a step or handler, given the types it declares in ``raises=``.

    An error whose exact type is declared comes back as that type with equal ``args`` and attributes. If it
    cannot (it holds an open file, say), or its type is not declared, it comes back as ``RemoteError``. Errors
    of this package come back as themselves, and so do the errors inside them. All keep their notes.

    Raises ``InvalidInput`` if something other than a type of ``Exception`` is declared.
    """

    def __init__(self, declared: Iterable[type[BaseException]] = ()) -> None:
        self._declared: dict[str, _DeclaredType] = {}
        for cls in declared:
            if not (isinstance(cls, type) and issubclass(cls, Exception)):
                raise InvalidInput(f"raises= takes types of Exception, as in (CardDeclined,), not {cls!r}")
            self._declared[_full_name(cls)] = _DeclaredType(cls)

    def encode(self, error: BaseException, max_bytes: int | None = None) -> bytes:
        """The bytes of an error. Every error can be encoded, if only as text, which is cut to fit into `max_bytes`."""
        record = self._record_of(error)
        data = _encode_record(record)
        limit = max_bytes or len(data)
        while len(data) > (max_bytes or len(data)) and limit > _LEAST:
            limit //= 2
            data = _encode_record(_cut(record, limit))
        return data

    def decode(self, data: bytes | msgspec.Raw) -> Exception:
        """The error of these bytes. Raises ``SerializationError`` if they hold none."""
        return self._error_of(_RECORD.decode(data, "error"))

    def _record_of(self, error: BaseException) -> _Record:
        try:
            if type(error) in _FRAMEWORK.values():
                return self._framework_record(error)
            declared = self._declared.get(_full_name(type(error)))
            if declared is not None and declared.cls is type(error):
                return declared.record_of(error)
        except Exception:
            pass
        return _remote(error)

    def _framework_record(self, error: BaseException) -> _Record:
        args = [self._record_of(arg) if isinstance(arg, BaseException) else arg for arg in error.args]
        record = _Framework(type(error).__name__, args, _notes_of(error))
        self.decode(_encode_record(record))  # raises if its fields are not what they should be
        return record

    def _error_of(self, record: _Record) -> Exception:
        if isinstance(record, _Framework):
            return self._framework_error(record)
        if isinstance(record, _Declared):
            declared = self._declared.get(record.class_name)
            if declared is not None:
                try:
                    return declared.restore(record)
                except Exception:
                    pass
            record = record.remote
        return _restored(record)

    def _framework_error(self, record: _Framework) -> Exception:
        cls = _FRAMEWORK.get(record.name)
        if cls is None:
            raise SerializationError(f"an error {record.name!r} is recorded, which this version does not know")
        try:
            error = cls(*(self._error_of(arg) if isinstance(arg, _Record) else arg for arg in record.args))
            str(error)
        except Exception as problem:
            raise SerializationError(f"a recorded {record.name} cannot be read: {problem}") from problem
        add_notes(error, record.notes)
        return error


def summary(error: BaseException) -> RemoteError:
    """An error in plain form: the name of its type, its message, its traceback and its notes, all capped in length."""
    return _restored(_remote(error))


def add_notes(error: BaseException, notes: Iterable[str]) -> None:
    """`add_note`, also for an error that does not let its attributes be set, as a frozen dataclass."""
    if notes := [*notes]:
        object.__setattr__(error, "__notes__", [*getattr(error, "__notes__", ()), *notes])


def notes_of(error: BaseException) -> list[str]:
    """The notes of an error, without what a `RemoteError` shows of its traceback."""
    notes = [note for note in getattr(error, "__notes__", ()) if isinstance(note, str)]
    return notes[1:] if isinstance(error, RemoteError) and error.traceback else notes


def recorded_summary(data: bytes | msgspec.Raw) -> RemoteError:
    """The plain form of an encoded error, whatever types were declared. Raises ``SerializationError``."""
    return summary(ErrorCodec().decode(data))


class _DeclaredType:
    """Takes the errors of one declared type apart and together again, without calling ``__init__``."""

    def __init__(self, cls: type[Exception]) -> None:
        self.cls = cls

    def record_of(self, error: BaseException) -> _Declared:
        """The record of an error. Raises ``SerializationError`` if the error would not come back the same."""
        state = _state(error)
        args = [msgspec.Raw(_ANY.encode(arg)) for arg in error.args]
        attributes = {name: msgspec.Raw(_ANY.encode(value)) for name, value in state.items()}
        for guided in ((True, True), (False, True), (False, False)):
            record = _Declared(_full_name(self.cls), args, attributes, guided, _remote(error))
            try:
                restored = self.restore(record)
            except Exception:
                continue
            same = difference((error.args, state), (restored.args, _state(restored))) is None
            if same and type(restored) is self.cls and str(restored) == str(error):
                return record
        raise SerializationError(f"a {self.cls.__qualname__} would not come back the same")

    def restore(self, record: _Declared) -> Exception:
        """The error of a record. Raises what goes wrong when the class has changed since."""
        args_guided, attributes_guided = record.guided
        hints = self._arg_hints(len(record.args)) if args_guided else [Any] * len(record.args)
        args = [codec_for(hint).decode(arg) for hint, arg in zip(hints, record.args, strict=True)]
        error = self.cls.__new__(self.cls, *args)
        object.__setattr__(error, "args", tuple(args))  # OSError, for one, leaves this to its __init__
        present = _state(error)
        for name, raw in record.attributes.items():
            hint = self._hints.get(name, Any) if attributes_guided else Any
            value = codec_for(hint).decode(raw)
            if difference(present.get(name, msgspec.UNSET), value) is not None:
                object.__setattr__(error, name, value)  # a frozen dataclass guards its own
        return error

    @functools.cached_property
    def _hints(self) -> dict[str, Any]:
        init = self.cls.__init__
        return (resolve_hints(init) if isinstance(init, FunctionType) else {}) | resolve_hints(self.cls)

    def _arg_hints(self, count: int) -> list[Any]:
        """The annotations of the constructor's parameters, if ``args`` can be what was given for them."""
        parameters = list(inspect.signature(self.cls.__init__).parameters.values())[1:]
        names = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
        if len(names) != count:
            raise SerializationError(f"{self.cls.__qualname__} sets its own args")
        return [self._hints.get(name, Any) for name in names]


def _state(error: BaseException) -> dict[str, Any]:
    """An error's attributes: those in ``__dict__``, in ``__slots__``, and a built-in's, such as ``errno``."""
    state = dict(vars(error))
    for cls in type(error).__mro__:
        for name, member in vars(cls).items():
            kept = isinstance(member, MemberDescriptorType) and not name.startswith("__")
            if kept and hasattr(error, name):
                state[name] = getattr(error, name)
    return dict(sorted(state.items()))


def _remote(error: BaseException) -> _Remote:
    name = type(error).__name__
    try:
        if isinstance(error, RemoteError):
            name, message, trace = map(str, error.args)
        else:
            message, trace = str(error), "".join(traceback.format_exception(error))
    except Exception:  # its __str__ is code of others
        message, trace = "(its text cannot be made)", ""
    return _Remote(
        _capped(name, _MAX_TYPE_NAME), _capped(message, _MAX_MESSAGE), _capped(trace, _MAX_TRACEBACK), _notes_of(error)
    )


def _restored(record: _Remote) -> RemoteError:
    error = RemoteError(record.type_name, record.message, record.traceback)
    add_notes(error, record.notes)
    return error


def _notes_of(error: BaseException) -> list[str]:
    try:
        return _few(notes_of(error), _MAX_NOTES)
    except Exception:  # `__notes__` may be anything
        return []


def _few(notes: list[str], limit: int) -> list[str]:
    """The first notes, in at most `limit` bytes together."""
    kept: list[str] = []
    for note in notes:
        kept.append(_capped(note, limit))
        limit -= len(kept[-1].encode()) + _LEAST
        if limit < _LEAST:
            break
    return kept


def _cut(record: _Record, limit: int) -> _Record:
    """A record whose texts have at most `limit` bytes each; a declared error in plain form."""
    if isinstance(record, _Declared):
        record = record.remote
    if isinstance(record, _Remote):
        name, message, trace = (_capped(text, limit) for text in (record.type_name, record.message, record.traceback))
        return _Remote(name, message, trace, _few(record.notes, limit))
    args = [
        _cut(arg, limit) if isinstance(arg, _Record) else _capped(arg, limit) if isinstance(arg, str) else arg
        for arg in record.args
    ]
    return _Framework(record.name, args, _few(record.notes, limit))


def _capped(text: str, limit: int) -> str:
    """The text in at most ``limit`` bytes of UTF-8, its middle left out if it is longer."""
    data = text.encode("utf-8", "backslashreplace")
    if len(data) <= limit:
        return data.decode()
    gap = "\n... (shortened) ...\n"
    if limit < 3 * len(gap):
        return data[:limit].decode(errors="ignore")
    half = (limit - len(gap)) // 2
    return data[:half].decode(errors="ignore") + gap + data[-half:].decode(errors="ignore")


def _full_name(cls: type) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"
