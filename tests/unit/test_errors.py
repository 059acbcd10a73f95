"""Errors and outcomes as values: they compare, copy, pickle, match, and their messages teach."""

import copy
import pickle
import traceback

import pytest

from zart_redis import errors
from zart_redis.errors import (
    Cancelled,
    DeadlineExceeded,
    DuplicateStepName,
    ExecutionAlreadyExists,
    ExecutionFailed,
    ExecutionFinished,
    ExecutionNotFound,
    ExecutionTimeout,
    HandlerCrashed,
    InvalidInput,
    MailboxFull,
    MaxRetriesExhausted,
    NestedStepError,
    NoExecutionContext,
    PayloadTooLarge,
    RecurringNotFound,
    RemoteError,
    ReplayMismatch,
    RetryExhausted,
    StepBusinessError,
    StepError,
    StepFailed,
    TaskError,
    TimedOut,
    UnknownTask,
    WaitTimedOut,
    ZartError,
    ZartStepError,
)
from zart_redis.outcomes import BusinessErr, Err, Ok, ZartErr


def examples() -> list[ZartError]:
    remote = RemoteError("ValueError", "no", "Traceback ...")
    retries = RetryExhausted("charge", 3, ValueError("no"))
    return [
        *(
            NoExecutionContext(),
            NestedStepError(),
            DuplicateStepName("a"),
            ReplayMismatch("a", "a sleep", "a step"),
            errors.HistoryTooLong(50_000),
            errors.NotDurable("x"),
        ),
        *(errors.SerializationError("x"), errors.UntrustedPayload("x"), errors.ConfigurationError("x")),
        errors.RedisUnavailable("x"),
        *(InvalidInput("x"), PayloadTooLarge("x"), remote),
        *(StepBusinessError("charge", remote), retries, TimedOut("charge", 1.5), DeadlineExceeded("shipped")),
        *(StepFailed("charge", retries), MaxRetriesExhausted(2, remote), ExecutionTimeout(), Cancelled()),
        *(
            HandlerCrashed(5),
            ExecutionAlreadyExists("x", "running"),
            ExecutionNotFound("x"),
            RecurringNotFound("x"),
            MailboxFull("x"),
        ),
        *(
            ExecutionFinished("x", "failed"),
            ExecutionFailed("x", remote),
            WaitTimedOut("x"),
            UnknownTask("x"),
        ),
    ]


everything = pytest.mark.parametrize("error", examples(), ids=lambda error: type(error).__name__)


@everything
def test_a_copy_is_equal_in_all_respects(error: ZartError) -> None:
    for again in (pickle.loads(pickle.dumps(error)), copy.copy(error), copy.deepcopy(error)):
        assert type(again) is type(error)
        assert again == error
        assert hash(again) == hash(error)
        assert str(again) == str(error)
        assert repr(again.__cause__) == repr(error.__cause__)


@everything
def test_every_error_has_a_message(error: ZartError) -> None:
    assert str(error)


def test_the_examples_leave_no_error_out() -> None:
    bases = {ZartError, StepError, ZartStepError, TaskError, errors.SchedulerError}
    defined = {cls for cls in vars(errors).values() if isinstance(cls, type) and issubclass(cls, ZartError)}
    assert {type(error) for error in examples()} == defined - bases


@pytest.mark.parametrize(
    "name", [n for n, cls in vars(errors).items() if isinstance(cls, type) and issubclass(cls, ZartError)]
)
def test_every_error_is_drawn_in_the_tree(name: str) -> None:
    assert name in (errors.__doc__ or "")


def test_errors_differ_by_type_and_by_field() -> None:
    assert TimedOut("a", 1) == TimedOut("a", 1.0)
    assert TimedOut("a", 1) != TimedOut("b", 1)
    assert DeadlineExceeded("a") != StepError("a")
    assert RetryExhausted("a", 1, ValueError("x")) != RetryExhausted("a", 1, ValueError("y"))
    assert RetryExhausted("a", 1, ValueError("x")) != RetryExhausted("a", 1, TypeError("x"))


def test_a_failed_step_shows_the_error_of_its_own_as_the_cause() -> None:
    own = ValueError("no")
    for source in (StepBusinessError("charge", own), RetryExhausted("charge", 3, own)):
        failed = StepFailed("charge", source)
        assert failed.source is source
        assert failed.__cause__ is own
    timed_out = TimedOut("charge", 2)
    assert StepFailed("charge", timed_out).__cause__ is timed_out


def test_a_mismatch_names_both_calls() -> None:
    message = str(ReplayMismatch("settle", "a sleep", "step 'charge'"))
    assert "'settle'" in message
    assert "a sleep" in message
    assert "step 'charge'" in message


def test_bad_input_is_a_value_error() -> None:
    with pytest.raises(ValueError, match="too large"):
        raise PayloadTooLarge("too large")


def test_a_remote_error_shows_where_it_was_raised() -> None:
    error = RemoteError("CardDeclined", "stolen", "Traceback: charge.py, line 7")
    assert str(error) == "CardDeclined: stolen"
    assert "charge.py, line 7" in "".join(traceback.format_exception(error))
    assert error != RemoteError("CardDeclined", "expired", "Traceback: charge.py, line 7")


def test_errors_that_quote_a_remote_error_leave_out_its_traceback() -> None:
    remote = RemoteError("CardDeclined", "stolen", "Traceback: charge.py, line 7")
    failed = StepFailed("charge", StepBusinessError("charge", remote))
    for quoting in (failed, RetryExhausted("charge", 3, remote), MaxRetriesExhausted(2, failed)):
        assert "RemoteError('CardDeclined', 'stolen')" in str(quoting)
        assert "charge.py" not in f"{quoting} {quoting!r}"


def test_outcomes_match_and_unwrap() -> None:
    declined = ValueError("declined")
    assert Ok(3).is_ok()
    assert Ok(3).unwrap() == 3
    failures: list[tuple[BusinessErr[ValueError] | ZartErr | Err, type[Exception]]] = [
        (BusinessErr(declined), ValueError),
        (ZartErr(TimedOut("charge", 1)), TimedOut),
        (Err(StepBusinessError("charge", declined)), StepBusinessError),
    ]
    for outcome, raised in failures:
        assert not outcome.is_ok()
        with pytest.raises(raised):
            outcome.unwrap()
    match Ok({"id": 1}):
        case Ok({"id": number}):
            assert number == 1
        case _:
            pytest.fail("Ok holds its value at the first place")
