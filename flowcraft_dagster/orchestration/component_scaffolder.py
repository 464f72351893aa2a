"""What ``dg scaffold defs flowcraft_dagster.FlowcraftComponent NAME`` writes."""

# No `from __future__ import annotations`: Dagster reads the types when the class is made.
from pathlib import Path
from typing import Any, Final

import dagster as dg

FLOWS: Final = '''\
"""The app: node kinds and blueprints. Workers load it too: flowcraft-dagster worker --app MODULE:app"""

from pathlib import Path

from flowcraft_dagster import Flowcraft, NodeContext

app = Flowcraft()


@app.node("greet")
async def greet(ctx: NodeContext) -> str:
    """A greeting for whoever the context names."""
    return f"Hello, {ctx.input}!"


# The node kinds come first: blueprints are checked against them.
app.add_blueprint(Path(__file__).with_name("blueprints"))
'''
BLUEPRINT: Final = """\
{
  "id": "hello",
  "metadata": {"title": "Hello", "exampleContext": {"name": "Ada"}},
  "nodes": [{"id": "greet", "uses": "greet", "inputs": "name"}],
  "edges": []
}
"""


class FlowcraftScaffolder(dg.Scaffolder[Any]):
    """Makes an app with a first blueprint beside the YAML."""

    def scaffold(self, request: dg.ScaffoldRequest[Any]) -> None:
        """Write the files."""
        folder = Path(request.target_path)
        (folder / "blueprints").mkdir(parents=True, exist_ok=True)
        (folder / "__init__.py").touch()
        (folder / "flows.py").write_text(FLOWS, encoding="utf-8")
        (folder / "blueprints" / "hello.json").write_text(BLUEPRINT, encoding="utf-8")
        dg.scaffold_component(request, {"app": ".flows:app"})
