"""Unions that pydantic can tell apart are values."""

import subprocess
import sys
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import attrs
import msgspec
import pydantic
import pytest

from zart_redis.codec import codec_for
from zart_redis.errors import SerializationError


class Circle(pydantic.BaseModel):
    shape: Literal["circle"] = "circle"
    radius: int


class Square(pydantic.BaseModel):
    shape: Literal["square"] = "square"
    side: int


class Note(pydantic.BaseModel):
    text: str


@dataclass
class Plain:
    number: int


@dataclass
class AnotherPlain:
    number: int


class Packed(msgspec.Struct, rename="camel"):
    the_number: int


Shape = Annotated[Circle | Square, pydantic.Field(discriminator="shape")]


@dataclass(frozen=True)
class Drawing:
    shapes: list[Shape]
    title: Note | None
    packed: Packed | None = None
    count: int = field(init=False, default=0)


class Sheet(msgspec.Struct, rename="camel", tag="sheet", kw_only=True):
    main_shape: Circle | Note
    drawings: dict[str, Drawing] = {}


class Row(msgspec.Struct, array_like=True):
    shape: Shape
    note: Note | Circle | None = None


class AnotherPacked(msgspec.Struct):
    the_number: int


@attrs.define
class Frame:
    shape: Circle | Square


class Holder(pydantic.BaseModel):
    shape: Shape
    inner: Plain | Note


CIRCLE, SQUARE, NOTE = Circle(radius=1), Square(side=2), Note(text="n")
DRAWING = Drawing([SQUARE, CIRCLE], NOTE, Packed(3))


@pytest.mark.parametrize(
    ("type_", "value"),
    [
        (Circle | Note, NOTE),
        (Circle | Note, CIRCLE),
        (Shape, SQUARE),
        (Circle | Square, SQUARE),
        (Circle | Square | None, None),
        (Circle | Square | None, SQUARE),
        (Circle | int | str, 1),
        (Circle | int | str, "1"),
        (Circle | list[Note], [NOTE]),
        (Circle | Plain, Plain(1)),
        (Circle | Packed, Packed(1)),
        (list[Shape], [SQUARE, CIRCLE]),
        (list[Circle | Note | None], [NOTE, None, CIRCLE]),
        (dict[str, Circle | Square], {"a": SQUARE}),
        (tuple[Circle | Square, ...], (SQUARE, CIRCLE)),
        (tuple[int, Circle | Square], (1, SQUARE)),
        (Drawing, DRAWING),
        (list[Drawing], [DRAWING]),
        (Sheet, Sheet(main_shape=NOTE, drawings={"a": DRAWING})),
        (dict[str, Sheet | None], {"a": Sheet(main_shape=CIRCLE), "b": None}),
        (Row, Row(SQUARE, NOTE)),
        (list[Row], [Row(CIRCLE)]),
        (Frame, Frame(SQUARE)),
        (Holder, Holder(shape=SQUARE, inner=Plain(1))),
    ],
    ids=str,
)
def test_a_union_of_models_comes_back(type_: Any, value: Any) -> None:
    codec = codec_for(type_)
    data, once = codec.round_trip(value)
    for again in (once, codec.decode(data)):
        assert again == value
        assert type(again) is type(value)


def test_what_is_none_of_the_models_is_refused_and_not_shown() -> None:
    with pytest.raises(SerializationError) as refused:
        codec_for(Circle | Note).decode(codec_for(Any).encode({"radius": "s3cret"}))
    assert "s3cret" not in str(refused.value)


@pytest.mark.parametrize("type_", [Plain | AnotherPlain, list[Packed | AnotherPacked]], ids=str)
def test_a_union_without_models_that_nothing_tells_apart_is_refused(type_: Any) -> None:
    with pytest.raises(SerializationError, match="annotated"):
        codec_for(type_)


def test_pydantic_is_not_imported_for_it() -> None:
    code = "import sys, zart_redis.codec as c\nc.codec_for(list[int])\nassert 'pydantic' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
