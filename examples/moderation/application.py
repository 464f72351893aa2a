"""The app: the node kinds, the blueprints of this folder and the model that the environment asks for."""

from __future__ import annotations

from pathlib import Path

from examples.moderation.model import choose_model
from examples.moderation.nodes import nodes
from flowcraft_dagster.app import Flowcraft

BLUEPRINTS = Path(__file__).with_name("blueprints")

app = Flowcraft(blueprints=[BLUEPRINTS], nodes=nodes, dependencies={"model": choose_model()})
