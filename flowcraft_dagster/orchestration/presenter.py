"""How runs are shown in the UI: redacted, within limits, with a picture."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

import dagster as dg
import orjson

from flowcraft_dagster.blueprint import Blueprint, RunPicture
from flowcraft_dagster.engine.facts import NodeFailure
from flowcraft_dagster.errors import one_line
from flowcraft_dagster.orchestration.figures import FAILURE_COLUMNS, RunFigures, sum_up, tabulate
from flowcraft_dagster.orchestration.labels import DAGSTER_RUN_TAG, RUN_ID
from flowcraft_dagster.orchestration.pictures import draw_svg, embed_svg
from flowcraft_dagster.ports.records import RunHeader
from flowcraft_dagster.runtime.result import NodeTiming, RunResult

Redact = Callable[[str, Any], Any]
"""Takes the name of a value and the value; gives what may be shown."""

HIDDEN: Final = "[redacted]"
PLOTTED: Final = ("runs", "completed", "failed", "cancelled", "as_subflow", "failed_share", "duration_p50_seconds")
"""Figures of many runs that also mean something for a single one."""

MOST_ROWS: Final = 100
"""Rows of a table, and nodes of a run that are listed."""

_SENSITIVE: Final = (
    r"(?:pass(?:word|wd|phrase)|secret|token|(?:api|access|private)[_-]?key|authori[sz]ation|credential)"
)
_NAME: Final = re.compile(_SENSITIVE, re.IGNORECASE)
# Bounded, so that no text makes them slow.
_ASSIGNED: Final = re.compile(
    rf"""({_SENSITIVE}[\w-]{{0,40}}["']?\s{{0,5}}[=:]\s{{0,5}})"""
    r"""(?:(?:bearer|basic)\s)?("(?:[^"\\]|\\.){0,2000}"|'(?:[^'\\]|\\.){0,2000}'|["']?[^\s,;&"']+)""",
    re.IGNORECASE,
)
_CREDENTIALS: Final = re.compile(r"(\w://)[^\s/]+@")


def hide_secrets(name: str, value: Any) -> Any:
    """The default redaction: values whose name sounds like a secret are hidden, at any depth.

    In text, such as the message of an error, that is done for what follows such a name, and for user names and
    passwords in addresses.

    Example:
        >>> hide_secrets("context", {"user": "ann", "api_key": "k"})
        {'user': 'ann', 'api_key': '[redacted]'}
        >>> hide_secrets("message", "amqp://ann:pw@host refused, api_key=k-123")
        'amqp://[redacted]@host refused, api_key=[redacted]'
    """
    if value is not None and _NAME.search(name):
        return HIDDEN
    if isinstance(value, Mapping):
        return {key: hide_secrets(str(key), item) for key, item in value.items()}
    if isinstance(value, str):
        return _CREDENTIALS.sub(rf"\1{HIDDEN}@", _ASSIGNED.sub(rf"\1{HIDDEN}", value))
    return [hide_secrets(name, item) for item in value] if isinstance(value, (list, tuple)) else value


@dataclass(frozen=True)
class Presenter:
    """Turns runs into metadata.

    Attributes:
        redact: is asked before a context, an output or an error message is shown.
        max_bytes: a value whose JSON is larger is cut.
        max_picture_bytes: a picture whose SVG is larger is left out.
        run_url: where people find more about a run, with ``{run_id}`` in it; empty for nowhere.
    """

    redact: Redact = hide_secrets
    max_bytes: int = 16_384
    max_picture_bytes: int = 49_152
    run_url: str = ""

    def show_value(self, name: str, value: Any) -> dg.MetadataValue[Any]:
        """A JSON value as metadata, redacted and cut to size."""
        shown = self.redact(name, value)
        text = orjson.dumps(shown, option=orjson.OPT_NON_STR_KEYS, default=str)
        if len(text) <= self.max_bytes:
            return dg.MetadataValue.json(shown)
        start = text[: self.max_bytes].decode("utf-8", "ignore")
        return dg.MetadataValue.text(f"{start}… ({len(text)} bytes; see 'flowcraft-dagster status')")

    def show_text(self, name: str, text: str, limit: int = 500) -> str:
        """Text on one line, redacted and cut; what would move a terminal's cursor is escaped."""
        shown = one_line(" ".join(str(self.redact(name, text)).split()))
        return shown if len(shown) <= limit else shown[: limit - 1] + "…"

    def show_blueprint(self, blueprint: Blueprint) -> str:
        """Markdown with the picture of a blueprint; empty where it would be too large."""
        return embed_svg(draw_svg(blueprint), blueprint.id, self.max_picture_bytes)

    def show_run(self, result: RunResult, blueprint: Blueprint) -> str:
        """Markdown with the picture of a run; empty where it would be too large."""
        return embed_svg(draw_svg(blueprint, picture_run(result)), result.run_id, self.max_picture_bytes)

    def describe_result(
        self, result: RunResult, header: RunHeader, blueprint: Blueprint, *, counts: bool = True
    ) -> dict[str, Any]:
        """Metadata of a single finished run: its outputs and its picture.

        Args:
            result: the run.
            header: the same run.
            blueprint: what it followed.
            counts: whether the figures of :class:`RunFigures` are part of it; not when another event has them.
        """
        picture = self.show_run(result, blueprint)
        figures = self.describe_figures(sum_up([header])) if counts else {}
        return {
            RUN_ID: result.run_id,
            "status": result.status,
            **({"seconds": round(result.finished_at - result.started_at, 3)} if result.finished_at is not None else {}),
            **({"retry_of": result.retry_of} if result.retry_of else {}),
            "outputs": self.show_value("outputs", result.outputs),
            **({"picture": dg.MetadataValue.md(picture)} if picture else {}),
            **({"failures": self.tabulate_failures([result])} if result.errors else {}),
            **({"skipped_nodes": list(result.skipped_nodes[:MOST_ROWS])} if result.skipped_nodes else {}),
            "node_seconds": dg.MetadataValue.json(measure_nodes(result.timings)),
            # Those of many runs, so that the UI plots both in one line; a table of one run would say nothing new.
            **{name: value for name, value in figures.items() if name in PLOTTED},
        }

    def link_run(self, header: RunHeader) -> dict[str, Any]:
        """Links from a run: the Dagster run that started it, and where people find more about it."""
        dagster_run = header.tags.get(DAGSTER_RUN_TAG)
        url = self.run_url.replace("{run_id}", quote(header.run_id, safe=""))
        return {
            **({"dagster_run": dg.MetadataValue.dagster_run(dagster_run)} if dagster_run else {}),
            **({"url": dg.MetadataValue.url(url)} if url else {}),
        }

    def describe_figures(self, figures: RunFigures) -> dict[str, Any]:
        """Metadata of many runs: figures, and the latest of them as a table."""
        return figures.to_metadata(lambda reason: self.show_text("reason", reason))

    def tabulate_failures(self, results: Iterable[RunResult]) -> dg.TableMetadataValue:
        """What failed in runs, as a table."""
        return tabulate(
            FAILURE_COLUMNS,
            [
                {
                    "run": result.run_id,
                    "node": e.node_id,
                    "error": e.type,
                    "message": self.show_text("message", e.message),
                }
                for result in results
                for e in result.errors
            ][:MOST_ROWS],
        )

    def name_failure(self, result: RunResult) -> str:
        """One line that names run, node and error."""
        unhandled: list[NodeFailure] = [error for error in result.errors if not error.handled] or list(result.errors)
        if not unhandled:
            return (
                f"run {result.run_id} {result.status}: {self.show_text('reason', result.reason or 'no reason given')}"
            )
        error = unhandled[0]
        where = f"run {result.run_id}, node '{one_line(error.node_id)}'"
        return f"{where}: {one_line(error.type)}: {self.show_text('message', error.message)}"


def picture_run(result: RunResult) -> RunPicture:
    """What of a run is drawn into its blueprint."""
    counts = Counter(timing.node_id for timing in result.timings)
    return RunPicture(
        finished=frozenset(timing.node_id for timing in result.timings if timing.status == "ok"),
        failed=frozenset(result.failed_nodes),
        waiting=frozenset(wait.node_id for wait in result.waiting),
        taken_edges=result.taken_edges,
        counts=dict(counts),
    )


def measure_nodes(timings: Iterable[NodeTiming]) -> dict[str, float]:
    """Seconds spent in each node, all its executions together; of many nodes, the slowest."""
    seconds: dict[str, float] = {}
    for timing in timings:
        if timing.finished_at is not None:
            spent = max(0.0, timing.finished_at - timing.started_at)
            seconds[timing.node_id] = round(seconds.get(timing.node_id, 0.0) + spent, 4)
    if len(seconds) <= MOST_ROWS:
        return seconds
    return dict(sorted(seconds.items(), key=lambda item: -item[1])[:MOST_ROWS])
