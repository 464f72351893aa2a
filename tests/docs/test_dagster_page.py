"""What the Dagster page lists is what a code location has."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Final

from tests.docs.pages import ROOT, run_program

PAGE: Final = ROOT / "docs" / "howto" / "dagster.md"
LIST: Final = """
import json, warnings
warnings.simplefilter("ignore")
from flowcraft_dagster import Flow, Flowcraft, build_flowcraft_definitions

def greet(ctx):
    return ctx.input

definitions = build_flowcraft_definitions(Flowcraft(Flow("hello").node("greet", greet)))
repository = definitions.get_repository_def()
graph = repository.asset_graph
print(json.dumps({
    "Job": [job.name for job in repository.get_all_jobs() if not job.name.startswith("__")],
    "Asset": [key.to_user_string().replace("/hello", "/<blueprint>") for key in graph.get_all_asset_keys()],
    "Check": [key.name for key in graph.asset_check_keys],
    "Sensor or schedule": [one.name for one in [*repository.sensor_defs, *repository.schedule_defs]],
    "on": [one.name for one in [*repository.sensor_defs, *repository.schedule_defs]
           if one.default_status.value == "RUNNING"],
}))
"""


def test_the_tables_list_what_a_code_location_has(tmp_path: Path) -> None:
    (line,) = run_program(LIST, tmp_path)
    found = json.loads(line)
    page = PAGE.read_text(encoding="utf-8")
    running = re.findall(r"^\| (.+) \| .+ \| on \|$", page, re.MULTILINE)
    assert sorted(re.findall(r"`([^`]+)`", " ".join(running))) == sorted(found.pop("on"))
    for head, names in found.items():
        table = page.partition(f"\n| {head} |")[2].partition("\n\n")[0]
        first_cells = [row.split(" | ")[0] for row in table.splitlines()[2:]]
        assert sorted(re.findall(r"`([^`]+)`", " ".join(first_cells))) == sorted(set(names)), head
