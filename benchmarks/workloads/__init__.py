"""The workloads, one module each, in the order of a report."""

from benchmarks.workloads import (
    chain,
    fan_out,
    fsync,
    idle,
    imports,
    limits,
    lists,
    long,
    memory,
    no_op,
    recovery,
    scale,
    sleepers,
    tasks,
    throughput,
    wake,
)

WORKLOADS = {
    module.WORKLOAD.name: module.WORKLOAD
    for module in (
        chain,
        throughput,
        no_op,
        fan_out,
        wake,
        sleepers,
        limits,
        long,
        tasks,
        scale,
        fsync,
        idle,
        recovery,
        memory,
        lists,
        imports,
    )
}
