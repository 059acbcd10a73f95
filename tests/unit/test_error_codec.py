"""Errors cross processes as themselves if they were declared, else as text, and never by loading a class."""

import sys
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import msgspec
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.test_errors import examples
from zart_redis.error_codec import ErrorCodec, recorded_summary, summary
from zart_redis.errors import (
    InvalidInput,
    RemoteError,
    RetryExhausted,
    SerializationError,
    StepBusinessError,
    StepFailed,
    TimedOut,
    ZartError,
)

NOW = datetime(2024, 1, 1, tzinfo=UTC)


class Plain(Exception):
    pass


class SubPlain(Plain):
    pass


class Detail(pydantic.BaseModel):
    code: int
    when: datetime


class WithModel(Exception):
    def __init__(self, detail: Detail) -> None:
        super().__init__(detail)
        self.detail = detail


@dataclass
class AsDataclass(Exception):
    account: uuid.UUID
    cents: int = 0


@dataclass(frozen=True)
class Frozen(Exception):
    when: datetime
    pair: tuple[int, str]


@dataclass(slots=True)
class Slotted(Exception):
    pair: tuple[int, int]


class Composed(Exception):
    """Its args are not what its constructor takes."""

    def __init__(self, code: int, when: datetime) -> None:
        super().__init__(f"code {code}")
        self.code = code
        self.when = when


class OneParameter(Exception):
    """As Composed, but the counts agree, so that only the type of the argument tells."""

    def __init__(self, code: int) -> None:
        super().__init__(f"code {code}")
        self.code = code


class Annotated(Exception):
    pair: tuple[int, int]


class Careless(Exception):
    created = 0

    def __init__(self) -> None:
        type(self).created += 1
        super().__init__("x")


class OnDisk(OSError):
    pass


class OnTape(OSError):
    def __init__(self, reel: int) -> None:
        super().__init__(5, "torn")
        self.reel = reel


def annotated() -> Annotated:
    error = Annotated("x")
    error.pair = (1, 2)
    return error


def noted() -> Plain:
    error = Plain("x")
    error.add_note("by hand")
    return error


DECLARABLE = [
    *(Plain(), Plain("a", 1, None, [1, {"b": 2.5}]), WithModel(Detail(code=1, when=NOW))),
    *(
        AsDataclass(uuid.UUID(int=1), 2),
        AsDataclass(account=uuid.UUID(int=1)),
        Frozen(NOW, (1, "a")),
        Slotted((1, 2)),
    ),
    *(Composed(3, NOW), OneParameter(3), annotated(), noted(), ValueError("x"), KeyError("x")),
    *(
        OSError(2, "no such file", "a.txt"),
        OnDisk(2, "no such file"),
        OnTape(7),
        ImportError("x", name="mod", path="p"),
    ),
    UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad byte"),
]


def by_type(error: BaseException) -> str:
    return type(error).__name__


def state(error: BaseException) -> Any:
    slots = getattr(type(error), "__slots__", ())
    return error.args, vars(error), str(error), [getattr(error, name) for name in slots]


@pytest.mark.parametrize("error", DECLARABLE, ids=by_type)
def test_a_declared_error_comes_back_as_itself(error: Exception) -> None:
    codec = ErrorCodec((type(error), Plain))
    again = codec.decode(codec.encode(error))
    assert type(again) is type(error)
    assert state(again) == state(error)


def test_what_a_built_in_error_knows_comes_back() -> None:
    error = OnDisk(2, "no such file", "a.txt")
    codec = ErrorCodec((OnDisk, ImportError))
    again = codec.decode(codec.encode(error))
    assert isinstance(again, OnDisk)
    assert (again.errno, again.strerror, again.filename) == (2, "no such file", "a.txt")
    other = codec.decode(codec.encode(ImportError("x", name="mod")))
    assert isinstance(other, ImportError)
    assert other.name == "mod"


def test_its_constructor_is_not_called_again() -> None:
    codec = ErrorCodec((Careless,))
    error = Careless()
    assert isinstance(codec.decode(codec.encode(error)), Careless)
    assert Careless.created == 1


def unserializable() -> Exception:
    return Plain(object())


def uneven() -> Exception:
    return Plain((1, 2))  # a tuple, and no annotation says so


