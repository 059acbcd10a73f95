"""The keys of a namespace: which partition an execution lives in, and the names that Python needs to know.

All other keys are made by the scripts, from the partition's prefix; `README.md` beside this file lists them.
"""

from __future__ import annotations

from zlib import crc32

GROUP = "zart"
"""The consumer group of every queue's stream."""


def prefix(namespace: str, partition: int) -> str:
    """What every key of a partition begins with; its braces make the partition one hash slot."""
    return f"{{{namespace}:{partition}}}:"


def partition_of(execution_id: str, partitions: int) -> int:
    """The partition that an execution lives in, whole and for good."""
    return crc32(execution_id.encode()) % partitions


def streams(prefix: str, queue: str) -> dict[str, str]:
    """The two streams of a queue, by the mark that their entries are written with: what comes back, which is read
    first, and all else."""
    return {"!": f"{prefix}b:{queue}", "": f"{prefix}q:{queue}"}
