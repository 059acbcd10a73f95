"""`zart dev`: an embedded Redis, and a worker that follows the code."""

import signal
import subprocess
import time
from pathlib import Path

from tests.cli.conftest import BIN, Command, is_alive
from tests.support.waiting import block_until


def test_changed_code_is_loaded_and_broken_code_is_told_of(
    folder: Path, environment: dict[str, str], command: Command
) -> None:
    del environment["ZART_REDIS_URL"]
    module, log = folder / "workers" / "others.py", folder / "dev.log"
    with log.open("wb") as output:
        dev = subprocess.Popen([BIN / "zart", "dev"], cwd=folder, env=environment, stdout=output, stderr=output)
    try:
        block_until(lambda: log.read_text().count("worker started") == 1)
        module.write_text("broken = ")
        block_until(lambda: "others.py:1" in log.read_text())
        time.sleep(0.01)  # for another time of change
        module.write_text(
            "import zart_redis as zart\n@zart.zart_durable\nasync def fresh() -> str:\n    return 'new'\n"
        )
        block_until(lambda: log.read_text().count("worker started") == 2)
        assert "new" in command("zart", "start", "fresh", "--wait", "--json").stdout
        server = int((folder / ".zart" / "redis.pid").read_text())
        dev.send_signal(signal.SIGINT)
        assert dev.wait(10) == 0
        assert not is_alive(server)
    finally:
        dev.kill()
        dev.wait()
