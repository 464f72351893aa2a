"""Triage: reads the facts and the numbered rules of the prompt, and follows them."""

from __future__ import annotations

import re

from flowcraft_dagster.errors import FatalNodeError

_FACT = re.compile(r"^- (?P<name>[^:\n]+): *(?P<value>.*)$", re.MULTILINE)
_RULE = re.compile(r"^\d+\. (?P<rule>.+)$", re.MULTILINE)
_CONDITION = re.compile(r"\bif (?P<name>.+?) is '(?P<value>[^']*)'", re.IGNORECASE)
_ACTION = re.compile(r"the action is '(?P<code>[^']+)'", re.IGNORECASE)
_ANY = "any result"


def follow_rules(prompt: str) -> str:
    """Take the action of the first rule whose condition holds.

    Args:
        prompt: facts as lines ``- NAME: VALUE``, then rules as lines ``N. If NAME is 'VALUE', the action is 'CODE'.``
            A rule may shorten a fact's name to its first words, or say "any result"; one without a condition always
            holds. Remarks in brackets are passed over: the order of the rules says the same.

    Returns:
        The code of the action.

    Raises:
        FatalNodeError: no rule holds, or one names a fact that is not there.
    """
    facts_part, _, rules_part = prompt.partition("Rules:")
    facts = {match["name"].strip().casefold(): _normalize(match["value"]) for match in _FACT.finditer(facts_part)}
    for rule in _RULE.findall(rules_part):
        action = _ACTION.search(rule)
        condition = _CONDITION.search(rule)
        if action and (condition is None or _holds(condition["name"], condition["value"], facts)):
            return action["code"]
    raise FatalNodeError("triage: no rule of the prompt applies; end the rules with \"Otherwise, the action is '...'\"")


def _normalize(value: str) -> str:
    return value.strip().strip("'\".").casefold()


def _holds(name: str, value: str, facts: dict[str, str]) -> bool:
    wanted = value.casefold()
    if name.casefold() == _ANY:
        return wanted in facts.values()
    for fact, found in facts.items():
        if fact == name.casefold() or fact.startswith(name.casefold() + " "):
            return found == wanted
    raise FatalNodeError(f"triage: a rule names '{name}', but the facts are {', '.join(facts) or 'none'}")
