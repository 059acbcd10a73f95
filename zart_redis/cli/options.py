"""Options that several commands share, and how their values are read. All are optional: `Settings` knows the rest."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
import typer

from zart_redis.errors import InvalidInput

RedisUrl = Annotated[
    str | None,
    typer.Option(help="Where Redis is; else ZART_REDIS_URL, else the embedded server of this folder."),
]
Namespace = Annotated[str | None, typer.Option(help="Which application on that Redis; else ZART_NAMESPACE, else zart.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
ExecutionId = Annotated[str, typer.Argument(metavar="ID", help="The id of the execution.")]
Queues = Annotated[
    list[str] | None,
    typer.Option("--queue", help="A queue to take work from; repeat it for several. [default: default]"),
]
App = Annotated[
    str | None, typer.Option(help="The module or package of the handlers; else the package `workers` of this folder.")
]
Concurrency = Annotated[int | None, typer.Option(min=1, help="Bodies and steps at a time in a process. [default: 100]")]
LogLevel = Annotated[str | None, typer.Option(help="debug, info, warning, error or critical. [default: info]")]
LogFormat = Annotated[
    str | None, typer.Option(help="json, console, or auto: console where stderr is a terminal. [default: auto]")
]


def read_json(text: str | None, option: str) -> Any:
    """The value of an option that takes JSON; None if it was not given.

    Raises:
        InvalidInput: it is no JSON.
    """
    if text is None:
        return None
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError as error:
        raise InvalidInput(f"""{option} takes JSON, such as '{{"id": 1}}' or '"text"': {error}""") from None


def given(**arguments: Any) -> dict[str, Any]:
    """Those that were given."""
    return {name: value for name, value in arguments.items() if value is not None}
