"""What is refused when a handler is declared."""

from collections.abc import Awaitable, Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Generic, Literal, NewType, NoReturn, TypedDict, TypeVar

import pytest

import zart_redis as zart
from zart_redis import zart_durable, zart_step

T = TypeVar("T")
Cents = NewType("Cents", int)


@dataclass
class Base: ...


@dataclass
class Derived(Base): ...


class Entry(TypedDict):
    name: str


def declare(output: Any, value: Any) -> None:
    async def body(data: int) -> Any: ...
    async def undo(data: int, failure: zart.Failure) -> Any: ...

    body.__annotations__["return"] = output
    undo.__annotations__["return"] = value
    zart_durable("compensated", on_failure=undo)(body)


@pytest.mark.parametrize(
    ("output", "value"),
    [
        (list[str], None),
        (str, int),
        (str, str | None),
        (list[str], list[int]),
        (dict[str, int], dict[str, str]),
        (tuple[int, int], tuple[int, int, int]),
        (Derived, Base),
        (Literal["a"], Literal["b"]),
        (int, Literal["a"]),
        (None, str),
        (Entry, str),
        (Annotated[int, "cents"], str),
    ],
)
def test_an_on_failure_whose_value_cannot_be_the_output_is_refused(output: Any, value: Any) -> None:
    with pytest.raises(zart.InvalidInput, match="the on_failure of task 'compensated' returns"):
        declare(output, value)


@pytest.mark.parametrize(
    ("output", "value"),
    [
        (None, None),
        (str, str),
        (Any, int),
        (int, Any),
        (object, str),
        (str, NoReturn),
        (float, int),
        (str | None, None),
        (str | int | None, int),
        (Base, Derived),
        (Sequence[str], list[str]),
        (list[Any], list[str]),
        (list, list[str]),
        (int, Cents),
        (str, Literal["a"]),
        (Literal["a", "b"], Literal["b"]),
        (tuple[int, ...], tuple[int, int]),
        (T, str),
        (dict[str, str], Entry),
        (Annotated[int, "cents"], int),
    ],
)
def test_one_whose_value_may_be_the_output_is_taken(output: Any, value: Any) -> None:
    declare(output, value)


def test_what_is_not_annotated_is_taken() -> None:
    async def body(data):  # type: ignore[no-untyped-def]
        ...

    async def undo(data, failure) -> int:  # type: ignore[no-untyped-def]
        return 1

    zart_durable("compensated", on_failure=undo)(body)


def test_a_plain_function_that_returns_an_awaitable_counts_as_what_it_awaits() -> None:
    async def body(data: int) -> str:
        return ""

    def undo(data: int, failure: zart.Failure) -> Awaitable[int]: ...  # type: ignore[empty-body]

    declared: Callable[..., Any] = zart_durable("compensated", on_failure=undo)
    with pytest.raises(zart.InvalidInput, match="returns int, which becomes the output, but the handler returns str"):
        declared(body)


def test_the_on_failure_of_a_class_counts_too() -> None:
    with pytest.raises(zart.InvalidInput, match="returns None, which becomes the output, but the handler returns str"):

        class Compensated(zart.DurableExecution[int, str]):
            async def run(self, data: int) -> str:
                return ""

            async def on_failure(self, data: int, failure: zart.Failure) -> None: ...


class Connection: ...


class Box(Generic[T]): ...


@pytest.mark.parametrize(
    "type_",
    [Connection, list[Connection], dict[str, Connection | None], Generator[int, None, None], Box[int]],
)
def test_what_cannot_be_recorded_is_refused_at_declaration(type_: Any) -> None:
    async def returns() -> Any: ...
    async def takes(data: Any) -> None: ...

    class AsClass(zart.ZartStep[Any]):
        async def run(self) -> Any: ...

    returns.__annotations__["return"] = type_
    takes.__annotations__["data"] = type_
    AsClass.run.__annotations__["return"] = type_
    with pytest.raises(zart.SerializationError, match="the result of step 'refused'"):
        zart_step("refused")(returns)
    with pytest.raises(zart.SerializationError, match="the output of task 'refused'"):
        zart_durable("refused")(returns)
    with pytest.raises(zart.SerializationError, match="the input of task 'refused'"):
        zart_durable("refused")(takes)
    with pytest.raises(zart.SerializationError, match="the result of step 'Derived'"):
        type("Derived", (AsClass,), {})


def test_an_annotation_of_what_comes_later_is_taken() -> None:
    async def returns(given: Connection) -> "Later":  # type: ignore[name-defined]  # noqa: F821
        ...

    zart_step("later")(returns)
