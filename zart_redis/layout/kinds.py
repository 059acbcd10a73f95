"""The kinds of what is stored, each a letter or a word, and the lengths of what is packed."""

from __future__ import annotations

from enum import Enum, StrEnum, auto

from zart_redis.layout.name import StoredName

GROUP = "zart"
"""The consumer group of every queue's streams."""
UNCLAIMED = "unclaimed"
"""The consumer that keeps entries which no worker has understood yet; see `Timer.ENTRY`."""


class Record(StoredName):
    """First letter of a record in `Key.RECORDS`."""

    VALUE = "v"
    """A step's value."""
    ERROR = "b"
    """A step's own error."""
    FAILURE = "z"
    """The framework's error about a step: retries exhausted, timed out."""
    CAPTURE = "c"
    """A captured value."""
    ATTEMPTS = "a"
    """A step between attempts: "<failed>,<deadline>,<next try>"."""
    SLEEP = "s"
    """A sleep: "<due>"."""
    SLEPT = "S"
    """A sleep that is over."""
    WAIT = "w"
    """A wait for an event: "<deadline>", empty if it has none."""
    TIMED_OUT = "T"
    """A wait for an event that timed out."""
    FIRED = "F"
    """A timer of asyncio that has fired: "<due>". Its name has `TIMER_PREFIX` before it."""
    CANCELLED = "x"
    """A step in place that its body cancelled while it ran. Not final: such a call would begin again."""
    RECEIVE = "m"
    """A wait for a message: "<deadline>,<number>,<channel>"; the deadline is empty if it has none."""
    MESSAGE = "M"
    """A message that was received: its number, its channel, `KEY_SEPARATOR`, its payload."""
    NO_MESSAGE = "N"
    """A wait for a message that timed out."""
    UNRECEIVED = "n"
    """A wait for a message that its body cancelled. Not final: such a call would begin again."""
    CHILD = "k"
    """The end of a child: a letter of `ChildOutcome`, its id, `KEY_SEPARATOR`, and its output or what it has for it."""
    EVENT = "E"
    """An event, in replies only: an event as stored follows."""


class Wait(StrEnum):
    """First letter of a member of `Key.WAITS`; a name follows. The score is when it is due in ms, or infinite."""

    SLEEP = "s"
    EVENT = "w"
    TIMER = "t"
    """A timer of asyncio, by the name that the body's loop gives it."""
    MESSAGE = "m"
    RETRY = "a"
    """The next attempt of a step, or of the body if the name is empty."""
    DELAY = "d"
    """A delayed start; no name follows."""
    UNKNOWN_TASK = "u"
    """Postponed until a worker knows its task; no name follows."""
    HELD = "h"
    """Held until other code is there; no name follows. When it is due, it is tried again."""
    PAUSE = "p"
    """A pause rule, whose id follows."""
    EXPIRY = "e"
    """The end of a run that has not begun by then; no name follows."""


class News(StrEnum):
    """What a completion in `Key.NEWS` is of."""

    STEP = "c"
    SLEEP = Wait.SLEEP.value
    EVENT = Wait.EVENT.value
    TIMER = Wait.TIMER.value
    MESSAGE = Wait.MESSAGE.value


class Timer(StoredName):
    """First letter of a member of `Key.TIMERS`."""

    EXECUTION = "x"
    """The earliest wait or the deadline of an execution; its id follows."""
    STEP = "s"
    """The retry of a scheduled step; JSON `[id, scope, name]` follows."""
    RESUMED = "r"
    """What a removed pause rule still holds; the rule's id follows."""
    DROPPED = "d"
    """Scheduled steps set aside to be removed in batches; their key without the prefix follows."""
    ENTRY = "e"
    """A stream entry that no worker has understood yet; JSON `[queue, entry]` follows."""
    LIMIT = "l"
    """The line of a counter may move; the counter follows."""
    RECURRING = "t"
    """A tick of a recurring execution, whose id follows. A worker that knows what to do sets the next one."""
    MAIL = "m"
    """Mail to deliver, by its number in `Key.MAIL`."""
    CHANGED_LIMIT = "L"
    """The numbers of a limit have changed, and its lines may move; JSON `[name, cursor in Key.COUNTERS]` follows."""


class ChildOutcome(StoredName):
    """How a child has ended; behind each what follows in its record."""

    COMPLETED = "c"
    """its output"""
    FAILED = "f"
    """its error"""
    CANCELLED = "x"
    """the reason, or nothing"""
    REFUSED = "e"
    """the status of another execution that has its id"""


