"""Options shared by several commands, and how their values are read. `Settings` has the defaults."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
import typer

from zart_redis.errors import InvalidInput

RedisUrl = Annotated[
    str | None,
    typer.Option(help="URL of Redis. [default: ZART_REDIS_URL, then the embedded server of this folder]"),
]
Namespace = Annotated[
    str | None, typer.Option(help="Namespace of the application on that Redis. [default: ZART_NAMESPACE, then zart]")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
ExecutionId = Annotated[str, typer.Argument(metavar="ID", help="Id of the execution.")]
Queues = Annotated[
    list[str] | None,
    typer.Option("--queue", help="Queue to take work from; repeatable. [default: default]"),
]
App = Annotated[
    str | None,
    typer.Option(help="Module or package with the handlers. [default: `workers` in this folder]"),
]
Concurrency = Annotated[
    int | None, typer.Option(min=1, help="Maximum bodies and steps that a process runs at once. [default: 100]")
]
LogLevel = Annotated[
    str | None, typer.Option(help="Minimum level: debug, info, warning, error or critical. [default: info]")
]
LogFormat = Annotated[
    str | None, typer.Option(help="Format: json, console, or auto (console if stderr is a terminal). [default: auto]")
]

Tags = Annotated[
    list[str] | None, typer.Option(help="Only executions with this tag, as NAME=VALUE; repeatable: with all of them.")
]


def read_tags(texts: list[str] | None) -> dict[str, str] | None:
    """The tags of options NAME=VALUE.

    Raises:
        InvalidInput: one has no "=".
    """
    for text in texts or ():
        if "=" not in text:
            raise InvalidInput(f"--tag takes NAME=VALUE, such as customer=acme, not {text!r}")
    return dict(text.split("=", 1) for text in texts) if texts else None


def read_json(text: str | None, option: str) -> Any:
    """The value of an option that takes JSON, or None without the option.

    Raises:
        InvalidInput: the text is not valid JSON.
    """
    if text is None:
        return None
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError as error:
        raise InvalidInput(f"""{option} takes JSON, such as '{{"id": 1}}' or '"text"': {error}""") from None


def drop_none(**arguments: Any) -> dict[str, Any]:
    """The arguments without those that are None."""
    return {name: value for name, value in arguments.items() if value is not None}
