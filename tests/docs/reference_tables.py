"""Tables of the reference, made from the code.

Run it from the project root: `python -m tests.docs.reference_tables`. It rewrites what stands between the lines
`<!-- generated: NAME -->` and `<!-- end -->` in `docs/reference/`. A test fails while a table differs from the code.
"""

from __future__ import annotations

import dataclasses
import inspect
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import click
from pydantic import BaseModel, SecretStr

from flowcraft_dagster import errors
from flowcraft_dagster.backends.cassandra.settings import CassandraSettings, CassandraTables
from flowcraft_dagster.backends.kafka.settings import RESERVED_OPTIONS, KafkaSettings
from flowcraft_dagster.backends.redis.settings import RedisSettings
from flowcraft_dagster.blueprint import fields, lint, parse
from flowcraft_dagster.blueprint.issues import CODES
from flowcraft_dagster.cli.health_server import name_metric
from flowcraft_dagster.cli.program import program
from flowcraft_dagster.cli.worker_process import GAUGES
from flowcraft_dagster.engine import json_codec
from flowcraft_dagster.engine.expression import limits
from flowcraft_dagster.runtime.options import RuntimeOptions
from flowcraft_dagster.runtime.services import COUNTERS

ROOT = Path(__file__).resolve().parents[2]
REFERENCE = ROOT / "docs" / "reference"
BLOCK = re.compile(r"(<!-- generated: ([a-z-]+) -->\n)(.*?)(<!-- end -->)", re.DOTALL)


def read_attributes(kind: type) -> dict[tuple[str, ...], str]:
    """The ``Attributes`` section of a docstring: texts by the names they describe."""
    section = inspect.cleandoc(kind.__doc__ or "").partition("Attributes:\n")[2]
    found: dict[tuple[str, ...], str] = {}
    names: tuple[str, ...] = ()
    for line in section.splitlines():
        if not line.strip():
            break
        match = re.fullmatch(r"    (\w[\w, ]*): (.*)", line)
        if match:
            names = tuple(match[1].split(", "))
            found[names] = match[2]
        else:
            found[names] += " " + line.strip()
    return {names: to_markdown(text) for names, text in found.items()}


def to_markdown(text: str) -> str:
    """Text of a docstring as Markdown that may stand in a table."""
    text = re.sub(r":(?:class|func|mod|meth):`~?(?:[\w.]*\.)?(\w+)`", r"`\1`", text).replace("``", "`")
    return text.replace("|", "\\|")


def write_table(head: Sequence[str], rows: Iterator[Sequence[str]] | Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)])


def write_runtime_options() -> str:
    """Every runtime option with its variable."""
    defaults = {field.name: field.default for field in dataclasses.fields(RuntimeOptions)}
    rows = [
        [
            ", ".join(f"`FLOWCRAFT_{name.upper()}`" for name in names),
            ", ".join(_show(defaults[name]) for name in names),
            text,
        ]
        for names, text in read_attributes(RuntimeOptions).items()
    ]
    return write_table(["Variable", "Default", "Meaning"], rows)


def write_model(model: type[BaseModel], prefix: str) -> str:
    """Every field of a settings model, with its variable where it has a prefix."""
    rows = []
    for names, text in read_attributes(model).items():
        shown = [f"`{prefix}_{name.upper()}`" if prefix else f"`{name}`" for name in names]
        values = [model.model_fields[name].get_default(call_default_factory=True) for name in names]
        rows.append([", ".join(shown), ", ".join(dict.fromkeys(map(_show, values))), text])
    return write_table(["Variable" if prefix else "Name", "Default", "Meaning"], rows)


def _show(value: Any) -> str:
    if value is None or value == {} or isinstance(value, BaseModel):
        return ""
    if isinstance(value, SecretStr):
        value = value.get_secret_value()
    if isinstance(value, tuple):
        value = ",".join(map(str, value))
    if isinstance(value, bool):
        value = str(value).lower()
    if isinstance(value, dict):
        value = str(value).replace("'", '"')
    return f"`{value}`"


def write_limits() -> str:
    """Limits of blueprints and expressions that are no settings."""
    rows = [
        ("nodes of a blueprint", parse.MAX_NODES),
        ("edges of a blueprint", parse.MAX_EDGES),
        ("bytes of a blueprint file", parse.MAX_FILE_BYTES),
        ("characters of an id or node kind", fields.MAX_NAME_LENGTH),
        ("characters of an expression", limits.MAX_LENGTH),
        ("levels of nesting in an expression", limits.MAX_DEPTH),
        ("literals, names, members and operators of an expression", limits.MAX_PARTS),
        ("characters of a text that an expression builds", limits.MAX_TEXT),
        ("levels of nesting in a context, an output, an answer or what a transform gives", json_codec.MAX_DEPTH),
    ]
    return write_table(["What", "Limit"], [(what, f"{limit:,}") for what, limit in rows])


def write_lint_codes() -> str:
    """Every lint code with its meaning and hint."""
    meanings = dict(re.findall(r"^([A-Z_]+) +(?:error|warning) +(.+)$", lint.__doc__ or "", re.MULTILINE))
    rows = [
        (f"`{code}`", severity, to_markdown(meanings[code]), to_markdown(hint))
        for code, (severity, hint) in CODES.items()
    ]
    return write_table(["Code", "Severity", "Meaning", "What to do"], rows)