class MailKind(StoredName):
    """What mail asks of the execution that it is for."""

    START = auto()
    """Begin as a child."""
    ENDED = auto()
    """A child has ended."""
    CANCEL = auto()
    """The parent does not wait any more."""


class Entry(StoredName):
    """The first field of a stream entry; its value is the execution's id."""

    EXECUTION = "x"
    """A body."""
    STEP = "s"
    """A scheduled step; `EntryField` names the other fields."""


class EntryField(StoredName):
    SCOPE = auto()
    NAME = auto()


class Lane(StoredName):
    """How an entry is written down outside its stream: behind the mark of the stream that it is in."""

    RETURNED = "!"
    """Work handed back by a worker; read first."""
    HANDED = ">"
    """Work taken out of `Key.UNSERVED` by the worker that runs it; only the script that adds it reads it."""
    NEW = ""
    SUSPECT = "?"
    """Work that may have taken its worker down. Only quarantine processes read it."""


CLAIM_LANES = (Lane.RETURNED, Lane.NEW)
"""What workers read that are in no quarantine, in this order."""


class Ack(StoredName):
    """What a worker last saw acknowledged since its claim; a name, or a time, follows."""

    RECORD = "r"
    ATTEMPTS = "a"
    STEP = "c"
    """A scheduled step."""
    SIGNALLED = "t"
    """The time in ms at which `park` last reported what others had written."""


class Delivered(StoredName):
    """The letter of a stored event: whether the execution was waiting for it when it came."""

    AWAITED = "D"
    BUFFERED = "B"


class Emission(StoredName):
    """What an execution emits."""

    ITEM = "s"
    """An item of a stream."""
    VALUE = "v"
    """The newest value of a key."""
    PROGRESS = "p"


class GroupField(StoredName):
    """First letter of a field of `Key.GROUPS`."""

    STEP = "="
    """"=<name>": the groups that wait for a scheduled step, ",1,4,"."""
    MISSING = "#"
    """"#<group>": how many of its steps have not ended."""


class Signal(StoredName):
    """Words on a worker's channel; an entry and its queue follow, after a space each."""

    WAKE = auto()
    """Something that a held body waits for has been recorded."""
    REVOKE = auto()
    """The claim is void: the work has been taken from its worker."""


class Cause(StoredName):
    """How a worker was lost."""

    LAPSE = auto()
    """Its lease has ended, and nobody knows why: the first time it is not blamed on anything."""
    KILL = auto()
    """It was killed from outside, perhaps: the first time it is not blamed on anything."""
    CRASH = auto()
    """It ended by itself: what it held is suspected."""
    PROOF = auto()
    """It died of what it held: this counts at once."""
    LEAVING = auto()
    """It has left; what it had not begun is blamed for nothing."""


class FailReason(StoredName):
    DEADLINE = auto()
    CRASHES = auto()
    CANCELLED = auto()
    """It was cancelled, and compensates."""


class Trigger(StoredName):
    RESTART = auto()
    RERUN = auto()
    RETRY_STEP = auto()
    CONTINUE_AS_NEW = auto()


class Size(int, Enum):
    """Lengths in bytes."""

    NONCE = 8
    NUMBER = 3
    """The number of a completion in its run, big-endian; 0 if nothing else could have completed before it."""
    STAMP = 3 + 6
    """A number and a time in ms, big-endian, behind a completion or a note."""
    EVENT_HEADER = 8 + 1 + 9
    """An event is a nonce, a letter of `Delivered`, a stamp, and its payload."""
    MESSAGE_NUMBER = 16
    """Digits of the number that orders messages, and those who wait for one, in a mailbox."""


TIMER_PREFIX = "\x1f"
"""Begins the names under which timers of asyncio are recorded; no name of a user holds a control character."""


KEY_SEPARATOR = "\x1f"
"""Separates the name of a limit from the key in a counter, and a channel from what follows it."""

UNKNOWN_COUNTERS = "0/0/0/"
"""`Field.LIMITS` of a run whose counters the worker that has claimed it is to find out."""


PARENT_ENDED = "its parent has ended, or does not wait for it any more"
"""`Field.REASON` of a child that was cancelled for it."""

PARENT_TAG = "\x1fparent"
"""The tag that lists children by the id of their parent; no name of a user holds a control character."""

EXPIRED = "expired"
"""`Field.REASON` of a run that has not begun in time."""


_RECORDS = frozenset(kind.encode() for kind in Record)


def is_newer_record(record: bytes) -> bool:
    """Whether a record is of a kind that this version does not know. All kinds are letters: anything else is damage."""
    return record[:1].isalpha() and record[:1] not in _RECORDS
