"""The pages agree with the code: links lead somewhere, programs run, tables are those of the code."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

import click
import pytest

from flowcraft_dagster.app import check_expression
from flowcraft_dagster.blueprint import lint_blueprint, parse_blueprint
from flowcraft_dagster.runtime.options import RuntimeOptions
from tests.docs.pages import (
    PAGES,
    ROOT,
    find_expected_output,
    list_anchors,
    list_links,
    name_page,
    read_blocks,
    run_program,
)
from tests.docs.reference_tables import BLOCK, REFERENCE, TABLES, list_errors, read_attributes, renew, walk_commands

DOCS = [page for page in PAGES if page.is_relative_to(ROOT / "docs")]
SNIPPETS = sorted((ROOT / "docs" / "snippets").iterdir())
# The quickstart's files are a project of their own: test_quickstart.py makes it and runs it.
PROGRAMS = [
    pytest.param(program, id=f"{name_page(page)}-{number}")
    for page in DOCS
    if page.name != "quickstart.md"
    for number, program in enumerate(read_blocks(page, "python"), 1)
]
MACHINE_PATH = re.compile(r"(?<![\w.])/(?:work|root|home|tmp|Users|usr/local)/")
MOST_PICTURE_BYTES = 150_000
EVENT = re.compile(r"""(?:emit|report)\(\s*"([a-z]+:[a-z]+)\"""")


@pytest.mark.parametrize("page", PAGES, ids=name_page)
def test_links_lead_somewhere(page: Path) -> None:
    for target in list_links(page):
        if target.startswith(("https://", "http://")):
            continue
        path, _, anchor = unquote(target).partition("#")
        place = (page.parent / path).resolve() if path else page
        assert place.exists(), f"{target} leads nowhere"
        assert place.is_relative_to(ROOT)
        if anchor:
            assert anchor in list_anchors(place), f"{target}: there is no such heading"


def test_every_picture_is_shown_and_none_is_large() -> None:
    shown = {(page.parent / target).resolve() for page in PAGES for target in list_links(page)}
    for picture in sorted((ROOT / "docs" / "images").iterdir()):
        assert picture in shown, f"no page shows {picture.name}"
        assert picture.stat().st_size <= MOST_PICTURE_BYTES, f"{picture.name} is too large"


def test_every_page_is_reached_from_the_index() -> None:
    index = ROOT / "docs" / "index.md"
    reached, pending = {index}, [index]
    while pending:
        page = pending.pop()
        for target in list_links(page):
            place = (page.parent / target.partition("#")[0]).resolve()
            if place.suffix == ".md" and place.is_file() and place not in reached:
                reached.add(place)
                pending.append(place)
    assert not {name_page(page) for page in DOCS} - {name_page(page) for page in reached if page in DOCS}


@pytest.mark.parametrize("program", PROGRAMS)
def test_programs_run_and_print_what_they_say(program: str, tmp_path: Path) -> None:
    assert run_program(program, tmp_path) == find_expected_output(program)


@pytest.mark.parametrize("page", PAGES, ids=name_page)
def test_json_is_json_and_blueprints_are_sound(page: Path) -> None:
    for block in read_blocks(page, "json"):
        document = json.loads(block)
        if "nodes" in document:
            blueprint = parse_blueprint(document, check_expression=check_expression)
            assert lint_blueprint(blueprint, check_expression=check_expression).issues == ()


def _list_command_lines() -> Iterator[tuple[str, list[str]]]:
    for page in PAGES:
        for block in read_blocks(page, "sh"):
            for line in block.splitlines():
                words = shlex.split(line, comments=True)
                while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
                    words.pop(0)
                if words and words[0] == "flowcraft-dagster":
                    yield f"{name_page(page)}: {line}", [word for word in words[1:] if word != "&"]


