"""Arguments travel by name, each by its own annotation."""

from __future__ import annotations

import functools
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypedDict, Unpack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zart_redis.codec import codec_for
from zart_redis.errors import SerializationError
from zart_redis.parameters import Parameters

if TYPE_CHECKING:
    from nowhere import Missing  # type: ignore[import-not-found]  # pyright: ignore[reportMissingImports]


@dataclass
class Order:
    id: int


class Options(TypedDict, total=False):
    size: tuple[int, int]


async def checkout(order: Order, /, count: int = 1, *more: Order, note: str = "", **extra: Order) -> Later:
    raise NotImplementedError


@dataclass
class Later:
    """Defined after the function that mentions it."""

    at: int


def test_every_kind_of_parameter_comes_back() -> None:
    parameters = Parameters(checkout)
    calls: list[tuple[tuple[Any, ...], dict[str, Any]]] = [
        ((Order(1),), {}),
        ((Order(1),), {"count": 2}),
        ((Order(1), 2, Order(3), Order(4)), {"note": "x", "a": Order(5)}),
    ]
    for args, kwargs in calls:
        data = parameters.encode(args, kwargs, "step 'checkout'")
        again_args, again_kwargs = parameters.decode(data)
        bound = parameters.bind(args, kwargs, "x").arguments
        assert parameters.bind(again_args, again_kwargs, "x").arguments == bound


def test_defaults_are_not_recorded() -> None:
    data = Parameters(checkout).encode((Order(1),), {}, "step")
    assert codec_for(Any).decode(data) == {"order": {"id": 1}}


def test_what_is_returned_has_a_codec() -> None:
    assert Parameters(checkout).returns.type is Later
    assert Parameters(lambda: 1).returns.type is Any


def test_a_wrong_call_is_a_type_error() -> None:
    with pytest.raises(TypeError, match=r"^step 'checkout': missing a required argument: 'order'"):
        Parameters(checkout).encode((), {}, "step 'checkout'")


def test_a_wrong_argument_is_named() -> None:
    with pytest.raises(SerializationError, match=r"^step 'checkout', argument 'count': this str "):
        Parameters(checkout).encode((Order(1), "two"), {}, "step 'checkout'")


def test_a_local_class_is_found_where_the_function_sees_it() -> None:
    @dataclass
    class Local:
        id: int

    def step(value: Local) -> Local:
        return Local(value.id)

    parameters = Parameters(step)
    assert parameters.returns.type is Local
    assert parameters.decode(parameters.encode((Local(1),), {}, "step"))[0] == (Local(1),)


def test_what_cannot_be_resolved_counts_as_any_and_the_rest_is_kept() -> None:
    def step(missing: Missing, order: Order) -> None: ...

    parameters = Parameters(step)
    args = ([1], Order(2))
    assert parameters.decode(parameters.encode(args, {}, "step"))[0] == args
    with pytest.raises(SerializationError, match="dict"):
        parameters.encode((Order(1), Order(2)), {}, "step")


def test_callables_of_all_sorts_have_parameters() -> None:
    class Callable:
        def __call__(self, order: Order) -> Order:
            return order

        def method(self, order: Order) -> Order:
            return order

    for fn in (Callable(), Callable().method, functools.partial(Callable.method, Callable())):
        parameters = Parameters(fn)
        assert parameters.returns.type is Order
        assert parameters.decode(parameters.encode((Order(1),), {}, "step"))[0] == (Order(1),)


def test_options_of_an_unpacked_dict_come_back() -> None:
    def step(**options: Unpack[Options]) -> None: ...

    parameters = Parameters(step)
    assert parameters.decode(parameters.encode((), {"size": (1, 2)}, "step")) == ((), {"size": (1, 2)})


def test_a_function_that_changed_since_is_told() -> None:
    def old(a: int, b: int) -> None: ...
    def without_b(a: int) -> None: ...
    def with_c(a: int, b: int, c: int) -> None: ...

    data = Parameters(old).encode((1, 2), {}, "step")
    with pytest.raises(SerializationError, match="'b'"):
        Parameters(without_b).decode(data)
    with pytest.raises(SerializationError, match="'c'"):
        Parameters(with_c).decode(data)


@given(
    st.binary()
    | st.dictionaries(st.sampled_from(["order", "count", "x"]), st.integers(0, 9)).map(codec_for(Any).encode)
)
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    with suppress(SerializationError):
        Parameters(checkout).decode(data)
