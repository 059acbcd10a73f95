"""The layout of everything stored in Redis: kinds, field names, keys, channels and byte formats.

This is their only definition. Python uses the members; the scripts name them too (`RECORD.value`, `FIELD.entry`,
`KEY.records(id, scope)`), and `store/lua.py` puts the stored text in their place when a script is loaded.

Whatever is stored outlives the process that wrote it, and may be read by another version. So:

- a name once released keeps its meaning; a new one is added here;
- a reader leaves what it does not know as it is, and `zart doctor` reports it;
- what an older version must not finish is marked in the field `needs`;
- names in `store/reserved.py` are taken by features that are specified but not built.
"""

from __future__ import annotations

from zart_redis.layout.fields import (
    BlameField,
    ClaimField,
    DeathField,
    Field,
    HeartbeatField,
    IfUsed,
    ItemField,
    LimitField,
    MailboxField,
    Meta,
    RecurringField,
    RuleField,
    StartOption,
    StepField,
)
from zart_redis.layout.keys import (
    Channel,
    Key,
    partition_of,
    prefix,
    streams,
)
from zart_redis.layout.kinds import (
    CLAIM_LANES,
    EXPIRED,
    GROUP,
    KEY_SEPARATOR,
    TIMER_PREFIX,
    UNCLAIMED,
    UNKNOWN_COUNTERS,
    Ack,
    Cause,
    Delivered,
    Emission,
    Entry,
    EntryField,
    FailReason,
    GroupField,
    Lane,
    News,
    Record,
    Signal,
    Size,
    Timer,
    Trigger,
    Wait,
    is_newer_record,
)
from zart_redis.layout.version import (
    FEATURES,
    LAYOUT,
    VERSION,
    Feature,
    is_supported,
)

__all__ = [
    "Ack",
    "BlameField",
    "CLAIM_LANES",
    "Cause",
    "Channel",
    "ClaimField",
    "DeathField",
    "Delivered",
    "Emission",
    "Entry",
    "EntryField",
    "EXPIRED",
    "FEATURES",
    "FailReason",
    "Feature",
    "Field",
    "GROUP",
    "GroupField",
    "HeartbeatField",
    "IfUsed",
    "ItemField",
    "KEY_SEPARATOR",
    "Key",
    "LAYOUT",
    "Lane",
    "LimitField",
    "MailboxField",
    "Meta",
    "News",
    "Record",
    "RecurringField",
    "RuleField",
    "Signal",
    "Size",
    "StartOption",
    "StepField",
    "TIMER_PREFIX",
    "Timer",
    "Trigger",
    "UNCLAIMED",
    "UNKNOWN_COUNTERS",
    "VERSION",
    "Wait",
    "is_newer_record",
    "is_supported",
    "partition_of",
    "prefix",
    "streams",
]
