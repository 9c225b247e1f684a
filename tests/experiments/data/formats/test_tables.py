"""Files as tables: where each row stands, what is wrong with a faulty one, and nothing that is run."""

import json

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from groundrl.experiments.data.formats.tables import open_table


def write(tmp_path, name, text):
    path = tmp_path / name
    path.write_bytes(text.encode())
    return path


def rows(table):
    return [dict(table.row(index)) for index in range(len(table))]


def test_a_json_list_knows_the_line_of_each_record(tmp_path):
    table = open_table(write(tmp_path, "a.json", '\ufeff[\n {"a": 1},\n\n {"a": {"b": [2]},\n  "c": "é"} ,{"a": 3}]\n'))
    assert rows(table) == [{"a": 1}, {"a": {"b": [2]}, "c": "é"}, {"a": 3}]
    assert [table.where(index).rpartition(":")[2] for index in range(3)] == ["2", "4", "5"]
    assert table.columns == ("a", "c")
    assert len(open_table(write(tmp_path, "empty.json", " [ ] "))) == 0


def test_a_json_file_may_have_an_object_on_each_line(tmp_path):
    table = open_table(write(tmp_path, "a.json", '{"a": 1}\n{"a": 2}\n\nbroken\n'))
    assert [table.row(0), table.row(1)] == [{"a": 1}, {"a": 2}]
    assert [table.where(index).rpartition(":")[2] for index in range(3)] == ["1", "2", "4"]
    with pytest.raises(ValueError, match="the line is not JSON"):
        table.row(2)


def test_an_object_of_records_has_its_keys_as_a_column(tmp_path):
    table = open_table(write(tmp_path, "a.json", json.dumps({"k1": {"a": 1}, "k2": {"a": 2}}, indent=2)))
    assert rows(table) == [{"key": "k1", "a": 1}, {"key": "k2", "a": 2}]
    assert table.where(1) == f"{tmp_path / 'a.json'}:5"


@pytest.mark.parametrize(
    "text",
    ["", "hello", '"text"', "[1, 2", '[{"a": 1}', '[{"a": 1}] more', "{1: 2}", '[{"a": 1}, {"a"}]', "[" * 99_999],
)
def test_what_is_no_json_of_records_is_refused(tmp_path, text):
    with pytest.raises(ValueError, match=r"a.json is not a JSON list of objects|the record is not an object"):
        open_table(write(tmp_path, "a.json", text))


def test_csv_rows_span_lines_and_keep_their_place(tmp_path):
    text = '\ufeffa,b\r\n1,"two\nlines, ""quoted"""\r\n\r\n3,\r\n4,5,6\r\n'
    table = open_table(write(tmp_path, "a.csv", text))
    assert table.columns == ("a", "b")
    assert len(table) == 3, "an empty line is no row"
    assert table.row(0) == {"a": "1", "b": 'two\nlines, "quoted"'}
    assert table.row(1) == {"a": "3", "b": None}
    assert [table.where(index).rpartition(":")[2] for index in range(3)] == ["2", "5", "6"]
    with pytest.raises(ValueError, match="the row has 3 fields, but the header 2"):
        table.row(2)
    assert open_table(write(tmp_path, "a.tsv", "a\tb\n1\t2,3\n")).row(0) == {"a": "1", "b": "2,3"}


def test_a_broken_csv_is_refused_with_its_line(tmp_path):
    (tmp_path / "a.csv").write_bytes(b"a,b\n1,2\n\xff,3\n")
    with pytest.raises(ValueError, match=r"a.csv:3 is not CSV in UTF-8"):
        open_table(tmp_path / "a.csv")
    with pytest.raises(ValueError, match=r"b.csv:2 is not CSV in UTF-8: field larger than field limit"):
        open_table(write(tmp_path, "b.csv", "a\n" + "x" * 200_000))


def test_jsonl_columns_are_those_of_the_first_sound_lines(tmp_path):
    table = open_table(write(tmp_path, "a.jsonl", 'broken\n{"a": 1}\n\n{"b": 2}\n'))
    assert table.columns == ("a", "b")
    assert table.where(2) == f"{tmp_path / 'a.jsonl'}:4"
    with pytest.raises(ValueError, match="the line is not JSON"):
        table.row(0)


def test_a_pattern_is_all_of_its_files_in_order(tmp_path):
    write(tmp_path, "b.jsonl", '{"x": 3}\n')
    write(tmp_path, "a.jsonl", '{"x": 1}\n{"x": 2, "y": 0}\n')
    table = open_table(tmp_path / "*.jsonl")
    assert [row["x"] for row in rows(table)] == [1, 2, 3]
    assert (table.columns, table.where(2)) == (("x", "y"), f"{tmp_path / 'b.jsonl'}:1")
    with pytest.raises(ValueError, match="no file matches"):
        open_table(tmp_path / "c*.jsonl")


def test_parquet_and_saved_folders(tmp_path):
    pq.write_table(pa.Table.from_pylist([{"a": 1, "b": {"c": [1, 2]}}, {"a": 2, "b": None}]), tmp_path / "a.parquet")
    table = open_table(tmp_path / "a.parquet")
    assert rows(table) == [{"a": 1, "b": {"c": [1, 2]}}, {"a": 2, "b": None}]
    assert table.where(1) == f"{tmp_path / 'a.parquet'}: row 2"
    datasets.Dataset.from_list([{"a": 1}, {"a": 2}]).save_to_disk(tmp_path / "saved")
    saved = open_table(tmp_path / "saved")
    assert (rows(saved), saved.columns) == ([{"a": 1}, {"a": 2}], ("a",))


def test_what_cannot_be_opened_says_what_would(tmp_path):
    (tmp_path / "folder").mkdir()
    for name, message in {
        "a.jsonl": "there is no file .*; a path in a config is relative",
        "folder": "is not a folder that `datasets` has saved; name its files, such as .*parquet",
    }.items():
        with pytest.raises(ValueError, match=message):
            open_table(tmp_path / name)
    with pytest.raises(ValueError, match=r"is none of .jsonl, .json, .csv, .tsv, .parquet"):
        open_table(write(tmp_path, "a.xlsx", ""))
    with pytest.raises(ValueError, match=r"a.parquet is not a parquet file"):
        open_table(write(tmp_path, "a.parquet", "hello"))
    with pytest.raises(ValueError, match="`split` picks a split of a `datasets` folder"):
        open_table(write(tmp_path, "b.jsonl", "{}"), split="test")
