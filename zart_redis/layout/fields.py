"""The names of fields: of executions, scheduled steps, claims, pause rules and the namespace."""

from __future__ import annotations

from enum import auto

from zart_redis.layout.name import StoredName


class Field(StoredName):
    """Fields of an execution, `Key.EXECUTION`."""

    STATUS = auto()
    TASK = auto()
    QUEUE = auto()
    BUCKET = auto()
    """The number of its pair of task and queue, see `Key.BUCKETS`."""
    RUN = auto()
    SCOPE = auto()
    """"<run>" for the body, "<run>f" for its on_failure body: the suffix of the keys of each."""
    FENCE = auto()
    """"<epoch>@<worker>" while a worker holds the body, "<epoch>@" while none does."""
    ENTRY = auto()
    """The stream entry of the body, queued or held; empty while it is parked."""
    ATTEMPT = auto()
    INPUT = auto()
    OUTPUT = auto()
    ERROR = auto()
    FAILURE = auto()
    """The failure that the on_failure body is handling."""
    CREATED = auto()
    STARTED = auto()
    FINISHED = auto()
    NONCE = auto()
    """Of the command that began the run, or resumed it."""
    END_NONCE = auto()
    """Of the command that cancelled it."""
    REPLY = auto()
    """What `rerun` returned, for the same command sent again."""
    TRIGGER = auto()
    """The command that began the run, if not `start`."""
    TRIGGERED_BY = auto()
    CONTINUED_RUNS = auto()
    """The earlier runs that are kept of those that continued as new, "3,4,"."""
    DEADLINE = auto()
    PAUSED_DEADLINE_MS = auto()
    """What was left until the deadline when a pause rule stopped its clock."""
    PAUSED_BY = auto()
    """The pause rule that keeps it from being claimed."""
    RESUMED_AT = auto()
    """When `retry_step` resumed it."""
    FAIL_REASON = auto()
    """Why the next worker that claims it must fail it: "deadline", "crashes" or "cancelled"."""
    CRASHES = auto()
    """Layout 1.0: workers that died holding it. Not used any more."""
    RECORDS = auto()
    """Layout 1.0: the length of the list of records that the last claim returned. Not used any more."""
    BLAME = auto()
    """The deaths of workers that held it, without progress in between: a packed map, see `BlameField`."""
    COMPENSATES = auto()
    """"1" if it was cancelled, and ends when its on_failure body has ended."""
    FAILED_ATTEMPTS = auto()
    HELD = auto()
    """Why the last worker could not run the body; absent while a worker runs it."""
    HOLDS = auto()
    """How often in a row it has been held."""
    HELD_SINCE = auto()
    VERSION = auto()
    """The version of the handler that the run is bound to; absent before the first claim, and for version 1."""
    UNSERVED = auto()
    """The version that it waits for a worker of, "0" for any; see `Key.UNSERVED`."""
    SIGNALLED_AT = auto()
    """When `park` last reported what others had written."""
    COMPLETIONS = auto()
    """How many completions of the run have been numbered: the number of the newest."""
    CLOCK_BASE = auto()
    """The time of the body's clock at its beginning, if it is not that of the first claim."""
    PARKED_AT = auto()
    """The number of the newest completion when the body was last parked."""
    KEPT_BY = auto()
    """The worker that parked the body and keeps it in memory."""
    EMITTED = auto()
    """How many items the body has emitted in its scope; a replay does not emit them again."""
    PROGRESS = auto()
    """What the run last reported as its progress: a packed list of what is done, the total or nil, and a note."""
    PENDING_RETENTION = auto()
    """The retention in ms, while a body that has returned waits for its last scheduled steps."""
    EXPIRES = auto()
    """When the run ends unless it has begun, and its retention then: "<ms>,<ms>"."""
    REASON = auto()
    """Why it was cancelled."""
    TAGS = auto()
    """A packed map; absent if it has none."""
    SCHEDULED_FOR = auto()
    """The nominal time in ms at which a recurring execution was to begin this occurrence."""
    PARENT = auto()
    """Of a child: the number of its parent's partition, empty if it is the same, the parent's id, its scope, the name
    of the call, and what names this start, with `KEY_SEPARATOR` in between."""
    OUTLIVING = auto()
    """How many of the scheduled steps are children that outlive the execution."""
    NEEDS = auto()
    """Features, separated by spaces, without which a version must leave this execution alone; see `Feature`."""
    LIMITS = auto()
    """The counters of the limits that it begins under, and how far it has got; see `scripts/lib/limits.lua`."""


