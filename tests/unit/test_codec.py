"""Values come back equal and of the same type, or are refused by name."""

import dataclasses
import enum
import ipaddress
import json
import math
import subprocess
import sys
import uuid
from collections import OrderedDict
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, TypedDict

import attrs
import msgspec
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zart_redis.codec import Codec, check_type, codec_for
from zart_redis.difference import difference
from zart_redis.errors import SerializationError

NOW = datetime(2024, 2, 29, 12, 30, tzinfo=UTC)


class Colour(enum.Enum):
    RED = "red"


class Level(enum.IntEnum):
    HIGH = 1


@dataclasses.dataclass
class Item:
    name: str
    price: Decimal


@dataclasses.dataclass
class SpecialItem(Item):
    discount: float = 0.0


@dataclasses.dataclass(frozen=True)
class Order:
    id: uuid.UUID
    items: list[Item]
    when: datetime
    tags: frozenset[str] = frozenset()
    size: tuple[int, int] = (1, 2)


@dataclasses.dataclass(eq=False)
class Identity:
    number: int
    parts: tuple[int, ...] = ()


@dataclasses.dataclass
class Lossy:
    kept: int
    total: int = dataclasses.field(default=0, init=False)

    def __post_init__(self) -> None:
        self.total = self.kept + 1


class Movie(TypedDict, total=False):
    title: str
    year: int


class Point(NamedTuple):
    x: int
    y: float


@attrs.define
class Pet:
    name: str
    born: date


class Shape(msgspec.Struct):
    sides: int
    colour: Colour


class Address(pydantic.BaseModel):
    street: str
    since: datetime


