"""As many steps as wanted: `python -m tests.model.soak --steps 1000000 [--seed N]`.

Ends with the steps made of each kind and the verdict; a failure ends it with the shrunk example, and exit code 1.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
import traceback
from collections import Counter

from tests.model.explore import explore
from tests.support.servers import RedisProcess, installed_servers

EXAMPLES = 50
STEPS = 200
"""Steps of an example: the more, the deeper it comes, and the longer a failure takes to shrink."""


def soak(steps: int, first_seed: int) -> bool:
    """Whether the model and every Redis at hand agreed after each step; the Redis versions take turns."""
    made: Counter[str] = Counter()
    began, number = time.monotonic(), first_seed
    while made.total() < steps:
        for version, binary in installed_servers().items():
            with RedisProcess(binary) as server:
                try:
                    explore(server.url, made, examples=EXAMPLES, steps=STEPS, seeded=number)
                except Exception:
                    traceback.print_exc()
                    print(f"FAILED on {version} with --seed {number}, after {made.total()} steps", flush=True)
                    return False
        number += 1
        print(f"{made.total()} steps, {made.total() / (time.monotonic() - began):.0f}/s", flush=True)
    print(", ".join(f"{name} {count}" for name, count in made.most_common()))
    print(f"passed: {made.total()} steps from --seed {first_seed}, and the model agreed after each")
    return True


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=random.randrange(10**9))
    chosen = parser.parse_args()
    sys.exit(0 if soak(chosen.steps, chosen.seed) else 1)


if __name__ == "__main__":
    main()
