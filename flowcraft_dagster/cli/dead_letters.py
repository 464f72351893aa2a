"""``dead-letters``: messages nobody could handle."""

from __future__ import annotations

import asyncio
import base64
import sys
from typing import Any

import click

from flowcraft_dagster.cli.failures import DONE, FAILED, WRONG_USAGE, CommandFailed
from flowcraft_dagster.cli.output import shorten, show_fields, show_json, show_table, show_time
from flowcraft_dagster.cli.parameters import Text, json_option
from flowcraft_dagster.cli.session import open_backend, open_client
from flowcraft_dagster.cli.taught import TaughtGroup
from flowcraft_dagster.errors import FlowcraftError, one_line
from flowcraft_dagster.ports.backend import Backend
from flowcraft_dagster.ports.records import DeadLetter
from flowcraft_dagster.runtime.requests import replay_letter

_ALL = 100_000


@click.group(
    "dead-letters",
    cls=TaughtGroup,
    examples=[
        "flowcraft-dagster dead-letters list",
        "flowcraft-dagster dead-letters show 3-1041",
        "flowcraft-dagster dead-letters replay 3-1041     # after the cause is gone",
        "flowcraft-dagster dead-letters drop --all",
    ],
    invoke_without_command=True,
)
@click.pass_context
def dead_letters(ctx: click.Context) -> int | None:
    """Messages nobody could handle, kept with their original bytes until somebody decides."""
    if ctx.invoked_subcommand is not None:
        return None
    click.echo(ctx.get_help())
    return WRONG_USAGE


@dead_letters.command("list")
@click.option("--limit", type=click.IntRange(1, _ALL), default=50, show_default=True, help="How many at most.")
@json_option
def list_letters(limit: int, as_json: bool) -> int:
    """List letters, the newest first."""
    letters = asyncio.run(_list(limit))
    if as_json:
        show_json([letter_to_json(letter) for letter in letters])
    elif letters:
        rows = [
            [letter.letter_id, show_time(letter.at), letter.source, shorten(_text(letter.value), 40), letter.reason]
            for letter in letters
        ]
        show_table(["LETTER", "SINCE", "SOURCE", "MESSAGE", "REASON"], rows)
    else:
        click.echo("no dead letters", err=True)
    return DONE


@dead_letters.command("show")
@click.argument("letter_id", metavar="LETTER", type=Text())
@click.option("--raw", is_flag=True, help="Write the original bytes of the message and nothing else.")
@json_option
def show_letter(letter_id: str, raw: bool, as_json: bool) -> int:
    """Show a letter: the message, where it came from and why nobody could handle it."""
    letter = asyncio.run(_read(letter_id))
    if raw:
        sys.stdout.buffer.write(letter.value)
    elif as_json:
        show_json(letter_to_json(letter))
    else:
        headers = [(f"header {name}", value) for name, value in sorted(letter.headers.items())]
        show_fields(
            [
                ("letter", letter.letter_id),
                ("since", show_time(letter.at)),
                ("source", letter.source),
                ("reason", letter.reason),
                ("key", _text(letter.key)),
                *headers,
                ("bytes", str(len(letter.value))),
                ("message", _text(letter.value)),
            ]
        )
    return DONE


@dead_letters.command("replay")
@click.argument("letter_ids", metavar="[LETTER]...", type=Text(), nargs=-1)
@click.option("--all", "everything", is_flag=True, help="All letters.")
@json_option
def replay_letters(letter_ids: tuple[str, ...], everything: bool, as_json: bool) -> int:
    """Send letters to the queue again and drop them."""
    _check_choice(letter_ids, everything)
    return _show_outcome("replayed", asyncio.run(_replay(letter_ids, everything)), as_json)


@dead_letters.command("drop")
@click.argument("letter_ids", metavar="[LETTER]...", type=Text(), nargs=-1)
@click.option("--all", "everything", is_flag=True, help="All letters.")
@json_option
def drop_letters(letter_ids: tuple[str, ...], everything: bool, as_json: bool) -> int:
    """Forget letters for good."""
    _check_choice(letter_ids, everything)
    return _show_outcome("dropped", asyncio.run(_drop(letter_ids, everything)), as_json)


def letter_to_json(letter: DeadLetter) -> dict[str, Any]:
    """A letter in JSON; the bytes in base64, and as text where they are UTF-8."""
    return {
        "letterId": letter.letter_id,
        "at": letter.at,
        "source": letter.source,
        "reason": letter.reason,
        "key": letter.key.decode("utf-8", "replace"),
        "headers": dict(letter.headers),
        "value": base64.b64encode(letter.value).decode("ascii"),
        "text": _decode(letter.value),
    }


def _decode(data: bytes) -> str | None:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return None


def _text(data: bytes) -> str:
    return one_line(data.decode("utf-8", "backslashreplace"))


def _check_choice(letter_ids: tuple[str, ...], everything: bool) -> None:
    if bool(letter_ids) == everything:
        raise click.UsageError("name letters, or give --all.", click.get_current_context())


def _show_outcome(done: str, outcome: tuple[list[str], dict[str, str]], as_json: bool) -> int:
    handled, failed = outcome
    if as_json:
        show_json({done: handled, "failed": failed})
    else:
        click.echo(f"{done} {len(handled)} letters")
        for letter_id, reason in failed.items():
            click.echo(f"error: letter '{letter_id}': {reason}", err=True)
    return FAILED if failed else DONE


async def _list(limit: int) -> tuple[DeadLetter, ...]:
    async with open_backend() as backend:
        return await backend.dead_letters.list_letters(limit)


async def _read(letter_id: str) -> DeadLetter:
    async with open_backend() as backend:
        letter = await backend.dead_letters.read_letter(letter_id)
    if letter is None:
        raise CommandFailed(f"there is no dead letter '{letter_id}'", "List them with 'dead-letters list'.")
    return letter


async def _find_ids(backend: Backend, letter_ids: tuple[str, ...], everything: bool) -> list[str]:
    if not everything:
        return list(dict.fromkeys(letter_ids))
    # The oldest first: messages of a run go back in their order.
    return [letter.letter_id for letter in reversed(await backend.dead_letters.list_letters(_ALL))]


async def _replay(letter_ids: tuple[str, ...], everything: bool) -> tuple[list[str], dict[str, str]]:
    handled: list[str] = []
    failed: dict[str, str] = {}
    async with open_client() as client:
        backend = client.backend
        for letter_id in await _find_ids(backend, letter_ids, everything):
            try:
                letter = await backend.dead_letters.read_letter(letter_id)
                if letter is None:
                    failed[letter_id] = "there is no such letter"
                    continue
                await replay_letter(client, letter)
                handled.append(letter_id)
            except FlowcraftError as error:
                failed[letter_id] = str(error)
    return handled, failed


async def _drop(letter_ids: tuple[str, ...], everything: bool) -> tuple[list[str], dict[str, str]]:
    handled: list[str] = []
    failed: dict[str, str] = {}
    async with open_backend() as backend:
        for letter_id in await _find_ids(backend, letter_ids, everything):
            try:
                if await backend.dead_letters.drop_letter(letter_id):
                    handled.append(letter_id)
                else:
                    failed[letter_id] = "there is no such letter"
            except FlowcraftError as error:
                failed[letter_id] = str(error)
    return handled, failed