class Person(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(strict=True, extra="forbid", frozen=True)

    id: uuid.UUID
    home: Address
    full_name: str = pydantic.Field(alias="fullName")
    balance: Decimal = Decimal("1.50")
    tags: set[str] = set()
    pair: tuple[int, str] = (1, "a")
    photo: bytes = b"\xff"
    folder: Path = Path("/srv")
    site: pydantic.HttpUrl | None = None
    host: ipaddress.IPv4Address | None = None
    more: Any = None

    @pydantic.computed_field
    def initial(self) -> str:
        return self.full_name[:1]


class Names(pydantic.RootModel[list[str]]):
    pass


@dataclasses.dataclass
class Household:
    head: Person
    others: dict[str, Person | None]


def person(**fields: Any) -> Person:
    return Person(id=uuid.UUID(int=7), home=Address(street="Elm", since=NOW), fullName="Ann", **fields)


# What comes back


@pytest.mark.parametrize(
    ("value", "type_"),
    [
        *((value, Any) for value in (None, True, 0, -(2**63), 2**64 - 1, 1.5, -0.0, math.inf, "é", "", b"\x00")),
        *((value, Any) for value in ([1, [2.0, None]], {"a": {"b": [True]}}, {1: "a", "b": 2}, {(1, 2): 3}, [], {})),
        *((1, int), ("x", str), ("x", str | None), (None, int | None), (1, int | float), (1.0, int | float)),
        *(
            ((1, "a"), tuple[int, str]),
            ({1, 2}, set[int]),
            (frozenset("a"), frozenset[str]),
            ((), tuple[int, ...]),
        ),
        *(
            (NOW, datetime),
            (NOW, Any),
            (datetime(2024, 1, 1), datetime),
            (date(2024, 1, 1), date),
            (time(1, 2), time),
        ),
        *(
            (timedelta(days=-3, microseconds=1), timedelta),
            (uuid.UUID(int=7), uuid.UUID),
            (Decimal("1.50"), Decimal),
        ),
        *((Colour.RED, Colour), (Level.HIGH, Level), ({Colour.RED: [Level.HIGH]}, dict[Colour, list[Level]])),
        *(
            (bytearray(b"x"), bytearray),
            ("a", Literal["a", "b"]),
            ({"title": "Jaws"}, Movie),
            (Point(1, 2.0), Point),
        ),
        (Order(uuid.UUID(int=7), [Item("a", Decimal("0.10"))], NOW, frozenset("x"), (3, 4)), Order),
        *((Lossy(3), Lossy), (Pet("Rex", date(2020, 1, 1)), Pet), (Shape(3, Colour.RED), Shape)),
        *((person(), Person), (None, Person | None), ([person()], list[Person]), (Names(["a"]), Names)),
        (Household(person(tags={"x"}), {"a": person(), "b": None}), Household),
    ],
    ids=repr,
)
def test_a_value_comes_back_equal_and_of_the_same_type(value: Any, type_: Any) -> None:
    codec = codec_for(type_)
    data, again = codec.round_trip(value, "step 'charge'")
    for decoded in (again, codec.decode(data)):
        assert decoded == value
        assert type(decoded) is type(value)
        assert difference(value, decoded) is None


def test_the_recorded_bytes_can_be_read_without_the_type() -> None:
    data = codec_for(Person).encode(person())
    assert codec_for(Any).decode(data)["home"]["street"] == "Elm"


def test_what_comes_back_is_not_the_same_object() -> None:
    value = [1]
    assert codec_for(Any).round_trip(value)[1] is not value


def test_an_int_where_a_float_is_annotated_comes_back_a_float() -> None:
    _, again = codec_for(dict[str, float]).round_trip({"a": 1})
    assert type(again["a"]) is float


def test_not_a_number_comes_back() -> None:
    for type_, value in (
        (Any, math.nan),
        (float, math.nan),
        (list[float], [math.nan]),
        (Decimal, Decimal("NaN")),
    ):
        codec_for(type_).round_trip(value)


def test_objects_without_equality_are_compared_by_their_fields() -> None:
    _, again = codec_for(Identity).round_trip(Identity(3, (1, 2)))
    assert (again.number, again.parts) == (3, (1, 2))


def test_fields_that_only_pydantic_knows_come_back() -> None:
    value = person(site="https://a.b/c", host=ipaddress.IPv4Address("127.0.0.1"))
    assert codec_for(Person).round_trip(value)[1] == value


# What is refused


class Text(str):
    pass


@pytest.mark.parametrize(
    ("value", "type_", "how"),
    [
        *(((1, 2), Any, "tuple would become list"), ({1}, Any, "set would become list")),
        *(
            (NOW.replace(tzinfo=None), Any, "datetime would become str"),
            (uuid.UUID(int=7), Any, "UUID would become str"),
        ),
        *((Level.HIGH, Any, "Level would become int"), (Level.HIGH, int, "Level would become int")),
        *((Item("a", Decimal(1)), Any, "Item would become dict"), (Text("x"), str, "Text would become str")),
        (SpecialItem("a", Decimal(1)), Item, "SpecialItem would become Item"),
        (OrderedDict(a=1), Any, "OrderedDict would become dict"),
        ({"a": [{"b": (1,)}]}, Any, r"at \['a'\]\[0\]\['b'\], tuple would become list"),
        ({frozenset([1]): 1}, Any, "at key frozenset.*, frozenset would become tuple"),
        (Identity(1, [1]), Identity, r"at \.parts, list would become tuple"),  # type: ignore[arg-type]
        ({True}, set[int], "got `bool`"),
        ({"title": "Jaws", "stars": 5}, Movie, "items would be lost"),
        *(
            (True, int, "got `bool`"),
            (1.0, int, "got `float`"),
            ("1", int, "got `str`"),
            (2**53 + 1, float, "would"),
        ),
        *((2**64, int, r"2\*\*64"), (-(2**63) - 1, Any, r"2\*\*63"), ("\ud800", str, "surrogates")),
        *((object(), Any, "object"), (lambda: 1, Any, "function"), ((n for n in "a"), Any, "generator")),
        *((Decimal("sNaN"), Decimal, "InvalidOperation"), (1 + 2j, complex, "complex")),
        *(
            (person(more=(1,)), Person, r"at \.more, tuple"),
            (person(more=Level.HIGH), Person, r"at \.more, Level"),
        ),
        (person().model_dump(round_trip=True), Person, "dict would become Person"),
    ],
    ids=lambda value: repr(value).split(" at 0x")[0][:40],
)
def test_what_would_come_back_different_is_refused_by_name(value: Any, type_: Any, how: str) -> None:
    with pytest.raises(SerializationError, match=f"^step 'charge': .*{how}"):
        codec_for(type_).round_trip(value, "step 'charge'")


def test_cycles_and_bottomless_nesting_are_refused() -> None:
    cycle: list[Any] = []
    cycle.append(cycle)
    deep: list[Any] = []
    for _ in range(300):
        deep = [deep]
    for value in (cycle, deep):
        with pytest.raises(SerializationError) as refused:
            codec_for(Any).round_trip(value, "step 'charge'")
        assert len(str(refused.value)) < 500


def test_a_model_is_refused_that_would_lose_private_attributes() -> None:
    class Counter(pydantic.BaseModel):
        _count: int = 0

    counter = Counter()
    counter._count = 3
    with pytest.raises(SerializationError, match="private"):
        codec_for(Counter).round_trip(counter)


def test_a_hidden_secret_is_refused_and_not_shown() -> None:
    class Login(pydantic.BaseModel):
        password: pydantic.SecretStr

    with pytest.raises(SerializationError) as refused:
        codec_for(Login).round_trip(Login(password=pydantic.SecretStr("s3cret")))
    with pytest.raises(SerializationError) as misread:
        codec_for(Person).decode(codec_for(Any).encode({"id": "s3cret"}))
    assert "s3cret" not in str(refused.value) + str(misread.value)


@pytest.mark.parametrize("type_", [Item | Lossy, "Forward", datetime | str, 3], ids=str)
def test_an_annotation_that_nothing_can_be_read_by_is_refused(type_: Any) -> None:
    with pytest.raises(SerializationError, match="annotated"):
        codec_for(type_)


def test_a_wrong_input_is_told_before_it_is_written() -> None:
    check_type(Item("a", Decimal(1)), Item)
    with pytest.raises(SerializationError, match=r"^input of task 'checkout': this str .* Item"):
        check_type("order-1", Item, "input of task 'checkout'")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        *(
            (1, True),
            (1.0, 1),
            (1, 2),
            ([1], [2]),
            ({"a": 1}, {"b": 1}),
            ({1}, {2}),
            ({1}, {True}),
            ({1.0}, {1}),
        ),
        *(([1], [1, 2]), ({"a": 1, "b": 2}, {"b": 2, "a": 1}), (Shape(3, Colour.RED), Shape(4, Colour.RED))),
    ],
    ids=repr,
)
def test_a_difference_is_found_where_equality_may_not_see_it(one: Any, other: Any) -> None:
    assert difference(one, other) is not None
    assert difference([{"a": one}], [{"a": other}]) is not None


