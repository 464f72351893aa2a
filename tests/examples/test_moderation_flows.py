"""The example's blueprints and the upstream ones, run whole in memory."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from examples.moderation.application import BLUEPRINTS, app
from examples.moderation.nodes import nodes
from examples.moderation.rule_model import RuleModel
from flowcraft_dagster.app import Flowcraft
from flowcraft_dagster.errors import NodeError
from flowcraft_dagster.local import LocalRuntime
from flowcraft_dagster.runtime.client import StartRequest
from flowcraft_dagster.runtime.result import RunResult

ROOT = Path(__file__).resolve().parents[2]
CASES = {
    "ban": "All migrants are vermin and should be removed from this town.",
    "redact": "Write to jane@example.com or call (212) 555-0123.",
    "spam": "BUY NOW!!! Best watches, free shipping: https://deals.example.com",
    "approve": "What a lovely day at the market.",
}
BRANCHES = {"ban": "ban_user", "redact": "redact_post", "spam": "delete_spam", "approve": "approve_post"}
UPSTREAM_BRANCHES = {label: f"{node}_branch" for label, node in BRANCHES.items()}


class FailingModel(RuleModel):
    """Answers like the offline model, but fails where a word is in the question."""

    def __init__(self, *words: str) -> None:
        self.words = words

    async def complete(self, prompt: str) -> str:
        if any(word in prompt.partition("\n\n")[0] for word in self.words):
            raise NodeError("the model is away")
        return await super().complete(prompt)


def load_blueprints() -> list[dict[str, Any]]:
    """The example's blueprints without pauses between attempts, so that tests need not wait."""
    documents = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(BLUEPRINTS.glob("*.json"))]
    for document in documents:
        for node in document["nodes"]:
            if "retryDelay" in node.get("config", {}):
                node["config"]["retryDelay"] = 0
    return copy.deepcopy(documents)


def make_app(*failing: str) -> Flowcraft:
    return Flowcraft(load_blueprints(), nodes, dependencies={"model": FailingModel(*failing)})


def assert_branch(result: RunResult, branches: dict[str, str], label: str) -> None:
    assert result.status == "completed"
    assert {node for node in branches.values() if node in result.outputs} == {branches[label]}


@pytest.mark.parametrize("label", CASES)
async def test_content_moderation_takes_the_right_branch(label: str) -> None:
    result = await app.run_async("content-moderation", {"userId": "user-7", "userPost": CASES[label]}, timeout=30)
    assert_branch(result, BRANCHES, label)
    record = result.context["final_output"]
    assert record.startswith("Moderation of the post by user user-7\n")
    assert result.context["moderation_record"] in record
    expected = {
        "ban": "UPDATE accounts SET state = 'banned' WHERE id = 'user-7';",
        "redact": "Published: Write to [REDACTED] or call [REDACTED].",
        "spam": "Deleted the spam post of user user-7.",
        "approve": 'event="post_approved" user="user-7"',
    }
    assert expected[label] in record


async def test_only_clean_or_redacted_posts_are_published() -> None:
    published = {}
    for label, post in CASES.items():
        result = await app.run_async("content-moderation", {"userId": "u", "userPost": post}, timeout=30)
        published[label] = result.context.get("published_post")
    assert published == {
        "ban": None,
        "redact": "Write to [REDACTED] or call [REDACTED].",
        "spam": None,
        "approve": CASES["approve"],
    }


@pytest.mark.parametrize("label", CASES)
async def test_review_variant_decides_clear_cases_alone(label: str) -> None:
    result = await make_app().run_async("moderation-with-review", {"userId": "u", "userPost": CASES[label]}, timeout=30)
    assert_branch(result, BRANCHES, label)
    assert result.failed_nodes == ()


@pytest.mark.parametrize(
    ("failing", "post", "waiting"),
    [
        ((), "You idiot, what a market!", "review_by_person"),
        (("personal data",), CASES["approve"], "review_by_person"),
        (("hate speech", "commercial spam"), CASES["redact"], "review_by_person"),
        (("action codes",), CASES["redact"], "triage_by_person"),
    ],
)
async def test_a_person_decides_doubtful_cases_and_failures(failing: tuple[str, ...], post: str, waiting: str) -> None:
    async with LocalRuntime(make_app(*failing)) as local:
        run_id = await local.client.start(StartRequest("moderation-with-review", {"userId": "u", "userPost": post}))
        await local.client.wait_for_pause(run_id, 30)
        assert [wait.node_id for wait in await local.client.waiting(run_id)] == [waiting]
        await local.client.resume(run_id, waiting, action="action_delete_spam")
        result = await local.client.wait(run_id, 30)
    assert_branch(result, BRANCHES, "spam")
    assert len(result.failed_nodes) == len(failing)


