"""The keys and channels of a partition."""

from __future__ import annotations

import string
from zlib import crc32

from zart_redis.layout.kinds import Lane
from zart_redis.layout.name import StoredName


class Template(StoredName):
    """Text that begins with a partition's prefix, with parameters in braces."""

    @property
    def parameters(self) -> tuple[str, ...]:
        return tuple(name for _, name, _, _ in string.Formatter().parse(self.value) if name)

    def of(self, prefix: str, *arguments: object) -> str:
        """With the prefix of a partition, and its parameters in their places."""
        return prefix + self.value.format(**dict(zip(self.parameters, arguments, strict=True)))


class Key(Template):
    """Keys of a partition; behind each its type."""

    EXECUTION = "x:{id}"
    """hash: the execution, see `Field`."""
    RECORDS = "r:{id}:{scope}"
    """hash: name -> record, see `Record`."""
    STEPS = "c:{id}:{scope}"
    """hash: name -> scheduled step that has not ended, see `StepField`."""
    DROPPED_STEPS = "d:{id}:{scope}:{number}"
    """hash: scheduled steps that are removed in batches, see `Timer.DROPPED`; the empty name holds the queue."""
    EVENTS = "e:{id}:{run}"
    """hash: name -> event, see `Size.EVENT_HEADER`."""
    WAITS = "w:{id}"
    """sorted set: what will end by itself of what the body waits for, by due time, see `Wait`."""
    NEWS = "n:{id}"
    """list: what others have completed while a worker holds or keeps the body: number, letter of `News`, name."""
    GROUPS = "g:{id}"
    """hash: groups of scheduled steps that a pass waits for, see `GroupField`."""
    HISTORY = "h:{id}"
    """hash: earlier runs, run -> packed list of `Field` names and values."""
    ATTEMPTS = "a:{id}:{scope}"
    """list: the newest attempts that failed and were followed by another."""
    EMITTERS = "o:{id}:{scope}"
    """hash: step -> its newest attempt that has emitted, how many items, and the streams that it has written to."""
    STREAM = "v:{id}:{stream}"
    """stream: what has been emitted, by the number of the stream, see `ItemField`."""
    STREAMS = "v:{id}:streams"
    """hash: name of a stream -> its number; the empty name holds the newest number."""
    VALUES = "v:{id}:values"
    """hash: what was set last, by its key."""
    MAILBOX = "m:{id}:state"
    """hash: numbers of the mailbox, which belongs to the id and outlives its runs; see `MailboxField`."""
    MESSAGES = "m:{id}:messages"
    """sorted set: messages that have not been received, all with score 0: channel, separator, number, payload."""
    RECEIVERS = "m:{id}:receivers"
    """sorted set: the waits for a message of the present body, all with score 0: channel, separator, number, name."""
    MESSAGE_IDS = "m:{id}:ids"
    """sorted set: what identifies the messages that were sent, by the time in ms until when it is kept."""
    QUEUE = "q:{queue}"
    """stream: new work, see `Entry`. Entries are deleted as they are acknowledged."""
    RETURNED = "b:{queue}"
    """stream: work that dead or stopping workers gave back; read first."""
    SUSPECTS = "s:{queue}"
    """stream: work that may have taken its worker down; read by quarantine processes only."""
    HANDED = "u:{queue}"
    """stream: work that its worker has taken out of `UNSERVED`."""
    INDEX = "i:{status}:{bucket}"
    """sorted set: ids by time of creation; each execution is in exactly one."""
    TAG = "tag:{tag}:{value}"
    """sorted set: ids by time of creation that have a tag of this value."""
    BUCKETS = "buckets"
    """hash: JSON of `[task, queue]`, or of `[task, queue, version]` for runs that are bound to a version -> number."""
    IDS = "ids"
    """sorted set: all ids, in lexical order."""
    TIMERS = "timers"
    """sorted set: what is due when, see `Timer`."""
    EXPIRING = "expiring"
    """sorted set: finished executions by the end of their retention."""
    QUEUES = "queues"
    """set: queues that were ever read."""
    WORKERS = "workers"
    """sorted set: workers by the end of their lease."""
    WORKER_INFO = "worker_info"
    """hash: worker -> JSON of what it runs, and of its layout version."""
    HEARTBEATS = "heartbeats"
    """hash: when workers were last heard, see `HeartbeatField`."""
    REJOINED = "rejoined"
    """sorted set: workers that came back after their work had been reclaimed, by when they did; kept for a day."""
    TRACED = "traced"
    """sorted set: dead workers whose death was traced to a suspect, which clears what died with it; kept for a day."""
    PAUSE_RULES = "pause_rules"
    """hash: pause rules, id -> JSON, see `RuleField`."""
    PAUSED = "paused:{rule}"
    """sorted set: what a pause rule holds, named as by timers: `x<id>`, `s<json>`."""
    HELD = "held"
    """hash: what is held because it needs other code, named as by timers -> the code that cannot run it."""
    UNSERVED = "unserved:{bucket}:{version}"
    """sorted set: what waits for a worker of a version, "0" for any, by time; named as by timers."""
    UNSERVED_KINDS = "unserved"
    """hash: "<bucket>:<version>" of each such set -> JSON of `[task, queue, version]`."""
    LIMITS = "limits"
    """hash: the numbers of limits, see `LimitField`."""
    COUNTERS = "counters"
    """set: counters that have slots taken, or a line."""
    SLOTS = "slots:{counter}"
    """sorted set: who holds a slot of a counter, since when; named as by timers."""
    LINE = "line:{counter}"
    """sorted set: who waits for a slot of a counter, in order of arrival; named as by timers."""
    RATES = "rates"
    """sorted set: counters with a rate, each by the time at which it would be as if unused."""
    RECURRING = "t:{recurring}"
    """hash: a recurring execution, see `RecurringField`."""
    RECURRING_IDS = "recurring"
    """set: the ids of recurring executions."""
    MAIL = "mail"
    """hash: what must reach other executions, number -> packed map, see `MailField`; the empty name holds the newest
    number."""
    CANCELLED_STARTS = "cancelled_starts"
    """sorted set: starts of children, as `Field.PARENT` names them, that were cancelled before they came, by the time
    in ms until when that is kept."""
    DAMAGED = "damaged"
    """hash: executions set aside because they could not be read -> why."""
    PURGED_EPOCH = "purged_epoch"
    """string: the highest epoch among purged executions; an id that is used again begins above it."""
    TOKENS = "tokens"
    """hash: tokens of the HTTP API, in partition 0: name -> JSON, see `client.tokens`."""
    SESSION = "session:{digest}"
    """string: a session of the HTTP API, in partition 0: JSON of the name and the digest of its token."""
    META = "meta"
    """hash: in partition 0, see `Meta`."""
    OOM_PROBE = "__oom_probe"
    """never written: what it is used for makes Redis check its memory."""


