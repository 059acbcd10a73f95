"""Names of the layout that are reserved for features which are specified and not built.

They are used for nothing else. What is built moves to `layout`.
"""

RESERVED = {
    "Field.TRACE": "trace context",
    "StepField.SCHEDULED_AT": "when it was scheduled",
    "StepField.LIMITS": "slots of limits that it holds or waits for",
    "Record.PATCH 'p'": "a version decision of a body",
    "Record.SLEEP, Record.WAIT '<due>,<since>'": "when a wait began, behind its due time",
}
