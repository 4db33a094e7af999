import gzip

import pytest

from proxy.sim.replay.rows import TraceError, read_rows


def rows(path, *columns, optional=()):
    return [row.values for row in read_rows(path, columns, optional)]


def written(tmp_path, text, name="trace.csv"):
    path = tmp_path / name
    path.write_text(text)
    return path


def test_columns_come_in_any_order_and_others_are_left_alone(tmp_path):
    path = written(tmp_path, "b,c,a\n1,2,3\n\n4,5,6\n")
    assert [row["a"] for row in rows(path, "a", "b")] == ["3", "6"]


def test_a_packed_file_is_unpacked(tmp_path):
    path = tmp_path / "trace.csv.gz"
    path.write_bytes(gzip.compress(b"a\n7\n"))
    assert rows(path, "a") == [{"a": "7"}]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "trace.csv:1:1: expected the header a,b (got an empty file)"),
        ("a,x\n1,2\n", "trace.csv:1:1: expected the header a,b,[c], without b nothing can be read (got 'a,x')"),
        ("a,b,a\n", "trace.csv:1:1: expected each column once (got 'a,b,a')"),
        ("a,b\n1,2\n3\n", "trace.csv:3:1: expected 2 values, a,b (got '3')"),
        ('a,b\n"1,2\n', "trace.csv:2:1: expected CSV: unexpected end of data"),
    ],
)
def test_what_is_wrong_is_refused_with_its_place(tmp_path, text, message):
    with pytest.raises(TraceError) as refused:
        rows(written(tmp_path, text), "a", "b", optional=["c"] if "[c]" in message else ())
    assert str(refused.value) == f"{tmp_path}/{message}"


def test_a_file_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(TraceError, match=r"nowhere\.csv: cannot be read: No such file or directory"):
        rows(tmp_path / "nowhere.csv", "a")


@pytest.mark.parametrize("content", [b"a\n\xff\n", b"\x1f\x8b broken"])
def test_what_is_no_text_is_refused(tmp_path, content):
    path = tmp_path / ("trace.csv.gz" if content.startswith(b"\x1f") else "trace.csv")
    path.write_bytes(content)
    with pytest.raises(TraceError, match=r"trace\.csv"):
        rows(path, "a")


@pytest.mark.parametrize("value", ["x", "", "-1", "nan", "inf"])
def test_a_number_that_is_none_is_refused_with_line_and_column(tmp_path, value):
    [row] = read_rows(written(tmp_path, f"name,at\nqwen,{value}\n"), ("name", "at"))
    with pytest.raises(TraceError) as refused:
        row.number("at", "seconds")
    assert str(refused.value) == f"{tmp_path}/trace.csv:2:6: at: expected seconds as a number >= 0 (got {value!r})"


def test_an_empty_name_is_refused(tmp_path):
    [row] = read_rows(written(tmp_path, "at,name\n1, \n"), ("at", "name"))
    with pytest.raises(TraceError, match=r":2:3: name: expected a name \(got ' '\)"):
        row.text("name")
