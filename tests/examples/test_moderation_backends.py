"""The upstream moderation workflow gives the same in memory and on the embedded backend."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from examples.moderation.model import Model
from examples.moderation.nodes import nodes
from examples.moderation.rule_model import RuleModel
from flowcraft_dagster import Flowcraft, RunResult, Settings
from flowcraft_dagster.runtime.client import StartRequest
from flowcraft_dagster.runtime.system_clock import SystemClock
from flowcraft_dagster.wiring import make_backend

POSTS = {
    "ban_user_branch": "Immigrants are subhuman, I say it openly.",
    "redact_post_branch": "Please write to me at jane.doe@example.com, I am at home all day.",
    "delete_spam_branch": "CLICK HERE http://bit.ly/win and BUY NOW!!! Limited offer, 100% free money!!!",
    "approve_post_branch": "The weather in the hills was lovely today and the children enjoyed it.",
}


def make_app(folders: list[Path]) -> Flowcraft:
    """The upstream blueprints with this project's nodes and its offline model."""
    model: Model = RuleModel()
    return Flowcraft(folders, nodes, dependencies={"model": model})


async def run_embedded(app: Flowcraft, home: Path, context: dict[str, str]) -> RunResult:
    """Run ``400`` with a worker over a database of its own."""
    settings = Settings(home=home)
    backend = make_backend(settings, SystemClock())
    await backend.open()
    worker = app.worker(settings, backend=backend, slot="test")
    working = asyncio.ensure_future(worker.run())
    try:
        client = app.async_client(settings, backend=backend)
        return await client.wait(await client.start(StartRequest("400", context)), 60)
    finally:
        worker.stop()
        await working
        await backend.close()


@pytest.mark.parametrize("branch", POSTS)
async def test_400_takes_the_right_branch_on_both_backends(
    branch: str, upstream_folders: list[Path], tmp_path: Path
) -> None:
    app = make_app(upstream_folders)
    context = {"userId": "user-456", "userPost": POSTS[branch]}
    in_memory = await app.run_async("400", context, timeout=60)
    embedded = await run_embedded(app, tmp_path, context)
    assert in_memory.status == embedded.status == "completed"
    assert [node for node in POSTS if node in in_memory.outputs] == [branch]
    assert embedded.outputs == in_memory.outputs
    assert embedded.context == in_memory.context
