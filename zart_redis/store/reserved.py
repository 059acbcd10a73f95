"""Names of the layout that are reserved for features which are specified and not built.

They are used for nothing else. What is built moves to `layout`.
"""

RESERVED = {
    "Field.TRACE": "trace context",
    "Field.PARENT": "the execution that started it and awaits its end",
    "StepField.SCHEDULED_AT": "when it was scheduled",
    "StepField.LIMITS": "slots of limits that it holds or waits for",
    "Record.CHILD 'k'": "a child execution's end",
    "Record.PATCH 'p'": "a version decision of a body",
    "Wait.CHILD 'k'": "a child execution",
    "Timer.MAIL 'm'": "mail whose delivery is retried",
    "Key 'mail'": "the stream of what must reach other partitions",
    "Key 'from:{id}'": "origins of delivered mail",
    "Record.SLEEP, Record.WAIT '<due>,<since>'": "when a wait began, behind its due time",
}