class StartOption(StoredName):
    """Names of the options of `start`; their values follow them."""

    IF_LIVE = auto()
    """What to do if the id is live, see `IfUsed`; by default it is refused."""
    IF_FINISHED = auto()
    """What to do if the id has finished; by default a new run begins."""
    MAX_DELAY = auto()
    """In ms from the first start of the run."""
    EXPIRES = auto()
    """As `WaitRequest` has it, a comma, and the retention in ms."""
    TAGS = auto()
    """As `Field.TAGS`."""
    SCHEDULED_FOR = auto()
    """As `Field.SCHEDULED_FOR`."""


class IfUsed(StoredName):
    """What `start` does if the id is used."""

    KEEP = "return"
    REFUSE = "raise"
    REPLACE = auto()
    """Replaces a run that has not begun."""
    RESTART = auto()
    """Begins a new run after one that has finished."""


class StepField(StoredName):
    """Fields of a scheduled step that has not ended: a packed map in `Key.STEPS`; those without a value are absent."""

    SPEC = auto()
    """What to call, as the engine encoded it."""
    QUEUE = auto()
    """The queue of its entries, if it is not that of its execution."""
    CHILD = auto()
    """The id of the execution, if it is a child: then it has no entry."""
    PARENT = auto()
    """As `Field.PARENT` of the child."""
    OUTLIVES = auto()
    """"1" for a child that outlives the execution."""
    ENTRY = auto()
    """Its stream entry; empty while a timer or a pause rule holds it."""
    FENCE = auto()
    """As for a body. A step that is scheduled again begins at 0, so its worker shows the fence and the entry."""
    FAILED_ATTEMPTS = auto()
    CRASHES = auto()
    """Layout 1.0: claims that killed their worker. Not used any more."""
    BLAME = auto()
    """As for a body: a packed map, see `BlameField`."""
    DEADLINE = auto()
    TIMEOUT = auto()
    """In ms; the deadline is set from it at the first claim."""
    PAUSED_BY = auto()
    UNRUNNABLE = auto()
    """Why the last worker could not run it; absent while a worker runs it."""
    UNSERVED = auto()
    """The name of the set in which it waits for a worker of its version; see `Key.UNSERVED_KINDS`."""
    HOLDS = auto()
    """How often in a row it has been held."""
    HELD_SINCE = auto()


class MailField(StoredName):
    """Parts of mail, a packed map; those without a value are absent."""

    KIND = auto()
    """A `MailKind`."""
    PARENT = auto()
    """As `Field.PARENT` of the child."""
    CHILD = auto()
    """The id of the child."""
    RECORD = auto()
    """How the child has ended, as its parent records it."""
    TASK = auto()
    QUEUE = auto()
    INPUT = auto()
    TIMEOUT = auto()
    LIMITS = auto()
    TAGS = auto()
    DEADLINE = auto()
    """When the child ends at the latest; empty if never."""


class LimitField(StoredName):
    """First letter of a field of `Key.LIMITS`; a limit's name, or a counter, follows. A value is
    "<concurrency>,<count>/<ms>/<burst>", where both parts may be empty."""

    DECLARED = "d"
    """The numbers of the newest worker."""
    OVERRIDE = "o"
    """An operator's numbers, of a limit or of one counter."""
    ARRIVALS = "n"
    """How many have joined a line; nothing follows."""


class ClaimField(StoredName):
    """Names in a claim's reply. Those of a stored field are named as it is."""

    ENTRY = auto()
    QUEUE = auto()
    EXECUTION_ID = auto()
    FENCE = auto()
    SCOPE = auto()
    TASK = auto()
    VERSION = auto()
    ATTEMPT = auto()
    HAS_BEGUN = auto()
    """"1" if other code has decoded the input: an earlier pass of the run, or the run that it continues."""
    HOLDS = auto()
    HELD_SINCE = auto()
    INPUT = auto()
    NOW = auto()
    CREATED = auto()
    DEADLINE = auto()
    FAIL_REASON = auto()
    FAILURE = auto()
    RECORDS = auto()
    EVENTS = auto()
    STEPS = auto()
    WAITS = auto()
    COMPLETIONS = auto()
    CLOCK_BASE = auto()
    PARKED_AT = auto()
    EMITTED = auto()
    KEPT_AT = auto()
    """The fence at which this worker parked the body, if nobody has held it since; then the records are left out."""
    NEWS = auto()
    """What has completed since the body was parked, if the records are left out."""
    NAME = auto()
    FAILED_ATTEMPTS = auto()
    SPEC = auto()
    BLAME = auto()
    LIMITS = auto()
    TAGS = auto()
    SCHEDULED_FOR = auto()
    REASON = auto()
    COMPENSATES = auto()


