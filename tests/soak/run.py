"""One run from beginning to end: servers and processes up, load and chaos, rest, and the verdict."""

from __future__ import annotations

import asyncio
import random
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

import zart_redis as zart
from tests.invariants import LASTING, violations
from tests.snapshot import take_snapshot
from tests.soak.chaos import PASSWORD, SECONDS_PER_FAULT, USER, Chaos, Fault, make_plan
from tests.soak.evidence import Evidence
from tests.soak.history import Acknowledged, Trace
from tests.soak.orders import make_order
from tests.soak.processes import VERSIONS, Producers, WorkerPool
from tests.soak.verdict import Check, judge, repeats
from tests.support.servers import RedisProcess, free_port

PREFIX = "{zart:0}:"
WARM_UP = 60
"""Executions before the base of memory is taken: what lasts, such as scripts and names of facets, is there then."""
MEMORY_AT_MOST = 1.05
SERVER_BYTES = 256 * 1024
"""What the server may keep for itself beyond the base: its tables, and the buffers of connections, grow under load."""
REST_SECONDS = 60
"""How long all may take to end once the chaos is over, at most."""
LONG = 120.0

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Setting:
    executions: int
    workers: int
    producers: int
    seconds: float
    appendfsync: str
    seed: int
    binary: Path
    faults: Mapping[Fault, int] = field(default_factory=dict)

    @property
    def may_lose(self) -> bool:
        return self.appendfsync != "always"

    @property
    def server_options(self) -> tuple[str, ...]:
        """Where power is cut the AOF is not rewritten: a cut in the middle of a rewrite can leave a file that is cut
        short and is not the last one, which Redis 7 does not load."""
        rewriting = ("--auto-aof-rewrite-percentage", "0") if Fault.POWER_CUT in self.faults else ()
        user = ("--user", USER, "on", f">{PASSWORD}", "~*", "&*", "+@all")
        return ("--appendfsync", self.appendfsync, *rewriting, *user)


def usual_faults(seconds: float, appendfsync: str) -> dict[Fault, int]:
    """Each at least once. Power is cut only where it can cost something: what is fsynced always stays."""
    counts = {fault: max(1, round(seconds / each)) for fault, each in SECONDS_PER_FAULT.items()}
    return {fault: n for fault, n in counts.items() if fault is not Fault.POWER_CUT or appendfsync != "always"}


@dataclass(frozen=True, slots=True)
class Report:
    checks: list[Check]
    faults: Mapping[Fault, int]
    notes: list[str]

    @property
    def passed(self) -> bool:
        return not any(check.wrong for check in self.checks)


async def soak(setting: Setting, say: Say) -> Report:
    """Everything is in a temporary folder, which stays if the verdict is bad."""
    folder = Path(tempfile.mkdtemp(prefix="zart-soak-"))
    with RedisProcess(setting.binary, port=free_port(), appendonly=True, options=setting.server_options) as server:
        async with _processes(server, folder) as (pool, producers):
            report = await _Run(setting, say, server, pool, producers, folder).run()
    if report.passed:
        shutil.rmtree(folder)
    else:
        say(f"history, traces and logs are left in {folder}")
    return report


@asynccontextmanager
async def _processes(server: RedisProcess, folder: Path) -> AsyncIterator[tuple[WorkerPool, Producers]]:
    url = f"redis://{USER}:{PASSWORD}@127.0.0.1:{server.port}"
    pool, producers = WorkerPool(url, folder), Producers(server.url, folder)
    try:
        yield pool, producers
    finally:
        await producers.close()
        await pool.close()