class Channel(Template):
    """Channels of a partition. A message is a hint: a listener that missed one looks for itself."""

    DONE = "done:{id}"
    """The final status of an execution."""
    STREAM = "stream:{id}"
    """The name of a stream to which the execution has emitted."""
    WORKER = "worker:{worker}"
    """`Signal` and an entry that the worker holds."""
    TIMERS = "timers"
    """When the first timer is due, if that has become sooner."""
    PAUSE_RULES = "pause_rules"
    """A pause rule was added or removed."""
    SUSPECTS = "suspects"
    """There is work that only a quarantine process may run: the name of its queue."""
    UNSERVED = "unserved"
    """An execution waits for a worker of another version: JSON of `[task, queue, version]`."""


def prefix(namespace: str, partition: int) -> str:
    """What every key of a partition begins with; its braces make the partition one hash slot."""
    return f"{{{namespace}:{partition}}}:"


def partition_of(execution_id: str, partitions: int) -> int:
    """The partition that an execution lives in, whole and for good."""
    return crc32(execution_id.encode()) % partitions


def streams(prefix: str, queue: str) -> dict[Lane, str]:
    """The streams of a queue."""
    keys = {
        Lane.RETURNED: Key.RETURNED,
        Lane.NEW: Key.QUEUE,
        Lane.SUSPECT: Key.SUSPECTS,
        Lane.HANDED: Key.HANDED,
    }
    return {lane: key.of(prefix, queue) for lane, key in keys.items()}
