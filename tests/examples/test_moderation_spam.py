"""Points for traits of spam."""

from __future__ import annotations

import pytest

from examples.moderation.detectors.spam import RULES, THRESHOLD, explain_spam, is_spam


@pytest.mark.parametrize(
    "text",
    [
        "BUY NOW!!! Best watches at the lowest prices: https://bestdeals.example.com",
        "Click here to earn money: https://tinyurl.example/7",
        "Earn $200 a day working from home, sign up now",
        "cheap lamps cheap lamps cheap lamps cheap lamps cheap lamps https://shop.example.com",
        "\U0001d5d5\U0001d602\U0001d606 \U0001d5fb\U0001d5fc\U0001d604, exclusive deal https://shorturl.example/1",
        "Jetzt kaufen, nur heute, 50 % Rabatt",
        "Cliquez ici, offre exclusive",
        "\u00a1Compra ya! Oferta limitada https://tienda.example.com",
    ],
)
def test_spam_is_recognised(text: str) -> None:
    assert is_spam(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "The manual is at https://docs.example.org/guide/3",
        "Compare https://a.example.org/1 and https://b.example.org/2 please",
        "The bakery has 20% off after six, in case somebody is hungry!!!",
        "WHAT A MATCH, I SHOUTED ALL EVENING! YES! YES! YES!",
        "I got a message that I have won a prize and should click here. Is this a scam?",
        "Thanks thanks thanks for the free shipping",
        "The cat sat on the mat and the dog sat on the rug while the rain fell on the roof of the house",
    ],
)
def test_single_traits_are_not_enough(text: str) -> None:
    assert not is_spam(text)


def test_explanation_names_rules_and_adds_up() -> None:
    points = explain_spam("Buy now! Free shipping, 50% off: https://deals.example.com")
    assert set(points) == {"promotional phrases", "percentage off", "links"}
    assert sum(points.values()) >= THRESHOLD


def test_saying_a_phrase_again_gives_no_more_points() -> None:
    once, twice = explain_spam("Buy now, friends"), explain_spam("Buy now, friends. BUY NOW!")
    assert once["promotional phrases"] == twice["promotional phrases"]


def test_rule_names_are_distinct() -> None:
    assert len({rule.name for rule in RULES}) == len(RULES)
