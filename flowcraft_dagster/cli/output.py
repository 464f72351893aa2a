"""What commands show: JSON for programs, tables for people, plain lines where there is no terminal."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from datetime import datetime, timezone
from typing import Any

import click

from flowcraft_dagster.engine.json_codec import encode
from flowcraft_dagster.errors import one_line

_COLUMN_GAP = 3
_READABLE_WIDTH = 20


def show_json(value: Any, *, lines: bool = False) -> None:
    """Write a JSON document.

    Args:
        value: JSON.
        lines: write it in one line, so that several make JSON lines.
    """
    data = encode(value)
    if not lines:
        try:
            text = json.dumps(json.loads(data), indent=2, ensure_ascii=False)
            text.encode(sys.stdout.encoding or "utf-8")
            click.echo(text)
            return
        except UnicodeEncodeError:
            data = json.dumps(json.loads(data), indent=2).encode()
    click.echo(data.decode())


def show_value(value: Any) -> str:
    """A JSON value in one line, for people."""
    return one_line(encode(value).decode())


def shorten(text: str, length: int) -> str:
    """Cut ``text`` to ``length`` characters."""
    return text if len(text) <= length else text[: length - 3] + "..."


def show_time(moment: float | None, *, with_year: bool = True) -> str:
    """A moment (seconds since 1970 UTC) in local time; ``-`` where there is none."""
    if moment is None:
        return "-"
    form = "%Y-%m-%d %H:%M:%S" if with_year else "%m-%d %H:%M:%S"
    return datetime.fromtimestamp(moment, tz=timezone.utc).astimezone().strftime(form)


def show_seconds(seconds: float | None) -> str:
    """A length of time.

    Example:
        >>> show_seconds(0.0123), show_seconds(75), show_seconds(None)
        ('12 ms', '1 min 15 s', '-')
    """
    if seconds is None:
        return "-"
    if seconds < 1:
        return f"{max(seconds, 0) * 1000:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    if seconds < 3600:
        return f"{int(seconds // 60)} min {int(seconds % 60)} s"
    if seconds < 86400:
        return f"{int(seconds // 3600)} h {int(seconds % 3600 // 60)} min"
    return f"{int(seconds // 86400)} d {int(seconds % 86400 // 3600)} h"


def show_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Write a table: drawn on a terminal, aligned plain text elsewhere."""
    clean = [[one_line(cell) for cell in row] for row in rows]
    widths = [max(map(len, cells)) for cells in zip(columns, *clean, strict=True)]
    if sys.stdout.isatty():
        from rich import box
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
        for place, column in enumerate(columns):
            # Names are copied, so only the last column, which is for reading, is broken into lines.
            table.add_column(column, no_wrap=place < len(columns) - 1, overflow="fold")
        for row in clean:
            table.add_row(*(Text(cell) for cell in row))
        console = Console(highlight=False)
        # A narrow terminal breaks the lines itself: an id that was cut could not be copied.
        needed = sum(widths[:-1]) + _COLUMN_GAP * (len(widths) - 1) + min(widths[-1], _READABLE_WIDTH)
        console.width = max(console.width, needed)
        console.print(table)
        return
    for row in [list(columns), *clean]:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def show_fields(fields: Sequence[tuple[str, str]]) -> None:
    """Write names and values, aligned."""
    width = max(len(name) for name, _ in fields)
    for name, value in fields:
        click.echo(f"{name.ljust(width)}  {one_line(value)}".rstrip())
