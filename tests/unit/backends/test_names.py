from __future__ import annotations

import pytest

from flowcraft_dagster.backends.names import check_cql_name, check_option_name, check_topic_name


@pytest.mark.parametrize("name", ["a", "flowcraft_ks", "t2", "a" * 48])
def test_plain_table_names_are_accepted(name: str) -> None:
    assert check_cql_name(name) == name


@pytest.mark.parametrize("name", ["", "A", "2a", "a-b", "a;b", "a b", 'a"', "a" * 49, "a\n", "é"])
def test_other_table_names_never_reach_a_statement(name: str) -> None:
    with pytest.raises(ValueError, match="lower-case"):
        check_cql_name(name)


@pytest.mark.parametrize("name", ["", ".", "..", "a b", "a/b", "a" * 250, "a\n"])
def test_other_topic_names_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="letters, digits"):
        check_topic_name(name)


@pytest.mark.parametrize("name", ["", "A.b", "a..b", ".a", "a=b", "a\n"])
def test_other_option_names_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="no option name"):
        check_option_name(name)