# How it is used


def test_a_codec_is_made_once_for_each_annotation() -> None:
    assert codec_for(list[int]) is codec_for(list[int])
    assert codec_for(None) is codec_for(Any)
    assert repr(codec_for(list[int])) == "Codec(list[int])"
    assert codec_for(type(None)).decode(b"\xc0") is None
    unhashable = Annotated[int, msgspec.Meta(extra_json_schema={"a": 1}), []]
    assert codec_for(unhashable).round_trip(3)[1] == 3


def test_pydantic_is_not_needed() -> None:
    program = """
import sys
sys.modules["pydantic"] = sys.modules["pydantic_core"] = None
import json
from typing import Any
from zart_redis.codec import codec_for
from zart_redis.errors import SerializationError
assert codec_for(Any).round_trip({"a": [1]})[1] == {"a": [1]}
try:
    codec_for(Any).round_trip(object(), "step 'charge'")
except SerializationError as error:
    print(json.dumps(str(error)))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout).startswith("step 'charge': this object cannot be recorded")


# For every value


plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats()
    | st.text(st.characters(exclude_categories=["Cs"]))
    | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text("abc") | st.integers(0, 9), inner),
)
orders = st.builds(
    Order,
    items=st.lists(st.builds(Item, st.text("abc"), st.decimals(allow_nan=False))),
    when=st.datetimes(timezones=st.none() | st.just(UTC)),
    tags=st.frozensets(st.text("abc")),
    size=st.tuples(st.integers(-9, 9), st.integers(-9, 9)),
)


@given(plain)
def test_every_plain_value_comes_back(value: Any) -> None:
    data, again = codec_for(Any).round_trip(value)
    assert difference(value, again) is None
    assert difference(value, codec_for(Any).decode(data)) is None


@given(orders)
def test_every_order_comes_back(order: Order) -> None:
    assert codec_for(Order).round_trip(order)[1] == order


@given(st.recursive(st.integers(0, 1) | st.booleans() | st.just(1.0), lambda x: st.lists(x) | st.tuples(x, x)))
def test_the_same_means_equal_and_of_one_type_throughout(value: Any) -> None:
    again = codec_for(Any).decode(codec_for(Any).encode(value))
    assert (difference(value, again) is None) == (repr(value) == repr(again))


@given(
    st.binary() | plain.map(codec_for(Any).encode),
    st.sampled_from([Any, int, Order, Person, list[Item], Shape]),
)
def test_any_bytes_are_read_or_refused(data: bytes, type_: Any) -> None:
    codec: Codec[Any] = codec_for(type_)
    try:
        codec.decode(data, "step 'charge'")
    except SerializationError as error:
        assert str(error).startswith("step 'charge': ")
