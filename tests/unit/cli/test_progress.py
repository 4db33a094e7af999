import sys

from proxy.cli.progress import Progress


def test_nothing_is_written_where_nobody_watches(capsys):
    assert not sys.stderr.isatty()
    with Progress("long work", 3) as done:
        for _ in range(3):
            done()
    assert capsys.readouterr() == ("", "")
