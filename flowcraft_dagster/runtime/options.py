"""Limits and intervals of the runtime. Settings fill them from the environment."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Durability = Literal["node", "segment"]


@dataclass(frozen=True, slots=True)
class RuntimeOptions:
    """How workers and clients behave, whatever the backend.

    Attributes:
        concurrency: nodes that run at a time in one worker process.
        run_concurrency: nodes of one run that run at a time.
        max_lanes: runs that one worker holds in memory before it takes no more messages. Those that wait until their
            message is given to another worker do not count, up to eight times as many.
        threads: threads for sync node functions in one worker process.
        max_abandoned_threads: above this many timed-out threads a worker process is recycled.
        durability: ``node``: a node's commit is durable before any successor's user code starts;
            ``segment``: one commit for an inline chain, so that a crash repeats the whole chain.
        segment_nodes: nodes of a chain before a ``segment`` commit at the latest.
        max_iterations: iterations of one loop before the run fails.
        max_batch_items: items of one batch before the run fails; a worker holds some ten kilobytes for each.
        max_output_bytes: size of one output or context value.
        max_context_bytes: size of a run's initial context.
        heartbeat_seconds: how often ``updated_at`` of live runs and the worker's record are touched.
        anchor_seconds: how long a message is held by a run before a fresh one takes its place.
        drain_seconds: how long a stopping worker waits for running nodes.
        timer_seconds: how often due timers are looked for.
        isolated_processes: nodes suspected of having killed their worker that begin side by side, each alone in a
            process of its own. One that has run for 10 seconds makes room for the next.
        max_isolated_processes: such processes in all; each needs the memory of an import of the app.
        max_crashes: deaths of a node's own process before the run fails with NodeCrashLoop.
        unknown_run_attempts: looks at a run the store does not know, before its message becomes a dead letter.
        unknown_blueprint_seconds: how long a run of an unknown blueprint is retried before its message becomes one.
        retention_days: for how long finished runs are kept; then workers delete them with everything stored of them,
            except those that a live run may still ask for. None for ever.
        accept_external_starts: whether a job for a run that the store does not know starts it from rows that another
            program wrote in the layout of Flowcraft's documents; see ``CASSANDRA_EXTERNAL_KEYSPACE``.
        retry_base_seconds, retry_max_seconds: bounds of the back-off after infrastructure errors.
    """

    concurrency: int = 100
    run_concurrency: int = 100
    max_lanes: int = 128
    threads: int = 32
    max_abandoned_threads: int = 32
    durability: Durability = "node"
    segment_nodes: int = 64
    max_iterations: int = 10_000
    max_batch_items: int = 25_000
    max_output_bytes: int = 1024 * 1024
    max_context_bytes: int = 4 * 1024 * 1024
    heartbeat_seconds: float = 10.0
    anchor_seconds: float = 30.0
    drain_seconds: float = 20.0
    timer_seconds: float = 0.2
    isolated_processes: int = 4
    max_isolated_processes: int = 32
    max_crashes: int = 3
    unknown_run_attempts: int = 5
    unknown_blueprint_seconds: float = 60.0
    retention_days: float | None = None
    accept_external_starts: bool = False
    retry_base_seconds: float = 0.05
    retry_max_seconds: float = 5.0
