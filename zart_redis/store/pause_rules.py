"""Pause rules as the scripts read them: JSON, one field of the hash `pause_rules` each."""

from __future__ import annotations

import json

import msgspec

from zart_redis.layout import RuleField
from zart_redis.logs import get_logger
from zart_redis.model import PauseRule, from_ms

log = get_logger()


class _Rule(msgspec.Struct):
    """The fields of a stored rule."""

    created: int | None = None
    execution: str | None = None
    task: str | None = None
    step: str | None = None
    extend: bool | None = None
    queue: str | None = None
    since: int | None = None


_decode = msgspec.json.Decoder(_Rule).decode


def encode_rule(rule: PauseRule) -> bytes:
    """Encodes a rule for the scripts."""
    description: dict[RuleField, object] = {
        RuleField.EXECUTION: rule.execution_id,
        RuleField.TASK: rule.task_name,
        RuleField.STEP: rule.step_pattern,
        RuleField.EXTEND: rule.extend_deadlines or None,
        RuleField.QUEUE: rule.queue,
    }
    when = RuleField.CREATED if rule.queue is None else RuleField.SINCE
    description[when] = round(rule.created_at.timestamp() * 1000)
    return json.dumps({key: value for key, value in description.items() if value is not None}).encode()


def decode_rule(rule_id: bytes, text: bytes) -> PauseRule | None:
    """Returns None, and logs an error, if the text is not a valid rule."""
    try:
        rule = _decode(text)
        created = rule.created if rule.queue is None else rule.since
        if created is None:
            raise ValueError("it does not say since when")
        conditions = (rule.execution, rule.task, rule.step, rule.queue)
        return PauseRule(rule_id.decode(), *conditions, extend_deadlines=bool(rule.extend), created_at=from_ms(created))
    except (msgspec.MsgspecError, ValueError, OverflowError, OSError) as error:
        log.error("unreadable pause rule ignored", rule=repr(rule_id), reason=str(error))
        return None
