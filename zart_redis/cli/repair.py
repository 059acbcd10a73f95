"""The commands that repair: retry-step, restart, rerun, purge, doctor. Irreversible ones ask for confirmation."""

from __future__ import annotations

import getpass
from typing import Annotated

import typer

from zart_redis.cli import output
from zart_redis.cli.command import client_command
from zart_redis.cli.options import AsJson, ExecutionId, read_json
from zart_redis.cli.running import Code, end
from zart_redis.client.scheduler import DurableScheduler
from zart_redis.durations import to_ms

Yes = Annotated[bool, typer.Option("--yes", "-y", help="Skip the confirmation.")]
Patterns = list[str] | None


@client_command
async def retry_step(
    client: DurableScheduler,
    id: ExecutionId,
    step: Annotated[str, typer.Argument(help="Name of the failed step.")],
    as_json: AsJson = False,
) -> None:
    """Resume a failed execution from a failed step. Everything else that is recorded is kept."""
    await client.retry_step(id, step, triggered_by=operator())
    output.echo_result({"execution_id": id, "step": step}, f"{id} resumes from {step}", as_json)


@client_command
async def restart(
    client: DurableScheduler,
    id: ExecutionId,
    data: Annotated[str | None, typer.Option(help="New input, as JSON. [default: the previous input]")] = None,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Begin a new run from scratch. A live run is cancelled; every run is kept as history."""
    payload = read_json(data, "--data")
    await _confirm_if_live(client, id, yes)
    number = await client.restart(id, payload, triggered_by=operator())
    output.echo_result({"execution_id": id, "run": number}, f"began run {number} of {id}", as_json)


@client_command
async def rerun(
    client: DurableScheduler,
    id: ExecutionId,
    step: Annotated[Patterns, typer.Option(help="Rerun these steps: a name or a pattern; repeatable.")] = None,
    preserve: Annotated[Patterns, typer.Option(help="Keep the results of these steps; repeatable.")] = None,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Begin a new run that keeps the recorded results of steps that need not run again. Failed steps always rerun."""
    await _confirm_if_live(client, id, yes)
    report = await client.rerun_steps(id, rerun=step or (), preserve=preserve or (), triggered_by=operator())
    lines = [f"began run {report.run} of {id}"]
    for title, names in (("run again", report.rerun), ("kept", report.preserved), ("may be stale", report.stale)):
        lines.append(f"  {title}: {', '.join(names) or 'none'}")
    output.echo_result(report, lines, as_json)


@client_command
async def purge(
    client: DurableScheduler,
    older_than: Annotated[str, typer.Option(help="Remove only what finished longer ago: 1h, 7d.")] = "0s",
    status: Annotated[
        str | None, typer.Option(help="Remove only this final status: completed, failed or cancelled.")
    ] = None,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Remove finished executions with everything they own, regardless of their retention."""
    age_ms = to_ms(older_than, what="--older-than")
    confirm(f"Remove every {status or 'finished'} execution that finished more than {older_than} ago?", yes)
    with output.spinner("purging", quiet=as_json):
        purged = await client.purge(older_than=age_ms / 1000, status=status)
    output.echo_result({"purged": purged}, f"removed {purged} executions", as_json)


@client_command
async def doctor(
    client: DurableScheduler,
    repair: Annotated[bool, typer.Option("--repair", help="Repair the problems found.")] = False,
    as_json: AsJson = False,
) -> Code:
    """Check the live Redis for lost or damaged work. Exits with 1 if it finds a problem and does not repair it."""
    with output.spinner("checking", quiet=as_json):
        findings = await client.doctor(repair=repair)
    lines = [f"{f.problem}: {f.subject} {f.detail}".rstrip() for f in findings]
    ending = ", repaired" if repair else ""
    count = "1 problem" if len(findings) == 1 else f"{len(findings) or 'no'} problems"
    lines.append(f"{count} found{ending if findings else ''}")
    output.echo_result(findings, lines, as_json)
    return Code.FAILED if findings and not repair else Code.DONE


def operator() -> str:
    """Who runs the command, for the history."""
    try:
        return f"{getpass.getuser()} (zart)"
    except (OSError, KeyError):
        return "zart"


def confirm(question: str, yes: bool) -> None:
    """Ask on the terminal unless `yes`; without a terminal, `--yes` is required."""
    if not yes and not typer.get_text_stream("stdin").isatty():
        end(f"{question} Confirm with --yes.", Code.USAGE, "confirmation_needed")
    if not yes and not typer.confirm(question, err=True):
        end("aborted; nothing was changed", Code.FAILED, "aborted")


async def _confirm_if_live(client: DurableScheduler, execution_id: str, yes: bool) -> None:
    if not (await client.status(execution_id)).status.is_final:
        confirm(f"{execution_id} is live. Cancel its run and begin a new one?", yes)