@dataclass
class _Run:
    setting: Setting
    say: Say
    server: RedisProcess
    pool: WorkerPool
    producers: Producers
    folder: Path

    async def run(self) -> Report:
        base = await self._base()
        began = time.monotonic()
        chaos = await self._load()
        checks = await self._settle(chaos)
        notes = [f"{self.setting.executions} executions in {time.monotonic() - began:.0f} s"]
        evidence = self._evidence(chaos)
        laws = Check("the laws hold at rest", len(evidence.snapshot.raw), violations(evidence.snapshot, at_rest=True))
        judged = judge(evidence, may_lose=self.setting.may_lose)
        checks = [*judged, laws, *checks, *await self._purged(base)]
        return Report(checks, Counter(chaos.done), [*notes, repeats(evidence)])

    async def _base(self) -> int:
        """A few executions of every shape have come and gone."""
        await self.pool.start(self.setting.workers)
        await self.producers.begin(1, self.setting.seed, -WARM_UP, 0, 0.5)
        await self.producers.have_sent()
        if unfinished := await self._rest():
            raise RuntimeError(f"not even without chaos does everything end: {unfinished}")
        await self.producers.have_ended()
        await self.pool.stop()
        self.producers.histories.clear()
        (self.folder / "traces").unlink()
        await self._purge()
        return self._used_memory()

    async def _load(self) -> Chaos:
        setting = self.setting
        rng = random.Random(setting.seed)
        chaos = Chaos(self.server, self.pool, rng)
        await self.pool.start(setting.workers)
        await self.producers.begin(setting.producers, setting.seed, 0, setting.executions, setting.seconds)
        async with asyncio.TaskGroup() as tasks:
            progress = tasks.create_task(self._progress(chaos))
            await chaos.carry_out(make_plan(rng, setting.seconds, setting.faults))
            await self.producers.have_sent()
            progress.cancel()
        return chaos

    async def _settle(self, chaos: Chaos) -> list[Check]:
        """Until nothing is left to do. What waits for an event that Redis has lost, or that was refused because of a
        cancel that it has lost, is offered it again: nobody else would."""
        offered = await self._offer_lost() if self.setting.may_lose else 0
        self.say(f"the chaos is over; {offered} events are offered again")
        await self.pool.start(len(VERSIONS))  # whatever the version of a run is, a pool can continue it
        unfinished = await self._rest()
        if not unfinished:
            await self.producers.have_ended()
        await self.pool.stop()
        async with zart.DurableScheduler(self.server.url) as scheduler:
            findings = [f"{finding.problem} {finding.subject} {finding.detail}" for finding in await scheduler.doctor()]
        return [
            Check("everything has come to rest", self.setting.executions, unfinished),
            Check("the doctor finds nothing", self.setting.executions, findings),
            Check("no entry, no consumer, no worker is left", self.setting.workers, self._left_in_streams()),
            Check(
                "processes ended as told", len(chaos.done), [f"exit code {code}" for code in self.pool.unexpected_exits]
            ),
        ]

    async def _rest(self) -> list[str]:
        """Wait until no execution is live. Answers those that are."""
        async with zart.DurableScheduler(self.server.url) as scheduler:
            deadline, said = time.monotonic() + REST_SECONDS, None
            while time.monotonic() < deadline:
                counts = (await scheduler.stats()).by_status
                if not any(count for status, count in counts.items() if not status.is_final):
                    return []
                if counts != said:
                    self.say(_counted(counts))
                said = counts
                await asyncio.sleep(0.5)
            return [
                f"{record.execution_id} is {status}: {(await scheduler.status(record.execution_id)).waiting_for}"
                for status in ("scheduled", "running", "waiting")
                for record in await scheduler.list_executions(status=status)
            ]

    async def _offer_lost(self) -> int:
        offered = 0
        async with zart.EventClient(self.server.url) as events:
            for number in range(self.setting.executions):
                order, _ = make_order(self.setting.seed, number)
                if order.event:
                    with suppress(zart.ExecutionNotFound, zart.ExecutionFinished):
                        answer = await events.offer_event(order.id, "go", order.payload)
                        offered += answer is not zart.EventDelivery.DUPLICATE
        return offered

    def _evidence(self, chaos: Chaos) -> Evidence:
        with self._connect() as client:
            snapshot = take_snapshot(client, PREFIX)
        acknowledged = list(Acknowledged.read(*self.producers.histories))
        traces = list(Trace.read(self.folder / "traces"))
        frozen, excused = self.pool.were_frozen, chaos.excused()
        return Evidence(acknowledged, traces, snapshot, chaos.redis_deaths, frozen, excused)

    def _left_in_streams(self) -> list[str]:
        with self._connect() as client:
            left = [f"worker {worker!r} has a lease" for worker in client.zrange(f"{PREFIX}workers", 0, -1)]
            for key in (f"{PREFIX}q:default", f"{PREFIX}b:default"):
                (group,) = client.xinfo_groups(key) or [{"pending": 0}]
                consumers = [consumer["name"] for consumer in client.xinfo_consumers(key, "zart")]
                if client.xlen(key) or group["pending"] or consumers:
                    left.append(f"{key}: {client.xlen(key)} entries, {group['pending']} pending, for {consumers}")
        return left

    async def _purge(self) -> None:
        async with zart.DurableScheduler(self.server.url) as scheduler:
            await scheduler.purge()

    async def _purged(self, base: int) -> list[Check]:
        """What is left when all executions are gone."""
        await self._purge()
        with self._connect() as client:
            names = [key.decode().removeprefix(PREFIX) for key in client.scan_iter(count=1000)]
        left = [name for name in names if name.partition(":")[0] not in LASTING]
        used = self._used_memory()
        ratio = f"{used / base:.2f} of the base of {base / 1e6:.2f} MB"
        is_back = used <= base * MEMORY_AT_MOST + SERVER_BYTES
        return [
            Check("no key outlives the executions", len(names), left),
            Check("memory is back at its base", 1, [] if is_back else [ratio], ratio),
        ]

    def _used_memory(self) -> int:
        """When the server has had the time to free what it frees beside its work, and without what it notes for its
        operators: statistics of each kind of command, and slow commands."""
        with self._connect() as client:
            used = [0]
            for _ in range(20):
                client.config_resetstat()
                client.slowlog_reset()
                client.acl_log_reset()  # it has an entry for each refused password
                client.memory_purge()
                used.append(int(client.info("memory")["used_memory"]))
                if used[-1] == used[-2]:
                    break
                time.sleep(0.5)
            return used[-1]

    async def _progress(self, chaos: Chaos) -> None:
        began = time.monotonic()
        while True:
            await asyncio.sleep(3)
            ended = await asyncio.to_thread(self._ended)
            self.say(f"{time.monotonic() - began:4.0f} s  ended: {ended}  faults: {len(chaos.done)}")

    def _ended(self) -> str:
        try:
            with self._connect() as client:
                return str(client.zcard(f"{PREFIX}expiring"))
        except redis.RedisError:
            return "Redis is away"

    def _connect(self) -> redis.Redis:
        retry = Retry(NoBackoff(), 0)
        return redis.Redis(unix_socket_path=str(self.server.socket), socket_timeout=LONG, retry=retry)


def _counted(counts: Mapping[zart.ExecutionStatus, int]) -> str:
    return ", ".join(f"{count} {status}" for status, count in counts.items())
