"""Answers about posts: the three checks, triage, redaction, and what is written about the action taken."""

from __future__ import annotations

import re

from examples.moderation.answers.prompt import Prompt, Skill
from examples.moderation.answers.triage import follow_rules
from examples.moderation.detectors.hate import rate_hate_speech
from examples.moderation.detectors.personal_data import find_personal_data, redact
from examples.moderation.detectors.spam import is_spam

_STATEMENT = re.compile(r"(?P<head>\b(?:UPDATE|DELETE|INSERT) [^;]*?\bWHERE\s+\w+\s*=\s*)(?P<id>[^;\n]*);?")
_LOG_FIELD = re.compile(r"^(?P<name>[A-Za-z_]+): (?P<value>.*)$", re.MULTILINE)
_NUMBER = re.compile(r"-?\d+")


def _say(truth: bool) -> str:
    return "true" if truth else "false"


def _has_personal_data(prompt: Prompt) -> str:
    return _say(bool(find_personal_data(prompt.material)))


def _write_statement(prompt: Prompt) -> str:
    """Repeat the statement of the prompt with its id as an SQL literal."""
    match = _STATEMENT.search(prompt.text)
    if match is None:
        return "-- the request names no statement"
    value = match["id"].strip()
    if len(value) >= 2 and value[0] == value[-1] == "'":
        value = value[1:-1]
    literal = value if _NUMBER.fullmatch(value) else "'" + value.replace("'", "''") + "'"
    return f"{match['head']}{literal};"


def _write_log_entry(prompt: Prompt) -> str:
    """Write the ``NAME: VALUE`` lines of the prompt as one line of a log."""
    fields = {match["name"].lower(): match["value"].strip() for match in _LOG_FIELD.finditer(prompt.text)}
    severity = fields.pop("severity", "info").upper()
    return " ".join([f"[{severity}]", *(f'{name}="{_escape(value)}"' for name, value in fields.items())])


def _escape(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"')


def _after(pattern: str, prompt: Prompt) -> str:
    match = re.search(pattern, prompt.text)
    return match[1].strip() if match else "unknown"


def _write_warning(prompt: Prompt) -> str:
    user = _after(r"\buser (.+?) (?:explaining|that|to say)", prompt)
    return (
        f"Dear user {user},\n\nwe removed personal information from your post before it was published. "
        "To protect yourself and others, please do not share e-mail addresses, phone numbers, street addresses or "
        "payment data in public.\n\nKind regards,\nThe moderation team"
    )


def _report_deletion(prompt: Prompt) -> str:
    user = _after(r"\buser(?: ID)? (.+?)\.?\s*(?:\n|$)", prompt)
    return f"1. Deleted the spam post of user {user}.\n2. Flagged the account of user {user} for review."


def _confirm_approval(prompt: Prompt) -> str:
    user = _after(r"\bpost (?:from|of user) (.+?) (?:was|has)\b", prompt)
    return f'[INFO] event="post_approved" user="{_escape(user)}" issues="none"'


SKILLS = (
    Skill("triage", re.compile(r"\baction codes?\b", re.I), lambda prompt: follow_rules(prompt.text)),
    Skill("redaction", re.compile(r"replace\b.*\[REDACTED\]", re.S | re.I), lambda prompt: redact(prompt.material)),
    Skill(
        "personal data",
        re.compile(r"(?:Personally Identifiable Information|personal data).*\btrue\b.*\bfalse\b", re.S | re.I),
        _has_personal_data,
    ),
    Skill(
        "hate speech",
        re.compile(r"hate speech.*\bnone\b.*\bsevere\b", re.S | re.I),
        lambda prompt: rate_hate_speech(prompt.material),
    ),
    Skill(
        "spam",
        re.compile(r"\bspam\b.*\btrue\b.*\bfalse\b", re.S | re.I),
        lambda prompt: _say(is_spam(prompt.material)),
    ),
    Skill("database statement", re.compile(r"\bSQL (?:command|statement)\b", re.I), _write_statement),
    Skill("log entry", re.compile(r"\bsecurity log\b", re.I), _write_log_entry),
    Skill("warning", re.compile(r"\bwarning message to user\b", re.I), _write_warning),
    Skill("deletion", re.compile(r"\bdeleting a spam post\b.*\buser\b", re.S | re.I), _report_deletion),
    Skill("approval", re.compile(r"\bapproved with no issues\b.*\blog message\b", re.S | re.I), _confirm_approval),
)
"""In the order in which they are tried."""