def test_command_lines_are_ones_that_the_program_takes() -> None:
    commands = {tuple(name.split()): command for name, command, _ in walk_commands()}
    lines = list(_list_command_lines())
    assert len(lines) > 20
    for where, words in lines:
        if words == ["--help"]:
            continue
        name = next((tuple(words[:count]) for count in (2, 1) if tuple(words[:count]) in commands), None)
        assert name is not None, f"{where}: there is no such command"
        command = commands[name]
        context = click.Context(command, info_name=" ".join(name))
        try:
            _, left, _ = command.make_parser(context).parse_args(words[len(name) :])
        except click.UsageError as error:
            pytest.fail(f"{where}: {error.format_message()}")
        assert not left, f"{where}: {left} is too much"


@pytest.mark.parametrize("page", sorted(REFERENCE.glob("*.md")), ids=name_page)
def test_generated_tables_are_those_of_the_code(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert renew(text) == text, "run 'python -m tests.docs.reference_tables'"


def test_every_table_has_its_place() -> None:
    found = [match[1] for page in REFERENCE.glob("*.md") for match in BLOCK.findall(page.read_text(encoding="utf-8"))]
    assert sorted(found) == sorted(TABLES)


def test_every_runtime_option_is_described_once() -> None:
    described = [name for names in read_attributes(RuntimeOptions) for name in names]
    assert described == list(RuntimeOptions.__dataclass_fields__)


def test_the_tree_in_the_error_module_is_that_of_the_classes() -> None:
    import flowcraft_dagster.errors as module

    drawn: dict[str, str | None] = {}
    open_branches: list[str] = []
    for line in (module.__doc__ or "").splitlines():
        match = re.fullmatch(r"    ((?:[| ] {3})*)(?:\+-- )?([A-Z]\w+)(?:  .*)?", line)
        if match:
            depth = len(match[1]) // 4 + ("+--" in line)
            drawn[match[2]] = open_branches[depth - 1] if depth else None
            open_branches[depth:] = [match[2]]
    real = {kind.__name__: kind.__bases__[0].__name__ for kind in list_errors()} | {"FlowcraftError": None}
    assert drawn == real


def test_every_event_is_in_the_reference() -> None:
    emitted = {
        kind
        for path in (ROOT / "flowcraft_dagster").rglob("*.py")
        for kind in EVENT.findall(path.read_text(encoding="utf-8"))
    }
    page = (REFERENCE / "events.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^\| `([a-z]+:[a-z]+)` \|", page, re.MULTILINE)) == emitted


def test_every_room_is_in_the_architecture() -> None:
    page = (ROOT / "docs" / "design" / "architecture.md").read_text(encoding="utf-8")
    rooms = page.partition("## Rooms")[2].partition("## Data")[0]
    for path in (ROOT / "flowcraft_dagster").iterdir():
        if path.is_dir() and path.name != "__pycache__":
            assert f"`{path.name}/`" in rooms, f"{path.name}/ is missing"
        elif path.suffix == ".py" and path.stem != "__init__":
            assert f"`{path.name}`" in rooms, f"{path.name} is missing"


def test_named_variables_exist() -> None:
    known = {f"FLOWCRAFT_{name.upper()}" for name in RuntimeOptions.__dataclass_fields__}
    code = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "flowcraft_dagster").rglob("*.py"))
    code += "".join(path.read_text(encoding="utf-8") for path in (ROOT / "examples").rglob("*.py"))
    settings = (REFERENCE / "settings.md").read_text(encoding="utf-8")
    for page in PAGES:
        for name in re.findall(r"\b(?:FLOWCRAFT|KAFKA|CASSANDRA|REDIS)_[A-Z_]+\b", page.read_text(encoding="utf-8")):
            is_known = name in known or f'"{name}"' in code or name in settings or name.rstrip("_") + "_" == name
            assert is_known, f"{name_page(page)}: {name} is not known"


@pytest.mark.parametrize("page", [*PAGES, *SNIPPETS], ids=name_page)
def test_no_page_names_a_place_on_a_machine(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert not MACHINE_PATH.search(text)
    assert "\t" not in text