def uneven_inside() -> Exception:
    error = Plain("x")
    error.pair = (1, 2)  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
    return error


def of_the_same_name() -> Exception:
    error: Exception = type("Plain", (Exception,), {"__module__": Plain.__module__})("x")
    return error


def of_subclass() -> Exception:
    return SubPlain("x")


@pytest.mark.parametrize(
    "make", [unserializable, uneven, uneven_inside, of_subclass, of_the_same_name, lambda: ValueError("x")]
)
def test_all_else_comes_back_as_text(make: Callable[[], Exception]) -> None:
    codec = ErrorCodec((Plain,))
    with pytest.raises(Exception) as raised:
        raise make()
    again = codec.decode(codec.encode(raised.value))
    assert isinstance(again, RemoteError)
    assert (again.type_name, again.message) == (type(raised.value).__name__, str(raised.value))
    assert __file__ in again.traceback


def test_a_remote_error_stays_the_one_it_was() -> None:
    error = RemoteError("Odd", "message", "Traceback")
    codec = ErrorCodec()
    assert codec.decode(codec.encode(error)) == error
    assert summary(error) == error


@pytest.mark.parametrize("error", examples(), ids=by_type)
def test_errors_of_the_framework_come_back_as_themselves(error: ZartError) -> None:
    codec = ErrorCodec((ValueError,))
    again = codec.decode(codec.encode(error))
    assert again == error
    assert repr(again.__cause__) == repr(error.__cause__)


def test_the_errors_inside_are_declared_or_text_as_well() -> None:
    failed = StepFailed("charge", RetryExhausted("charge", 3, Composed(3, NOW)))
    declared = ErrorCodec((Composed,))
    again = declared.decode(declared.encode(failed))
    assert isinstance(again, StepFailed)
    assert isinstance(again.__cause__, Composed)
    assert again.__cause__.code == 3
    undeclared = ErrorCodec().decode(ErrorCodec().encode(failed))
    assert isinstance(undeclared, StepFailed)
    assert isinstance(undeclared.__cause__, RemoteError)
    assert undeclared.__cause__.message == "code 3"


def test_a_reader_needs_no_types_to_show_an_error() -> None:
    data = ErrorCodec((Composed,)).encode(StepBusinessError("charge", Composed(3, NOW)))
    shown = recorded_summary(data)
    assert shown.type_name == "StepBusinessError"
    assert "code 3" in shown.message
    plain = recorded_summary(ErrorCodec((Composed,)).encode(Composed(3, NOW)))
    assert (plain.type_name, plain.message) == ("Composed", "code 3")


def test_a_name_in_redis_never_loads_a_class() -> None:
    data = ErrorCodec((Plain,)).encode(Plain("x")).replace(b"test_error_codec.Plain", b"this_is_not_imported.X")
    assert b"this_is_not_imported" in data
    assert isinstance(ErrorCodec((Plain,)).decode(data), RemoteError)
    assert not any("this_is_not_imported" in name for name in sys.modules)


def test_an_error_whose_class_has_changed_is_still_an_error() -> None:
    data = ErrorCodec((Frozen,)).encode(Frozen(NOW, (1, "a"))).replace(b"\x92\x01\xa1a", b"\x92\xa1a\x01")
    again = ErrorCodec((Frozen,)).decode(data)
    assert isinstance(again, RemoteError)
    assert again.type_name == "Frozen"


@pytest.mark.parametrize(
    "record",
    [
        *(["unknown", "x"], ["zart", "NoSuchError", []], ["zart", "object", []], ["zart", "TimedOut", []]),
        *(
            ["zart", "TimedOut", ["a", "b"]],
            ["zart", "StepFailed", ["a", None]],
            ["remote", 1, 2, 3],
            None,
            3,
        ),
    ],
    ids=repr,
)
def test_what_is_unknown_is_an_error_and_never_a_success(record: Any) -> None:
    with pytest.raises(SerializationError):
        ErrorCodec().decode(msgspec.msgpack.encode(record))


def test_long_texts_are_shortened_in_the_middle() -> None:
    plain = summary(ValueError("start" + "é" * 100_000 + "end"))
    assert len(plain.message.encode()) <= 4096
    assert len(plain.traceback.encode()) <= 8192
    assert plain.message.startswith("start")
    assert plain.message.endswith("end")


