"""docs/metrics.md and the code name the same metrics, with the same types and labels."""

from tests.unit.observe.metric_names import PAGE, documented, exposed


def test_the_page_names_all_metrics_and_no_others_with_their_types_and_labels() -> None:
    assert documented() == exposed()


def test_every_line_of_the_page_is_understood_by_this_test() -> None:
    assert PAGE.read_text().count("| `keepwarm_") + PAGE.read_text().count("| `process_") == len(documented())


def test_every_name_has_our_prefix_or_is_one_that_all_processes_share() -> None:
    assert all(name.startswith(("keepwarm_", "process_")) for name in exposed())
