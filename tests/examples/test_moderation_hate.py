"""Levels of hate speech."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from examples.moderation.detectors import hate, profanity
from examples.moderation.detectors.hate import digest_word, rate_hate_speech
from examples.moderation.detectors.profanity import has_profanity


@pytest.mark.parametrize(
    "text",
    [
        "All migrants are vermin.",
        "People from that village are nothing but parasites",
        "Redheads should be driven out!",
        "We should get rid of all foreigners.",
        "I know where you live.",
        "I'll find you and hurt you",
        "kill yourself",
        "M1gr4nts are v3rm1n",
        "kiiiill yourself",
        "k i l l yourself",
        "mig\u200brants are ver\u00admin",
        "\uff4b\uff49\uff4c\uff4c yourself",
        "Fl\u00fcchtlinge sind nur Ungeziefer",
        "Ich wei\u00df, wo du wohnst",
        "Les immigr\u00e9s sont des parasites",
        "Los inmigrantes son ratas",
        "So dove abiti",
        "Os imigrantes s\u00e3o parasitas",
    ],
)
def test_threats_and_dehumanising_statements_are_severe(text: str) -> None:
    assert rate_hate_speech(text) == "severe"


@pytest.mark.parametrize(
    "text",
    [
        "You idiot!",
        "What a load of bullsh1t",
        "I can't stand those people",
        "Halt die Klappe",
        "It is wrong to say that migrants are vermin.",
        "Es ist falsch zu sagen, Fl\u00fcchtlinge sind Ungeziefer.",
        "Nobody should ever say that foreigners are parasites",
    ],
)
def test_insults_and_quoted_hate_are_moderate(text: str) -> None:
    assert rate_hate_speech(text) == "moderate"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "What a lovely day in Scunthorpe, Essex.",
        "Immigrants are welcome in our choir, and so are animals.",
        "That was a killer solo. I nearly died laughing.",
        "I will hurt your chances in the quiz",
        "The rats in the cellar must be driven out",
        "Hoy com\u00ed con mi abuela. Bitte sehr! Il pesce \u00e8 buono.",
        "Sex education and breast cancer are subjects of the class assessment.",
        "10am, 3 eggs, 250g flour, b4 noon",
    ],
)
def test_ordinary_talk_is_none(text: str) -> None:
    assert rate_hate_speech(text) == "none"


def test_objecting_in_one_sentence_does_not_excuse_the_next() -> None:
    assert rate_hate_speech("It is wrong to say bad things. Migrants are vermin.") == "severe"


def test_slurs_are_known_by_digest_only(monkeypatch: pytest.MonkeyPatch) -> None:
    phrases = hate._load_phrases()
    harmless = hate._Phrases(
        phrases.severe, phrases.moderate, phrases.counter_speech, frozenset({digest_word("Teapot")})
    )
    monkeypatch.setattr(hate, "_load_phrases", lambda: harmless)
    assert rate_hate_speech("you teapots") == "severe"
    assert rate_hate_speech("you T3apot!") == "severe"
    assert rate_hate_speech("stop saying teapot") == "moderate"
    assert rate_hate_speech("you teapotish") == "none"


def test_lexicon_digests_have_the_form_of_digest_word() -> None:
    lexicon = json.loads(Path(hate.__file__).with_name("lexicon.json").read_text(encoding="utf-8"))
    digests = lexicon["slur_digests"]
    assert len(digests) == len(set(digests)) >= 10
    assert {len(digest) for digest in digests} == {len(digest_word("word"))}
    assert all(set(digest) <= set("0123456789abcdef") for digest in digests)


def test_remembered_words_give_the_same_verdicts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(profanity, "_verdicts", {})
    texts = ["a fine shitty day", "a fine day", "shitty", "b!tch please", "please"]
    first = [has_profanity(text) for text in texts]
    assert first == [True, False, True, True, False]
    assert [has_profanity(text) for text in texts] == first


def test_the_memory_of_words_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(profanity, "_verdicts", {})
    monkeypatch.setattr(profanity, "_MOST_WORDS", 5)
    for number in range(6):
        assert not has_profanity(f"alpha{number} beta{number} gamma")
        assert len(profanity._verdicts) <= 5
    assert has_profanity("gamma shitty")
