"""Options and argument types that several commands share."""

from __future__ import annotations

import os
import re
import sys
import time
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from flowcraft_dagster.engine.json_codec import decode_strictly
from flowcraft_dagster.errors import SizeLimitExceeded, one_line
from flowcraft_dagster.runtime.messages import is_run_id

if TYPE_CHECKING:
    _Type = click.ParamType[Any]
else:
    # Older releases of click know no type arguments.
    _Type = click.ParamType

LONGEST_DAYS = 36_500
MAX_JSON_BYTES = 64 * 1024 * 1024
"""More is not even read; the limits of the settings are far below."""

_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|min|h|d|w)?")
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}


class Text(click.types.StringParamType):
    """Text, such as an id or a reason. Bytes that are none are refused: they could not be stored."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Check the value."""
        return _read_text(super().convert(value, param, ctx), self, param, ctx)


class JsonValue(_Type):
    """JSON, ``@FILE`` with JSON in it, or ``@-`` for standard input.

    Args:
        needs_object: whether it must be an object.
    """

    name = "JSON|@FILE"

    def __init__(self, *, needs_object: bool = False) -> None:
        self._needs_object = needs_object

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Read the value."""
        if not isinstance(value, str):
            return value
        origin, data = self._read(value, param, ctx)
        try:
            document = decode_strictly(data)
        except ValueError as error:
            where = f" in '{origin}'" if origin else ""
            self.fail(f"not JSON{where}: {error}.", param, ctx)
        except RecursionError:
            self.fail("nested too deeply.", param, ctx)
        if self._needs_object and not isinstance(document, dict):
            self.fail(f"must be a JSON object, not {_name_kind(document)}.", param, ctx)
        return document

    def _read(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, bytes]:
        if not value.startswith("@"):
            return "", _read_text(value, self, param, ctx).encode()
        name = value[1:]
        try:
            if name == "-" and sys.stdin is None:
                self.fail("standard input is closed.", param, ctx)
            if name == "-":
                return "standard input", _limit(sys.stdin.buffer.read(MAX_JSON_BYTES + 1), "standard input")
            with Path(name).open("rb") as file:
                return name, _limit(file.read(MAX_JSON_BYTES + 1), f"file '{name}'")
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            self.fail(f"cannot read '{name}': {reason.lower()}.", param, ctx)


class Moment(_Type):
    """A moment: ``2h`` (ago), an ISO date or time, or seconds since 1970. Becomes seconds since 1970 UTC."""

    name = "WHEN"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Read the value."""
        if isinstance(value, float):
            return value
        text = str(value).strip()
        ago = _DURATION.fullmatch(text)
        if ago is not None and ago.group(2):
            return time.time() - float(ago.group(1)) * _UNITS[ago.group(2)]
        if ago is not None:
            return float(text)
        try:
            # Python 3.10 reads no final Z. A time without a zone is the local one.
            return datetime.fromisoformat(re.sub("[zZ]$", "+00:00", text)).timestamp()
        except (ValueError, OverflowError, OSError):
            self.fail(f"'{text}' is no moment; write 2h, 7d, 2025-01-31 or 2025-01-31T09:30.", param, ctx)


class Seconds(_Type):
    """A length of time: ``90``, ``1.5s``, ``5m``, ``2h``. Becomes seconds.

    Args:
        above_zero: whether 0 is refused.
    """

    name = "SECONDS"

    def __init__(self, *, above_zero: bool = False) -> None:
        self._above_zero = above_zero

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Read the value."""
        match = _DURATION.fullmatch(str(value).strip())
        if match is None:
            self.fail(f"'{value}' is no length of time; write 90, 1.5s, 5m or 2h.", param, ctx)
        seconds = float(match.group(1)) * _UNITS[match.group(2) or "s"]
        if self._above_zero and seconds <= 0:
            self.fail("must be above zero.", param, ctx)
        return seconds


def _read_text(value: str, kind: _Type, param: click.Parameter | None, ctx: click.Context | None) -> str:
    try:
        # What the locale could not decode came in as surrogates.
        return os.fsencode(value).decode() if not value.isascii() else value
    except UnicodeError:
        kind.fail(f"'{one_line(value)}' is not UTF-8 text.", param, ctx)


def _limit(data: bytes, what: str) -> bytes:
    if len(data) > MAX_JSON_BYTES:
        raise SizeLimitExceeded(what=what, size=f"more than {MAX_JSON_BYTES}", limit=MAX_JSON_BYTES)
    return data


def _name_kind(value: Any) -> str:
    names = {type(None): "null", bool: "a boolean", int: "a number", float: "a number", str: "text", list: "a list"}
    return names.get(type(value), type(value).__name__)


class Identifier(_Type):
    """A name that is given to something new: a run that is to be started, a worker's place."""

    name = "ID"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Check the value."""
        text = _read_text(str(value), self, param, ctx)
        if not is_run_id(text):
            self.fail("must be 1 to 200 printable characters.", param, ctx)
        return text


class FilePath(_Type):
    """A path that is not empty."""

    name = "PATH"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        """Check the value."""
        if not str(value):
            self.fail("the path is empty.", param, ctx)
        return Path(value)


class Days(_Type):
    """A number of days, 0 or more. Becomes seconds."""

    name = "DAYS"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Read the value."""
        try:
            days = float(value)
        except ValueError:
            days = -1.0
        if not 0 <= days <= LONGEST_DAYS:
            self.fail(f"'{value}' is no number of days from 0 to {LONGEST_DAYS}.", param, ctx)
        return days * _UNITS["d"]


blueprint_file = click.argument("file", metavar="FILE.json", type=FilePath())

app_option = click.option(
    "--app",
    "target",
    metavar="MODULE:ATTR",
    type=Text(),
    envvar="FLOWCRAFT_APP",
    show_envvar=True,
    help="The app with your node kinds and blueprints, importable from here.",
)

blueprints_option = click.option(
    "--blueprints",
    "extra",
    metavar="PATH",
    multiple=True,
    type=FilePath(),
    help="More blueprints: a file or a folder, for example those of sub-flows. May be given again.",
)

json_option = click.option("--json", "as_json", is_flag=True, help="Write JSON, for programs.")

context_option = click.option(
    "--context",
    metavar="JSON|@FILE",
    type=JsonValue(needs_object=True),
    default="{}",
    show_default=True,
    help="The initial context, an object. @FILE reads a file, @- standard input.",
)
