"""Fakes: functions that a harness runs in place of declared steps."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Mapping
from typing import Any

from zart_redis.errors import InvalidInput
from zart_redis.registry import StepDefinition, is_async
from zart_redis.steps import StepFunction, definition_of

Fakes = Mapping[Any, Callable[..., Any]]
"""Maps each step, given by the function or class that declares it, to the function that runs in its place."""


def fake_definitions(fakes: Fakes) -> dict[str, StepDefinition]:
    """What runs in place of each step, by the step's name. Its policies and types stay those of the step.

    Raises:
        InvalidInput: a key is not a step, or a fake does not take the arguments of its step.
    """
    found: dict[str, StepDefinition] = {}
    for step, fake in fakes.items():
        definition = definition_of(step)
        fn = fake.fn if isinstance(fake, StepFunction) else fake
        if not callable(fn):
            raise InvalidInput(f"the fake of step {definition.name!r} must be a function, not {fake!r:.100}")
        _check_parameters(definition, fn)
        found[definition.name] = dataclasses.replace(definition, fn=fn, is_async=is_async(fn))
    return found


def _check_parameters(step: StepDefinition, fake: Callable[..., Any]) -> None:
    """Check that the fake takes the arguments of the step, by position or, where necessary, by name."""
    expected = step.parameters.signature
    args, kwargs = [], {}
    for name, parameter in expected.parameters.items():
        if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD):
            args.append(name)
        elif parameter.kind is parameter.KEYWORD_ONLY:
            kwargs[name] = name
    try:
        given = inspect.signature(fake)
    except (TypeError, ValueError):
        return  # some builtins have no signature
    try:
        given.bind(*args, **kwargs)
    except TypeError as error:
        raise InvalidInput(
            f"the fake of step {step.name!r} takes {given}, where the step takes {expected}: {error}"
        ) from None
