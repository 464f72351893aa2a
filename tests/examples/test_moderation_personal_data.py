"""Finding and hiding personal data."""

from __future__ import annotations

import pytest

from examples.moderation.detectors.finding import Finding, drop_nested, merge_spans
from examples.moderation.detectors.personal_data import find_personal_data, redact


@pytest.mark.parametrize(
    ("text", "kind", "found"),
    [
        ("Write to jane.doe+list@mail.example.com.", "email", "jane.doe+list@mail.example.com"),
        ("(jane@example.org)", "email", "jane@example.org"),
        ("j\u00f6rg@example.com \u2013 schreib mir", "email", "j\u00f6rg@example.com"),
        ("jane (at) example (dot) com", "email", "jane (at) example (dot) com"),
        ("jane at mail dot example dot org", "email", "jane at mail dot example dot org"),
        ("Ring (212) 555-0123 now", "phone", "(212) 555-0123"),
        ("212.555.0199", "phone", "212.555.0199"),
        ("+1 415 555 0132 5 people", "phone", "+1 415 555 0132"),
        ("0044 20 7946 0123", "phone", "0044 20 7946 0123"),
        ("Unter 030/23125-042 bin ich da", "phone", "030/23125-042"),
        ("06, sinon 01 99 00 12 34", "phone", "01 99 00 12 34"),
        ("+33 6 39 98 12 34", "phone", "+33 6 39 98 12 34"),
        ("call me: 555-0123", "phone", "555-0123"),
        ("Mein Telefon ist 5550123456", "phone", "5550123456"),
        ("card 4111 1111 1111 1111, thanks", "card", "4111 1111 1111 1111"),
        ("378282246310005", "card", "378282246310005"),
        ("IBAN DE89 3704 0044 0532 0130 00 BIC follows", "iban", "DE89 3704 0044 0532 0130 00"),
        ("NL91ABNA0417164300", "iban", "NL91ABNA0417164300"),
        ("My SSN is 987-65-4321.", "identity", "987-65-4321"),
        ("I moved to 12 Maple Street, Springfield, IL 62704.", "address", "12 Maple Street, Springfield, IL 62704"),
        ("221B Baker Street, London NW1 6XE", "address", "221B Baker Street, London NW1 6XE"),
        ("i live at 12 maple street, come over", "address", "12 maple street"),
        (
            "in der Musterstra\u00dfe 12, 12345 Musterstadt. Bis dann",
            "address",
            "Musterstra\u00dfe 12, 12345 Musterstadt",
        ),
        ("au 12 rue de la Paix, 75000 Exempleville", "address", "12 rue de la Paix, 75000 Exempleville"),
        ("en Calle Mayor 5, 28000 Ejemplo", "address", "Calle Mayor 5, 28000 Ejemplo"),
        ("Abito in Via Garibaldi 7, 00100 Esempio", "address", "Via Garibaldi 7, 00100 Esempio"),
        ("na Rua das Flores 23, 1000-001 Exemplo", "address", "Rua das Flores 23, 1000-001 Exemplo"),
        ("Kerkstraat 1, 1234 AB Voorbeeld", "address", "Kerkstraat 1, 1234 AB Voorbeeld"),
        ("przy ul. Polna 12/4, 00-001 Przyk\u0142adowo", "address", "ul. Polna 12/4, 00-001 Przyk\u0142adowo"),
        ("P.O. Box 1234", "address", "P.O. Box 1234"),
    ],
)
def test_each_kind_is_found_exactly(text: str, kind: str, found: str) -> None:
    assert [(finding.kind, text[finding.start : finding.end]) for finding in find_personal_data(text)] == [
        (kind, found)
    ]


@pytest.mark.parametrize(
    "text",
    [
        "The meeting is on 2024-05-17 at 14:30, or on 17.05.2024.",
        "Order 5551234567 and ticket 212-555-0123 are the same thing.",
        "ISBN 978-3-16-148410-0 and ISBN 0-306-40615-2",
        "192.168.10.20 answers, 10.0.0.1 does not, version 1.2.3.4",
        "We have 1,000,000 views and 122.000.000 more",
        "4111 1111 1111 1112 fails the check digit",
        "1234567812345670 has one but belongs to no card scheme",
        "DE00 3704 9944 5532 5130 99 is no account",
        "000-12-3456 and 123-00-4567 were never issued",
        "pi is 3.14159265358979",
        "I walked along 5th Avenue to Main Street.",
        "Der Heimweg 2 Stunden im Regen, am Montag 3 Tore",
        "I paid via PayPal 20 euros",
        "@dana thanks! See you at the bar, dot your i's",
        "a@b and @@ and user@localhost",
        "room 555-0123",
        "",
    ],
)
def test_what_looks_alike_is_left_alone(text: str) -> None:
    assert find_personal_data(text) == []
    assert redact(text) == text


def test_redaction_replaces_every_span_and_keeps_the_rest() -> None:
    text = "A jane@example.com, B (212) 555-0123 and 4111 1111 1111 1111; C 12 Maple Street."
    assert redact(text) == "A [REDACTED], B [REDACTED] and [REDACTED]; C [REDACTED]."


def test_redacted_text_has_no_personal_data_left() -> None:
    text = "jane@example.com +44 20 7946 0123 DE89 3704 0044 0532 0130 00 Musterstra\u00dfe 12 987-65-4321"
    assert find_personal_data(redact(text)) == []


def test_a_card_is_reported_once_and_as_a_card() -> None:
    findings = find_personal_data("call 4111 1111 1111 1111")
    assert [finding.kind for finding in findings] == ["card"]


def test_nested_findings_are_dropped_and_overlaps_joined() -> None:
    outer, inner, overlap = Finding("a", 5, 20), Finding("b", 6, 10), Finding("c", 15, 25)
    assert drop_nested([inner, outer, overlap, Finding("same", 5, 20)]) == [outer, overlap]
    assert list(merge_spans([overlap, outer, Finding("d", 30, 31)])) == [(5, 25), (30, 31)]