def list_errors() -> list[type[errors.FlowcraftError]]:
    """Every public error class, in the order of the module."""
    kinds = [kind for kind in vars(errors).values() if inspect.isclass(kind)]
    return [kind for kind in kinds if issubclass(kind, errors.FlowcraftError)]


def write_error_tree() -> str:
    """The classes as a tree, each with the first sentence of its docstring."""
    lines: list[str] = []
    kinds = list_errors()

    def add(kind: type, indent: str) -> None:
        sentence = (kind.__doc__ or "").strip().splitlines()[0].partition(" Fields:")[0].rstrip(".")
        lines.append(f"{indent + kind.__name__:<36}{sentence}".rstrip())
        for child in kinds:
            if child.__bases__[0] is kind:
                add(child, indent + "    ")

    add(errors.FlowcraftError, "")
    return "\n".join(["```", *lines, "```"])


def write_commands() -> str:
    """Every command with its arguments and options."""
    parts: list[str] = []
    for name, command, context in walk_commands():
        usage = " ".join(command.collect_usage_pieces(context))
        parts.append(f"## `{name}`\n\n```\nflowcraft-dagster {name} {usage}\n```\n\n{_describe(command)}")
        options = [param for param in command.params if isinstance(param, click.Option) and not param.hidden]
        if options:
            rows = [(_name_option(option, context), _explain_option(option)) for option in options]
            parts.append(write_table(["Option", "Meaning"], rows))
    return "\n\n".join(parts)


NamedCommand = tuple[str, click.Command, click.Context]


def walk_commands() -> Iterator[NamedCommand]:
    """Every command that does something, by its full name."""
    root = click.Context(program, info_name="flowcraft-dagster")

    def walk(group: click.Group, context: click.Context, prefix: str) -> Iterator[NamedCommand]:
        for name in group.list_commands(context):
            command = group.get_command(context, name)
            if command is None:
                raise LookupError(name)
            inner = click.Context(command, parent=context, info_name=name)
            if isinstance(command, click.Group):
                yield from walk(command, inner, f"{prefix}{name} ")
            else:
                yield prefix + name, command, inner

    return walk(program, root, "")


def _describe(command: click.Command) -> str:
    paragraphs = inspect.cleandoc(command.help or "").split("\n\n")
    return to_markdown("\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)).replace("\\|", "|")


def _name_option(option: click.Option, context: click.Context) -> str:
    value = "" if option.is_flag else f" {option.make_metavar(context)}"
    return to_markdown(f"`{', '.join(option.opts)}{value}`")


def _explain_option(option: click.Option) -> str:
    more = f" Default: `{option.default}`." if option.show_default and option.default is not None else ""
    more += f" Variable: `{option.envvar}`." if option.envvar else ""
    return to_markdown((option.help or "") + more)


def write_metrics_table() -> str:
    """Every figure of a worker with its meaning."""
    gauges = [(f"`{name_metric(name)}`", "gauge", text) for name, text in GAUGES.items()]
    counters = [(f"`{name_metric(name, counts=True)}`", "counter", text) for name, text in COUNTERS.items()]
    return write_table(["Metric", "Kind", "Meaning"], [*gauges, *counters])


def write_error_advice() -> str:
    """What each error says, and what to do."""
    rows = []
    for kind in list_errors():
        if kind.template != "{reason}" or kind.hint_template:
            message = "`" + to_markdown(kind.template).replace("`", "'") + "`"
            rows.append((f"`{kind.__name__}`", message, to_markdown(kind.hint_template.replace("{near}", ""))))
    return write_table(["Error", "Says", "What to do"], rows)


TABLES: Mapping[str, Callable[[], str]] = {
    "limits": write_limits,
    "runtime-options": write_runtime_options,
    "kafka-settings": lambda: write_model(KafkaSettings, "KAFKA"),
    "kafka-reserved": lambda: ", ".join(f"`{name}`" for name in sorted(RESERVED_OPTIONS)) + ".",
    "cassandra-settings": lambda: write_model(CassandraSettings, "CASSANDRA"),
    "cassandra-tables": lambda: write_model(CassandraTables, ""),
    "redis-settings": lambda: write_model(RedisSettings, "REDIS"),
    "lint-codes": write_lint_codes,
    "error-tree": write_error_tree,
    "error-advice": write_error_advice,
    "metrics": write_metrics_table,
    "commands": write_commands,
}
"""What each block is made of."""


def renew(text: str) -> str:
    """A page with its generated blocks made anew."""
    return BLOCK.sub(lambda match: f"{match[1]}\n{TABLES[match[2]]()}\n\n{match[4]}", text)


def main() -> None:
    """Rewrite the pages."""
    for page in sorted(REFERENCE.glob("*.md")):
        old = page.read_text(encoding="utf-8")
        new = renew(old)
        if new != old:
            page.write_text(new, encoding="utf-8")
            sys.stdout.write(f"{page.relative_to(ROOT)} renewed\n")


if __name__ == "__main__":
    main()
