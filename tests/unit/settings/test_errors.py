"""Places and the order of problems."""

from proxy.settings.errors import Place, Problem, SettingsError


def test_a_place_is_a_line_and_column_or_a_variable():
    assert str(Place("f.yaml", 3, 5)) == "f.yaml:3:5"
    assert str(Place("KEEPWARM_POLICY")) == "KEEPWARM_POLICY"


def test_the_place_after_a_text_counts_lines_and_columns_from_one():
    assert Place.after("f", "") == Place("f", 1, 1)
    assert Place.after("f", "ab\nc") == Place("f", 2, 2)


def test_problems_come_in_the_order_of_the_file():
    error = SettingsError(Problem(Place("f", 10, 1), "b"), Problem(Place("f", 9, 1), "a"))
    assert error.problems == ("f:9:1: a", "f:10:1: b")
    assert str(error) == "f:9:1: a\nf:10:1: b"
