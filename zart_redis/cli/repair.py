"""The commands that repair: retry-step, restart, rerun, purge, doctor. What cannot be undone asks first."""

from __future__ import annotations

import getpass
from typing import Annotated

import typer

from zart_redis.cli import output
from zart_redis.cli.options import AsJson, ExecutionId, Namespace, RedisUrl, read_json
from zart_redis.cli.running import Code, end, run, scheduler

Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
Patterns = list[str] | None


def retry_step(
    id: ExecutionId,
    step: Annotated[str, typer.Argument(help="The step that failed.")],
    redis_url: RedisUrl = None,
    namespace: Namespace = None,
    as_json: AsJson = False,
) -> None:
    """Let a failed execution go on from a failed step. All else that is recorded stays."""

    async def action() -> Code:
        async with client:
            await client.retry_step(id, step, triggered_by=operator())
        output.tell({"execution_id": id, "step": step}, f"{id} goes on from {step}", as_json)
        return Code.DONE

    client = scheduler(redis_url, namespace)
    run(action())


def restart(
    id: ExecutionId,
    data: Annotated[str | None, typer.Option(help="Another input, as JSON; else the old one.")] = None,
    yes: Yes = False,
    redis_url: RedisUrl = None,
    namespace: Namespace = None,
    as_json: AsJson = False,
) -> None:
    """Begin a new run from nothing. A run that is live ends as cancelled; it is kept as history."""

    async def action() -> Code:
        payload = read_json(data, "--data")
        async with client:
            if not (await client.status(id)).status.is_final:
                confirm(f"{id} is live. Break its run off and begin a new one?", yes)
            number = await client.restart(id, payload, triggered_by=operator())
        output.tell({"execution_id": id, "run": number}, f"began run {number} of {id}", as_json)
        return Code.DONE

    client = scheduler(redis_url, namespace)
    run(action())


def rerun(
    id: ExecutionId,
    step: Annotated[Patterns, typer.Option(help="What runs again: a name or a pattern. Repeat it for several.")] = None,
    preserve: Annotated[Patterns, typer.Option(help="What is kept: likewise.")] = None,
    yes: Yes = False,
    redis_url: RedisUrl = None,
    namespace: Namespace = None,
    as_json: AsJson = False,
) -> None:
    """Begin a new run that keeps what is recorded and is not to run again. Failed steps always run again."""

    async def action() -> Code:
        async with client:
            if not (await client.status(id)).status.is_final:
                confirm(f"{id} is live. Break its run off and begin a new one?", yes)
            report = await client.rerun_steps(id, rerun=step or (), preserve=preserve or (), triggered_by=operator())
        lines = [f"began run {report.run} of {id}"]
        for title, names in (("run again", report.rerun), ("kept", report.preserved), ("may be stale", report.stale)):
            lines.append(f"  {title}: {', '.join(names) or 'none'}")
        output.tell(report, "\n".join(lines), as_json)
        return Code.DONE

    client = scheduler(redis_url, namespace)
    run(action())


def purge(
    older_than: Annotated[str, typer.Option(help="Only what ended longer ago: 1h, 7d.")] = "0s",
    status: Annotated[str | None, typer.Option(help="Only what ended so: completed, failed or cancelled.")] = None,
    yes: Yes = False,
    redis_url: RedisUrl = None,
    namespace: Namespace = None,
    as_json: AsJson = False,
) -> None:
    """Remove finished executions with all they own, whatever their retention."""

    async def action() -> Code:
        confirm(f"Remove every {status or 'finished'} execution that ended more than {older_than} ago?", yes)
        async with client:
            with output.spinner("purging", quiet=as_json):
                gone = await client.purge(older_than=older_than, status=status)
        output.tell({"purged": gone}, f"removed {gone} executions", as_json)
        return Code.DONE

    client = scheduler(redis_url, namespace)
    run(action())


def doctor(
    repair: Annotated[bool, typer.Option("--repair", help="Mend what is found.")] = False,
    redis_url: RedisUrl = None,
    namespace: Namespace = None,
    as_json: AsJson = False,
) -> None:
    """Check on the live Redis that nothing is lost. Exits with 1 if something was found."""

    async def action() -> Code:
        async with client:
            with output.spinner("examining", quiet=as_json):
                findings = await client.doctor(repair=repair)
        lines = [f"{f.ailment}: {f.subject} {f.detail}".rstrip() for f in findings]
        ending = ", mended" if repair else ""
        lines.append(f"{len(findings)} findings{ending}" if findings else "all is well")
        output.tell(findings, "\n".join(lines), as_json)
        return Code.FAILED if findings and not repair else Code.DONE

    client = scheduler(redis_url, namespace)
    run(action())


def operator() -> str:
    """Who is at the terminal, for the history."""
    try:
        return f"{getpass.getuser()} (zart)"
    except (OSError, KeyError):
        return "zart"


def confirm(question: str, yes: bool) -> None:
    """Ask, unless told not to. Where nobody can be asked, `--yes` is needed."""
    if not yes and not typer.get_text_stream("stdin").isatty():
        end(f"{question} Say --yes to do it.", Code.USAGE)
    if not yes and not typer.confirm(question, err=True):
        end("nothing was done")