class MailboxField(StoredName):
    """Fields of `Key.MAILBOX`."""

    NUMBER = auto()
    """How many messages and waits for one have been numbered."""
    BYTES = auto()
    """The size of the payloads that have not been received."""


class RecurringField(StoredName):
    """Fields of a recurring execution, `Key.RECURRING`; times in ms."""

    SPEC = auto()
    """What it starts, and when: see `recurring.RecurringSpec`."""
    GENERATION = auto()
    """How often the spec has been set."""
    COUNT = auto()
    """How many occurrences have been started: the number of the next one."""
    ANCHOR = auto()
    """When the interval began, if the spec does not say."""
    DUE = auto()
    """The nominal time of the next tick; empty if there is none."""
    PAUSED = auto()
    """"1" if it is paused."""
    LIVE = auto()
    """A packed list of the ids of occurrences that were live at the last tick."""
    SKIPPED = auto()
    """Why the last tick started nothing; empty if it did."""


class BlameField(StoredName):
    """What work is blamed for, a packed map; those without a value are absent."""

    SUSPECT = auto()
    """True while only a quarantine process may run it."""
    COUNTED = auto()
    """How many deaths count against it."""
    CONVICTED = auto()
    """True once as many deaths count as are allowed: it is failed instead of run."""
    ALLOWED = auto()
    """How many deaths convict it."""
    RAN = auto()
    """The longest time in ms that it had run when its worker died. A suspect that runs for longer is cleared."""
    RECORDS = auto()
    """How many records the body had at the last death: if it has more at the next one, it has made progress."""
    TOGETHER = auto()
    """The dead workers whose deaths made it a suspect; see `Key.TRACED`."""
    DEATHS = auto()
    """The newest deaths, in order, each a map of `DeathField`."""


class DeathField(StoredName):
    """A worker's death, or a lapse of its lease."""

    WHAT = auto()
    """In words, such as "exit code 1"."""
    WORKER = auto()
    PID = auto()
    HOST = auto()
    AT = auto()
    COUNTS = auto()
    """True if it counts."""
    DUE = auto()
    """When it counts, unless the worker has come back by then."""


class ItemField(StoredName):
    """Fields of an item of `Key.STREAM`. Without a value it says that another attempt of a step has begun."""

    VALUE = auto()
    RUN = auto()
    STEP = auto()
    """The step that emitted it; empty for the body."""
    ATTEMPT = auto()
    """Counted from 0."""
    AT = auto()
    """In ms."""


class HeartbeatField(StoredName):
    """Fields of `Key.HEARTBEATS`."""

    AT = auto()
    """When the last heartbeat of any worker came."""
    SHORTEST = auto()
    """The shortest lease of a worker, in ms."""
    SHORTEST_AT = auto()
    """When a worker with this lease was last heard."""


class RuleField(StoredName):
    """Names in the JSON of a pause rule; a missing condition matches everything."""

    EXECUTION = auto()
    TASK = auto()
    STEP = auto()
    """A pattern of step names; the rule then holds a body where it would begin such a step."""
    EXTEND = auto()
    """Whether the clocks of the deadlines of what it holds are stopped."""
    CREATED = auto()
    """In ms. Absent in a rule with a queue: a version that does not know of these must ignore it, and ignores a rule
    without this."""
    QUEUE = auto()
    SINCE = auto()
    """As `CREATED`, of a rule with a queue."""


class Meta(StoredName):
    """Fields of `Key.META`."""

    PARTITIONS = auto()
    LAYOUT = auto()
    BUCKETS = auto()
    """How many buckets there have been: a number is not given out twice."""
