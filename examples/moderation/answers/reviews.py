"""Answers about customer reviews: summary, category, sentiment, replies and tickets."""

from __future__ import annotations

import hashlib
import json
import re

from examples.moderation.answers.prompt import Prompt, Skill, cut_between

_POSITIVE = re.compile(
    r"\b(?:love[sd]?|great|excellent|amazing|wonderful|fantastic|perfect|best|good|helpful|easy|fast|happy|pleased|"
    r"recommend|beautiful|reliable|enjoy\w*|impressed|thanks?|thank you|works? (?:well|fine|flawlessly))\b",
    re.I,
)
_NEGATIVE = re.compile(
    r"\b(?:hate[sd]?|bad|terrible|awful|horrible|worst|broken|breaks?|crash\w*|bugs?|slow|useless|disappoint\w*|poor|"
    r"annoying|fail\w*|freez\w*|frozen|error\w*|refund|waste|angry|unusable|lost|missing|wrong|rude|"
    r"never again|problems?)\b",
    re.I,
)
_NEGATION = re.compile(
    r"\b(?:not|never|no|isn't|wasn't|don't|doesn't|didn't|can't|cannot|hardly|without|nothing)\s+(?:\w+\s+){0,2}$", re.I
)
_BUG = re.compile(
    r"\b(?:bugs?|crash\w*|errors?|broken|breaks|freez\w*|frozen|fail(?:s|ed|ing)?|doesn't work|does not work|"
    r"stopped working|not working|glitch\w*|unusable|hangs?|data loss|lost my)\b",
    re.I,
)
_FEATURE = re.compile(
    r"\b(?:wish|would (?:be (?:great|nice)|like|love)|could you add|please add|add (?:a|an|support)|feature|missing|"
    r"need(?:s)? (?:a|an)|option to|support for|it lacks|should have)\b",
    re.I,
)
_SENTENCE = re.compile(r"[^.!?\n]+[.!?]*")
_LONGEST_SUMMARY = 200


def score_sentiment(text: str) -> int:
    """Praise minus complaints in ``text``; a negation shortly before a word turns it round."""
    score = 0
    for pattern, value in ((_POSITIVE, 1), (_NEGATIVE, -1)):
        for match in pattern.finditer(text):
            negated = _NEGATION.search(text, max(0, match.start() - 40), match.start())
            score += -value if negated else value
    return score


def summarize(text: str) -> str:
    """The sentence of ``text`` that says most, the first of equals; cut at 200 characters."""
    sentences = [sentence.strip() for sentence in _SENTENCE.findall(text) if sentence.strip()]
    if not sentences:
        return ""
    overall = score_sentiment(text)
    best: str = max(sentences, key=lambda sentence: score_sentiment(sentence) * (1 if overall >= 0 else -1))
    return best if len(best) <= _LONGEST_SUMMARY else best[: _LONGEST_SUMMARY - 1].rstrip() + "\u2026"


def categorize(text: str) -> str:
    """``Bug Report``, ``Feature Request`` or ``General Feedback``."""
    if _BUG.search(text):
        return "Bug Report"
    return "Feature Request" if _FEATURE.search(text) else "General Feedback"


def _is_positive(prompt: Prompt) -> str:
    return "true" if score_sentiment(cut_between(prompt.text, "positive? '", "'. Respond")) > 0 else "false"


def _thank(prompt: Prompt) -> str:
    praise = cut_between(prompt.text, 'highlighting: "', '".')
    return (
        "Dear customer,\n\nthank you very much for your kind feedback! We are glad that you pointed out: "
        f'"{praise}" It made our day.\n\nBest wishes,\nThe team'
    )


def _write_ticket(prompt: Prompt) -> str:
    title = cut_between(prompt.text, "Title: '", "'. Description:")
    description = cut_between(prompt.text, "Description: '", "'.")
    return json.dumps({"title": title, "description": description}, ensure_ascii=False)


def _reassure(prompt: Prompt) -> str:
    matter = cut_between(prompt.text, "regarding '", "' and have created")
    return (
        f'Dear customer,\n\nthank you for telling us about this: "{matter}" We have received your feedback and '
        "created a ticket, so that our team will look into it.\n\nKind regards,\nThe support team"
    )


def _answer_call(prompt: Prompt) -> str:
    """Answer like a ticket system; the number follows from the payload, so that equal calls get equal answers."""
    method = re.search(r"^(POST|PUT) (\S+)", prompt.text, re.MULTILINE)
    payload = prompt.text.partition("Payload: ")[2]
    number = int(hashlib.sha256(payload.encode()).hexdigest()[:6], 16)
    where = method[2] if method else "/"
    return f"HTTP/1.1 201 Created\nLocation: {where}/{number}"


def _send_email(prompt: Prompt) -> str:
    recipient = re.search(r"^To: (.+)$", prompt.text, re.MULTILINE)
    body = prompt.text.partition("Body: ")[2]
    return f"E-mail to {recipient[1].strip() if recipient else 'unknown'} accepted ({len(body)} characters)."


SKILLS = (
    Skill("ticket call", re.compile(r"\A--- SIMULATING API CALL ---"), _answer_call),
    Skill("sending an e-mail", re.compile(r"\A--- SIMULATING EMAIL SENT ---"), _send_email),
    Skill("ticket", re.compile(r"\A[^\n\']*\bticket in JSON format\b", re.I), _write_ticket),
    Skill("sentiment", re.compile(r"\AIs the sentiment of this summary positive\b", re.I), _is_positive),
    Skill("summary", re.compile(r"\ASummarize this review\b", re.I), lambda prompt: summarize(prompt.material)),
    Skill("category", re.compile(r"\ACategorize this review\b", re.I), lambda prompt: categorize(prompt.material)),
    Skill("thanks", re.compile(r"\A[^\n]{0,30}\"thank you\" email to a customer", re.I), _thank),
    Skill("reassurance", re.compile(r"\A[^\n]{0,30}\breassuring email to a customer\b", re.I), _reassure),
)
