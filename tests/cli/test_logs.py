"""Log lines: what they carry, what they must not, and what is said to who has configured nothing."""

import json
import subprocess
import sys
from typing import Any

from tests.cli.conftest import Pools, Zart


def test_lines_of_bodies_and_steps_say_where_they_come_from(zart: Zart, pools: Pools) -> None:
    pool = pools()
    zart("start", "cli-naps", "--id", "n-1", "--data", "0", "--wait")
    zart("start", "blocks", "--id", "b-1", "--data", "0", "--wait")

    def fields(event: str) -> dict[str, Any]:
        line = next(line for line in pool.lines() if line["event"] == event)
        return {name: line[name] for name in ("execution_id", "task", "step", "attempt", "logger") if name in line}

    body, step, thread = (
        fields(f"{what}, says a {who}")
        for what, who in [("begun", "body"), ("napping", "library"), ("blocking", "thread")]
    )
    assert body == {"execution_id": "n-1", "task": "cli-naps", "attempt": 0, "logger": "body"}
    assert step == {"execution_id": "n-1", "task": "cli-naps", "step": "nap-first", "attempt": 0, "logger": "library"}
    assert thread == {"execution_id": "b-1", "task": "blocks", "step": "block", "attempt": 0, "logger": "thread"}
    assert not fields("worker started").keys() & {"execution_id", "step"}


def run(code: str) -> subprocess.CompletedProcess[str]:
    """In a process of its own: logging is configured once for all."""
    prepared = f"import logging, structlog; from zart_redis import log_config, logs; log = logs.get_logger()\n{code}"
    return subprocess.run([sys.executable, "-c", prepared], capture_output=True, text=True, check=True)


def test_without_configuration_only_warnings_are_shown() -> None:
    said = run("log.info('quiet'); log.warning('loud', url='redis://:hush@h/0')")
    assert said.stdout == ""
    assert said.stderr == "loud url='redis://:***@h/0'\n"
    failed = run("try: 1/0\nexcept ZeroDivisionError: log.exception('failed', a=1)")
    assert failed.stderr.startswith("failed a=1\nTraceback")
    assert failed.stderr.count("Traceback") == 1


def test_a_users_own_configuration_of_logging_gets_the_lines() -> None:
    said = run("logging.basicConfig(level='INFO', format='%(name)s: %(message)s'); log.info('hello', a=1)")
    assert said.stderr == "zart: hello a=1\n"


def test_secrets_are_blotted_out_wherever_they_show() -> None:
    said = run(
        "log_config.configure(format='json', secrets=['hu\"sh'])\n"
        "log.warning('at rediss://ann:hush@h/0', inner={'key': 'hu\"sh'})\n"
        "try: raise ValueError('no hu\"sh at redis://:hush@h')\n"
        "except ValueError: logging.getLogger('lib').exception('oh')"
    )
    first, second = map(json.loads, said.stderr.splitlines())
    assert (first["event"], first["inner"]) == ("at rediss://ann:***@h/0", {"key": "***"})
    assert "ValueError: no *** at redis://:***@h" in second["exception"]
    assert "hush" not in said.stderr


def test_console_tracebacks_show_no_variables() -> None:
    said = run(
        "log_config.configure(format='console')\n"
        "def f(password):\n    raise ValueError('oh')\n"
        "for logger in (log, structlog.get_logger('mine'), logging.getLogger('lib')):\n"
        "    try: f('hu' + 'sh')\n"
        "    except ValueError: logger.exception('failed')"
    )
    assert said.stderr.count("ValueError: oh") == 3
    assert "hush" not in said.stderr
