"""Rows of public data sets come with their places, from every form of file and from the hub."""

import gzip
import json
import sys
import types
from pathlib import Path

import pytest

from rewardranker.errors import DataError, MissingExtraError, ModelError
from rewardranker.sources import HubSet, json_column, one_of, read_rows

ROWS = [{"a": 1, "b": ["x\u2028y"]}, {"a": 2, "b": []}]
LINES = "\n".join(json.dumps(row, ensure_ascii=False) for row in ROWS) + "\n\n"


def write(path: Path) -> None:
    name = path.name
    if name.endswith(".parquet"):
        pyarrow = pytest.importorskip("pyarrow", reason="pyarrow is not installed")
        from pyarrow import parquet

        parquet.write_table(pyarrow.Table.from_pylist(ROWS), path)
        return
    text = json.dumps(ROWS) if name.startswith("list") else LINES
    path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())


@pytest.mark.parametrize(
    ("name", "places"),
    [
        ("a.jsonl", [":1", ":2"]),
        ("a.jsonl.gz", [":1", ":2"]),
        ("list.json", ["[0]", "[1]"]),
        ("list.json.gz", ["[0]", "[1]"]),
        ("a.parquet", ["[0]", "[1]"]),
    ],
)
def test_rows_of_a_file(name, places, tmp_path):
    write(tmp_path / name)
    assert list(read_rows(None, tmp_path / name)) == [
        (f"{tmp_path / name}{place}", row) for place, row in zip(places, ROWS, strict=True)
    ]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", b'{"a": 1}\n{"a"\n', r"a\.jsonl:2: broken JSON .* column 5"),
        ("a.jsonl", b"[1]\n", r"a\.jsonl:1: expected a JSON object, got list"),
        ("a.jsonl", b"\n", "has no rows"),
        ("a.jsonl", b"\xff\xfe", "not UTF-8"),
        ("a.jsonl", b'{"a": ' + b"9" * 5000 + b"}", r"a\.jsonl:1: JSON that can't be read"),
        ("a.json", b'[{"a": 1},\n{]', "broken JSON .* line 2"),
        ("a.jsonl.gz", b"plain", "Not a gzipped file"),
        ("a.parquet", b"plain", "not a Parquet file"),
        ("b.jsonl", None, r"b\.jsonl: No such file"),
    ],
)
def test_broken_files_are_named(name, content, message, tmp_path):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message):
        list(read_rows(None, tmp_path / name))


def test_a_row_of_a_hub_set_names_its_place(monkeypatch):
    asked = []
    fake = types.SimpleNamespace(load_dataset=lambda *args, **options: asked.append((args, options)) or ROWS)
    monkeypatch.setitem(sys.modules, "datasets", fake)
    monkeypatch.setattr("rewardranker.sources.find_spec", lambda name: object())
    assert list(read_rows(HubSet("o/set", "test", "c"), None))[1] == ("o/set, test[1]", ROWS[1])
    assert asked == [(("o/set", "c"), {"split": "test"})]
    list(read_rows(HubSet("o/set", "test", arrow="test/*.arrow"), None))
    assert asked[1] == (
        ("arrow",),
        {"data_files": {"test": "hf://datasets/o/set/test/*.arrow"}, "split": "test"},
    )


def test_json_lines_of_the_hub_are_read_as_they_are(monkeypatch, tmp_path):
    write(tmp_path / "test2.jsonl")
    fake = types.SimpleNamespace(hf_hub_download=lambda repo, name, repo_type: tmp_path / name)
    monkeypatch.setitem(sys.modules, "huggingface_hub", fake)
    monkeypatch.setattr("rewardranker.sources.find_spec", lambda name: object())
    rows = list(read_rows(HubSet("o/set", "test", files=("test2.jsonl",)), None))
    assert rows == [("o/set, test2.jsonl:1", ROWS[0]), ("o/set, test2.jsonl:2", ROWS[1])]


def test_a_hub_that_can_not_be_reached_is_told(monkeypatch):
    def refuse(*_, **__):
        raise ConnectionError("no route")

    monkeypatch.setitem(sys.modules, "datasets", types.SimpleNamespace(load_dataset=refuse))
    monkeypatch.setattr("rewardranker.sources.find_spec", lambda name: object())
    with pytest.raises(ModelError, match="o/set can't be loaded from the hub: no route; or give a local file"):
        list(read_rows(HubSet("o/set", "test"), None))


def test_the_missing_package_is_named(monkeypatch):
    monkeypatch.setattr("rewardranker.sources.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"rewardranker\[hub\]"):
        list(read_rows(HubSet("o/set", "test"), None))


def test_columns_of_json_text():
    row = {"a": "[1]", "b": " ", "c": [2], "d": "{"}
    assert [json_column(row, name, "f:1") for name in "abc"] == [[1], None, [2]]
    with pytest.raises(DataError, match="f:1: column 'd': expected JSON text"):
        json_column(row, "d", "f:1")
    with pytest.raises(DataError, match="f:1: column 'e' is missing; columns here: a, b, c, d"):
        json_column(row, "e", "f:1")


def test_names_of_a_column():
    assert one_of({"a": None, "b": 0}, ("a", "b"), "f:1") == 0
    with pytest.raises(DataError, match="f:1: expected a column x or y; columns here: a"):
        one_of({"a": 1}, ("x", "y"), "f:1")