async def test_an_answer_that_names_no_action_goes_to_a_person() -> None:
    class Rambler(RuleModel):
        async def complete(self, prompt: str) -> str:
            return "Perhaps a ban?" if "action codes" in prompt else await super().complete(prompt)

    rambling = Flowcraft(load_blueprints(), nodes, dependencies={"model": Rambler()})
    result = await rambling.run_async("moderation-with-review", {"userId": "u", "userPost": "hello"}, timeout=30)
    assert result.status == "awaiting"
    assert [wait.node_id for wait in result.waiting] == ["review_by_person"]


async def test_without_review_a_model_that_stays_away_fails_the_run() -> None:
    result = await make_app("commercial spam").run_async(
        "content-moderation", {"userId": "u", "userPost": "hello"}, timeout=30
    )
    assert result.status == "failed"
    assert result.failed_nodes == ("check_spam",)


@pytest.fixture(scope="module")
def upstream(upstream_folders: list[Path]) -> Flowcraft:
    return Flowcraft(upstream_folders, nodes, dependencies={"model": RuleModel()})


@pytest.mark.parametrize("label", CASES)
async def test_upstream_content_moderation(upstream: Flowcraft, label: str) -> None:
    result = await upstream.run_async("400", {"userId": 17, "userPost": CASES[label]}, timeout=30)
    assert_branch(result, UPSTREAM_BRANCHES, label)
    expected = {
        "ban": "User Banned Successfully.\n--- DB Action ---\nUPDATE users SET status='banned' WHERE id=17;\n\n"
        '--- Log Entry ---\n[CRITICAL] event="UserBanned" user_id="17" reason="severe"',
        "redact": "--- Redacted Post ---\nWrite to [REDACTED] or call [REDACTED].\n\n"
        "--- User Warning Message ---\nDear user 17,",
        "spam": "1. Deleted the spam post of user 17.\n2. Flagged the account of user 17 for review.",
        "approve": '[INFO] event="post_approved" user="17" issues="none"',
    }
    final = result.context["final_output"]
    assert final.startswith("--- CONTENT MODERATION COMPLETE ---\n\nFinal Action Log:\n")
    assert expected[label] in final


async def test_upstream_blog_post(upstream: Flowcraft) -> None:
    result = await upstream.run_async("100", {"topic": "tide tables"}, timeout=30)
    assert result.status == "completed"
    final = result.context["final_output"]
    titles, _, draft = final.partition("\n\n--- DRAFT ---\n")
    assert titles.startswith("--- TITLES ---\n1. Tide tables")
    assert len(titles.splitlines()) == 6
    assert draft.count("\n## ") == 5
    assert "What tide tables means" in draft


@pytest.mark.parametrize(
    ("resume", "letter", "words"),
    [
        (
            "Ten years of TypeScript, Node.js, SQL and Docker.",
            "Dear team, I apply for the post.",
            "Invitation to an interview",
        ),
        ("Ten years of TypeScript.", "Dear team, I apply for the post.", "not be moving forward"),
        ("TypeScript, Node.js, SQL", "Hey guys, gimme the job!!", "not be moving forward"),
    ],
)
async def test_upstream_job_application(upstream: Flowcraft, resume: str, letter: str, words: str) -> None:
    context = {"resume": resume, "coverLetter": letter, "applicantName": "Ada Example"}
    result = await upstream.run_async("200", context, timeout=30)
    sent = result.outputs.get("send_interview_email") or result.outputs.get("send_rejection_email")
    assert result.status == "completed"
    assert words in json.dumps(sent)
    assert "Dear Ada Example," in json.dumps(sent, ensure_ascii=False)


async def test_upstream_customer_review_praise(upstream: Flowcraft) -> None:
    review = "I love this kettle. It is great and fast."
    result = await upstream.run_async("300", {"initial_review": review}, timeout=30)
    assert result.status == "completed"
    assert "thank you very much" in result.context["final_positive_reply"]
    assert "negative_branch" not in result.outputs


async def test_upstream_customer_review_complaint(upstream: Flowcraft) -> None:
    review = 'It crashes on every start.\n\nI want a "refund", this is terrible!'
    result = await upstream.run_async("300", {"initial_review": review}, timeout=30)
    assert result.status == "completed"
    ticket = json.loads(result.context["generated_ticket"])
    assert ticket["title"] == "Customer Feedback: Bug Report"
    assert result.outputs["send_to_ticketing_system"].startswith("HTTP/1.1 201 Created\nLocation: /api/tickets/")
    assert result.outputs["send_email_to_customer"].startswith("E-mail to customer@example.com accepted")
    assert "positive_branch" not in result.outputs


def test_heavy_libraries_are_loaded_only_when_needed() -> None:
    program = (
        "import sys; from examples.moderation import app; "
        "heavy = {'phonenumbers', 'httpx', 'glin_profanity', 'stdnum', 'email_validator', 'dagster'}; "
        "sys.stdout.write(','.join(sorted(heavy & set(sys.modules))))"
    )
    result = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