def test_an_error_that_cannot_even_be_shown_is_recorded() -> None:
    class Silent(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no text")

    assert ErrorCodec((Silent,)).decode(ErrorCodec().encode(Silent())) == summary(Silent())
    assert summary(ValueError("\ud800")).message == "\\ud800"


def test_only_types_of_exceptions_can_be_declared() -> None:
    for wrong in ("ValueError", ValueError(), int, KeyboardInterrupt):
        with pytest.raises(InvalidInput, match="raises="):
            ErrorCodec((wrong,))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


scalars = st.none() | st.booleans() | st.integers(-9, 9) | st.floats() | st.text() | st.binary() | st.tuples(st.just(1))


@given(st.lists(scalars | st.lists(scalars)))
def test_every_error_can_be_encoded_and_is_the_same_or_text(args: list[Any]) -> None:
    codec = ErrorCodec((Plain,))
    error = Plain(*args)
    again = codec.decode(codec.encode(error))
    if isinstance(again, Plain):
        assert repr(again) == repr(error)
    else:
        assert again == summary(error)


@given(st.text(), st.integers(0), st.floats(0, 1e9))
def test_every_step_error_comes_back(step: str, attempts: int, seconds: float) -> None:
    codec = ErrorCodec()
    for error in (TimedOut(step, seconds), RetryExhausted(step, attempts, RemoteError("E", step))):
        again = codec.decode(codec.encode(error))
        assert again == error or isinstance(again, RemoteError)  # integers beyond 64 bits are told as text


@given(
    st.binary() | st.lists(st.sampled_from(["zart", "declared", "TimedOut", "", 1, [], {}])).map(msgspec.msgpack.encode)
)
def test_any_bytes_are_an_error_or_refused(data: bytes) -> None:
    with suppress(SerializationError):
        assert isinstance(ErrorCodec((Plain,)).decode(data), Exception)


# Notes, and errors that are too large


def with_notes(error: BaseException, *notes: str) -> Any:
    for note in notes:
        error.add_note(note)
    return error


@pytest.mark.parametrize(
    "error",
    [ValueError("plain"), Plain("declared"), TimedOut("a", 1.0), StepFailed("a", StepBusinessError("a", Plain("x")))],
)
def test_an_error_keeps_its_notes(error: Exception) -> None:
    codec = ErrorCodec((Plain,))
    with_notes(error, "one", "two")
    back = codec.decode(codec.encode(error))
    again = codec.decode(codec.encode(back))
    for each in (back, again, recorded_summary(codec.encode(error))):
        assert each.__notes__[-2:] == ["one", "two"]
    assert len(again.__notes__) == len(back.__notes__)


class LongNamed(Exception):
    pass


LongNamed.__name__ = LongNamed.__qualname__ = "L" * 5_000
LARGE: list[Exception] = [
    ValueError("x" * 100_000),
    ValueError("\N{SNOWMAN}" * 100_000),
    LongNamed("x"),
    with_notes(ValueError("x"), *("note" * 1_000 for _ in range(500))),
    Plain("x" * 100_000),
    InvalidInput("x" * 100_000),
    StepFailed("a", StepBusinessError("a", ValueError("x" * 100_000))),
    StepFailed("a", StepBusinessError("a", with_notes(Plain("x" * 100_000), "note" * 100_000))),
]


@pytest.mark.parametrize("limit", [300, 1_000, 20_000])
@pytest.mark.parametrize("error", LARGE, ids=lambda error: type(error).__name__[:20])
def test_an_error_is_cut_to_fit(error: Exception, limit: int) -> None:
    codec = ErrorCodec((Plain,))
    data = codec.encode(error, limit)
    assert len(data) <= limit
    back = codec.decode(data)
    assert type(back) is (type(error) if isinstance(error, ZartError) else RemoteError)


def test_a_declared_error_that_fits_is_not_cut() -> None:
    error = Plain("x" * 5_000)
    back = ErrorCodec((Plain,)).decode(ErrorCodec((Plain,)).encode(error, 50_000))
    assert type(back) is Plain
    assert back.args == error.args
