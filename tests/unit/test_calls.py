"""The call of a step outside of any execution: it warns if it is never used, and is no value."""

import asyncio
import copy
import gc
import operator
import subprocess
import sys
import warnings
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest

import zart_redis as zart
from zart_redis import ZartStep, zart_step


@zart_step("say-{word}")
async def say(word: object) -> Any:
    return word


class Spoken(ZartStep[str]):
    name = "spoken"

    async def run(self) -> str:
        return "word"


def dropped(make: Callable[[], object]) -> list[warnings.WarningMessage]:
    """The warnings for what `make` leaves behind."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        make()
        gc.collect()
    return caught


def chained() -> None:
    say("a").named("b")


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda: say("a"), "say-a"),
        (chained, "b"),
        (lambda: Spoken().named("c"), "c"),
        (lambda: zart.run("d", str), "d"),
    ],
)
def test_a_call_that_is_never_used_warns_with_its_name_and_place(make: Callable[[], object], name: str) -> None:
    (warning,) = dropped(make)
    assert warning.category is RuntimeWarning
    assert str(warning.message) == f"the call of step {name!r} was never awaited"
    assert warning.filename == __file__
    assert warning.lineno == make.__code__.co_firstlineno + (make is chained)


def closed() -> None:
    say("a").close()


def thrown() -> None:
    with pytest.raises(ZeroDivisionError):
        say("a").throw(ZeroDivisionError())


def begun() -> None:
    with pytest.raises(zart.NoExecutionContext):
        say("a").send(None)


def passed() -> None:
    for use in (zart.step, zart.require, lambda call: zart.step_or(call, 1), lambda call: zart.step_or_else(call, str)):
        made: Coroutine[Any, Any, Any] = use(say("a"))
        made.close()


def scheduled() -> None:
    with pytest.raises(zart.NoExecutionContext):
        zart.schedule(say("a"))


def renamed() -> None:
    say("a").named("b").close()


@pytest.mark.parametrize("use", [closed, thrown, begun, passed, scheduled, renamed], ids=lambda use: use.__name__)
def test_a_call_that_is_used_does_not_warn(use: Callable[[], None]) -> None:
    assert dropped(use) == []


def test_nothing_is_said_while_the_interpreter_shuts_down() -> None:
    code = "import zart_redis as zart\n@zart.zart_step\ndef f(): ...\nkept = f()\n"
    ended = subprocess.run([sys.executable, "-W", "always", "-c", code], capture_output=True, timeout=60, check=True)
    assert ended.stderr == b""


VALUE_USES: dict[str, Callable[[Any], object]] = {
    "add": lambda call: call + 1,
    "radd": lambda call: 1 + call,
    "sum": lambda call: sum([call]),
    "concatenate": lambda call: [1] + call,  # noqa: RUF005
    "compare": lambda call: call > 1,
    "order": lambda call: max(say("b"), call),
    "equal": lambda call: call == 1,
    "unequal": lambda call: call != "a",
    "truth": lambda call: "yes" if call else "no",
    "iterate": list,
    "unpack": lambda call: [*call],
    "length": len,
    "item": lambda call: call["key"],
    "contains": lambda call: 1 in call,
    "format": lambda call: f"{call}",
    "int": int,
    "index": operator.index,
    "argument": lambda call: say(call),
    "keyword": lambda call: say(word=call),
}


@pytest.mark.parametrize("use", VALUE_USES.values(), ids=VALUE_USES)
@pytest.mark.filterwarnings("ignore:the call of step 'say-b'")
def test_a_call_used_as_a_value_asks_for_the_await(use: Callable[[Any], object]) -> None:
    with pytest.raises(TypeError, match=r"the call of step 'say-a'.* did you forget await\?"):
        use(say("a"))


def test_an_attribute_of_the_value_asks_for_the_await() -> None:
    call: Any = say("a")
    with pytest.raises(AttributeError, match=r"'say-a' has no attribute 'id': did you forget await\?"):
        call.id
    call.close()


def test_calls_have_identity_as_coroutines_do() -> None:
    one, other = say("a"), say("a")
    assert one == one
    assert one != other
    assert len({one, other, one}) == 2
    assert repr(one) == "<StepCall 'say-a'>"
    copy.copy(one).close()
    one.close()
    other.close()


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    loop = asyncio.new_event_loop()
    yield loop
    loop.close()


def test_a_call_is_awaited_once(loop: asyncio.AbstractEventLoop) -> None:
    async def twice() -> None:
        call = say("a")
        with pytest.raises(zart.NoExecutionContext):
            await call
        await call

    with pytest.raises(RuntimeError, match="cannot await the call of step 'say-a' again"):
        loop.run_until_complete(twice())


def test_asyncio_takes_a_call_for_a_coroutine() -> None:
    call = say("a")
    assert asyncio.iscoroutine(call)
    assert isinstance(call, Coroutine)
    call.close()
