"""What must never happen, ways of making it happen, and for each the test that notices."""

from __future__ import annotations

from dataclasses import dataclass

from tests.mutation.mutating import Change

SEARCH = "tests/simulation/test_search.py::"
EVERY = f"{SEARCH}test_every_fate_at_every_point"
UNIT = "tests/unit/runtime/"


@dataclass(frozen=True)
class Breach:
    """A way of breaking a rule.

    Attributes:
        how: what is broken, in words.
        test: the test that fails then.
        changes: the broken code.
    """

    how: str
    test: str
    changes: tuple[Change, ...]


def _breach(how: str, test: str, *changes: tuple[str, str, str]) -> Breach:
    return Breach(how, test, tuple(Change(*change) for change in changes))


NEVER: dict[str, tuple[Breach, ...]] = {
    "A run that was accepted is lost": (
        _breach(
            "messages are settled as they arrive, not when their run needs them no more",
            f"{EVERY}[before_commit-kill-memory]",
            ("runtime.lane:RunLane.offer", "self.deliveries.append(delivery)", "self._services.settle([delivery])"),
        ),
        _breach(
            "a start that is repeated after a crash sends no message",
            f"{EVERY}[after_start_created-kill-memory]",
            ("runtime.client:AsyncClient._create", "if existing.is_final:", "if True:"),
        ),
        _breach(
            "a run sleeps without a timer",
            f"{SEARCH}test_nothing_happens_when_nothing_happens[sleep-memory]",
            ("runtime.emission:Emitter.prepare", "if timers:", "if False:"),
        ),
        _breach(
            "a child run ends and wakes nobody",
            f"{SEARCH}test_nothing_happens_when_nothing_happens[subflow-memory]",
            ("runtime.emission:_notify_parent", "if header.parent is not None:", "if False:"),
        ),
        _breach(
            "after an unforeseen error a worker settles the messages of the run and sends none",
            f"{EVERY}[before_commit-raise-memory]",
            (
                "runtime.redelivery:Redelivery.hand_back",
                "await self._send(job)",
                "pass",
            ),
        ),
        _breach(
            "members of the embedded queue that are killed are not noticed",
            f"{EVERY}[before_commit-kill-embedded]",
            (
                "backends.embedded.consumer:EmbeddedJobConsumer._regroup",
                "presence.is_silent(name)",
                "False and presence.is_silent(name)",
            ),
        ),
        _breach(
            "old runs are forgotten while live ones may ask for them",
            f"{UNIT}test_retention.py::test_what_a_live_run_may_ask_for_stays[embedded]",
            ("runtime.retention:ForgettingPass._is_needed", "if header.run_id in self._needed:", "if False:"),
        ),
        _breach(
            "a worker whose timers have died goes on without them",
            f"{UNIT}test_worker_failures.py::"
            "test_a_part_that_dies_ends_the_worker_and_nothing_is_lost[TimerService-fire_due-timers]",
            ("runtime.worker:Worker._fail", "self.stop()", "pass"),
        ),
    ),
    "A finished run changes": (
        _breach(
            "a commit to a finished run applies",
            "tests/contract/test_memory.py",
            ("backends.conditions:judge_commit", "if status in FINAL_STATUSES:", "if False:"),
        ),
        _breach(
            "commits are not compared with the stored owner and number",
            "tests/contract/test_embedded.py",
            (
                "backends.conditions:judge_commit",
                "if epoch != commit.expected_epoch or seq != commit.expected_seq:",
                "if False:",
            ),
        ),
        _breach(
            "a message of a finished run has it claimed",
            f"{EVERY}[before_settle-kill-memory]",
            (
                "runtime.ownership:open_run",
                "if header.is_final:\n        await publish_final(services, header)\n        return Opening(None)",
                "pass",
            ),
            ("backends.memory.state:MemoryStateStore.claim_run", "if not record.header.is_final:", "if True:"),
        ),
        _breach(
            "the end of a run is said twice",
            f"{EVERY}[after_commit-kill-memory]",
            (
                "runtime.emission:publish_final",
                "await pass_point(FaultPoint.BEFORE_NOTIFY)",
                'services.emit("workflow:finish", {"runId": header.run_id, "blueprintId": header.blueprint_id})',
            ),
        ),
    ),
    "A join fires early": (
        _breach(
            "an `all` join fires with its first source",
            f"{SEARCH}test_nothing_happens_when_nothing_happens[diamond-embedded]",
            ("engine.joins:Joins._check", "== self._plan.sources[target]", ">= 1"),
        ),
        _breach(
            "successors start before the commit of their sources is durable",
            f"{SEARCH}test_nothing_happens_when_nothing_happens[diamond-memory]",
            ("runtime.lane:RunLane._may_delay", 'options.durability == "segment"', "True"),
        ),
        _breach(
            "a gather starts before all items have ended",
            f"{SEARCH}test_nothing_happens_when_nothing_happens[batch-memory]",
            ("engine.decide:Batch.is_over", "self.ended == self.started and", "self.ended >= 1 and"),
        ),
    ),
    "A healthy run fails by an outage": (
        _breach(
            "trouble of the runtime counts as a failure of the node",
            f"{EVERY}[before_execute-fail-memory]",
            (
                "runtime.lane:RunLane._note_end",
                "self._trouble = error",
                "self._ended.append((activation, Failed(describe_failure(activation.node_id, activation.key, 1, error, "
                "started_at)), started_at))",
            ),
        ),
        _breach(
            "the time-out of a sub-flow runs through outages",
            f"{UNIT}test_deadlines.py::test_an_outage_does_not_count[chain-5.0-store]",
            (
                "runtime.deadlines:find_deadline",
                "lost = [*_list_outages(workers), *services.availability.list_outages()]",
                "lost = []",
            ),
        ),
        _breach(
            "the time-out of a sub-flow does not begin anew with work that is repeated",
            f"{UNIT}test_deadlines.py::test_work_that_begins_again_has_its_time_again[kill]",
            ("runtime.deadlines:note_restart", "if header.parent is None or", "if True or"),
        ),
        _breach(
            "a process that could not load the app counts as killed by the node",
            "tests/integration/test_isolation.py::test_an_app_that_cannot_be_loaded_is_no_nodes_fault",
            (
                "runtime.isolated_process:IsolatedProcess.start",
                "raise IsolationUnavailable(reason, target=self._target) from error",
                "raise ProcessDied(reason) from error",
            ),
        ),
        _breach(
            "waiting for a thread counts as the node's own time",
            "tests/unit/engine/test_execute.py::test_waiting_for_a_thread_does_not_count",
            ("engine.attempt:Attempt._invoke", "watch.pause()", "pass"),
        ),
    ),
    "A message is dropped in silence": (
        _breach(
            "what cannot be handled is settled and not kept",
            f"{SEARCH}test_a_bad_message_is_in_nobodys_way",
            ("runtime.redelivery:Redelivery.bury_and_settle", "await self._bury(delivery, reason)", "pass"),
        ),
        _breach(
            "a dead letter that cannot be kept is given up",
            f"{UNIT}test_worker_failures.py::test_a_message_that_cannot_be_kept_at_all_is_in_nobodys_way",
            ("runtime.burial:keep_letter", "await clock.sleep(PAUSE_SECONDS)", "return"),
        ),
        _breach(
            "a wake that comes while the run is driven is not looked at",
            f"{UNIT}test_worker_life.py::test_cancelling_reaches_code_that_runs",
            ("runtime.lane:RunLane.offer", "if job.is_wake or not self.is_live:", "if not self.is_live:"),
        ),
        _breach(
            "whoever takes over a partition of the embedded queue begins behind its messages",
            f"{EVERY}[before_commit-kill-embedded]",
            (
                "backends.embedded.consumer:EmbeddedJobConsumer._hold",
                "self._positions[partition] = 0",
                "self._positions[partition] = read_counters(self._session.reader._connection)[1]",
            ),
        ),
    ),
    "A partition is blocked by one bad message": (
        _breach(
            "an unreadable message ends the worker",
            f"{SEARCH}test_a_bad_message_is_in_nobodys_way",
            ("runtime.worker:Worker._take", "except MessageError as error:", "except ZeroDivisionError as error:"),
        ),
        _breach(
            "a message of an unknown run is put back for ever",
            f"{SEARCH}test_a_bad_message_is_in_nobodys_way",
            ("runtime.redelivery:Redelivery.put_back", "if attempts >= limit:", "if False:"),
        ),
        _breach(
            "a letter that is too large for the dead letters ends the worker",
            f"{UNIT}test_worker_failures.py::test_a_message_too_large_for_the_dead_letters_is_kept_in_part[value]",
            ("runtime.burial:keep_letter", "except Exception as error:", "except ZeroDivisionError as error:"),
        ),
        _breach(
            "unreadable messages are tried again and again before the next one is looked at",
            f"{SEARCH}test_a_bad_message_is_in_nobodys_way",
            (
                "runtime.worker:Worker._fetch",
                "self._take(delivery)",
                'self._take(delivery) if delivery.message.value[:1] == b"{" else await self._parts.clock.sleep(9e9)',
            ),
        ),
    ),
    "User code is evaluated from a blueprint": (
        _breach(
            "conditions are evaluated by Python",
            "tests/unit/test_nothing_is_evaluated.py",
            (
                "engine.routing:evaluate_condition",
                "evaluation = evaluate(condition, scope)",
                "evaluation = evaluate(condition, scope)\n    try:\n        eval(condition)\n    except Exception:\n"
                "        pass",
            ),
        ),
        _breach(
            "names in inputs are evaluated by Python",
            "tests/unit/test_nothing_is_evaluated.py",
            (
                "engine.inputs:resolve_name",
                'if name.startswith("_") or "." not in name:',
                'try:\n        eval(name)\n    except Exception:\n        pass\n'
                '    if name.startswith("_") or "." not in name:',
            ),
        ),
        _breach(
            "node kinds are imported by name",
            "tests/unit/test_nothing_is_evaluated.py",
            (
                "engine.registry:NodeRegistry.find",
                "except KeyError:",
                "except KeyError:\n        try:\n            module, _, name = uses.partition(':')\n"
                "            return getattr(__import__(module), name)\n        except (ImportError, AttributeError, "
                "ValueError):\n            pass",
            ),
        ),
    ),
    "A secret is printed": (
        _breach(
            "the URL of Redis is shown as it is",
            "tests/unit/cli/test_secrets.py",
            (
                "backends.redis.settings:RedisSettings.describe",
                'return f"{parts.hostname}:{parts.port or 6379}"',
                "return self.url.get_secret_value()",
            ),
        ),
        _breach(
            "the place of Cassandra is shown with the password",
            "tests/unit/cli/test_secrets.py",
            (
                "backends.cassandra.settings:CassandraSettings.describe",
                "{self.port}, keyspace",
                "{self.port} {self.password.get_secret_value()}, keyspace",
            ),
        ),
        _breach(
            "a refused setting is shown with its value",
            "tests/unit/cli/test_secrets.py",
            (
                "backends.environment:_parse",
                "is not JSON ({error.msg} at character {error.pos})",
                "is not JSON ({text})",
            ),
        ),
        _breach(
            "the worker logs the context of a run",
            f"{UNIT}test_worker_life.py::test_no_secret_is_written_to_the_log",
            (
                "runtime.ownership:_own",
                "state = rebuild_state(stored, blueprint)",
                '__import__("logging").warning("%s", stored)\n    state = rebuild_state(stored, blueprint)',
            ),
        ),
    ),
    "A Dagster code location does not load because a server is down": (
        _breach(
            "the definitions list runs as they are built",
            "tests/acceptance/test_location_without_servers.py",
            (
                "orchestration.definitions:build_flowcraft_definitions",
                "loaded = find_app(target)",
                "loaded = find_app(target)\n    loaded.client().runs()",
            ),
        ),
    ),
}
