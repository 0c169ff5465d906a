"""Tags from files."""

from __future__ import annotations

import csv
import io
import json
import sys
from pathlib import Path

import pyarrow
import pytest
from pyarrow import parquet
from weightslab.command.tag_files import read_tags
from weightslab_common.errors import FailedPrecondition, InvalidArgument

ODD = ["a,b", 'say "hi"', "日本", "<b>", "tag:z"]
ROWS = [{"split": "train", "uid": uid, "tag": tag} for uid in ("1", "x y") for tag in ODD]


def _file(folder: Path, text: str, name: str = "tags.csv") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def _written(folder: Path, form: str) -> Path:
    path = folder / f"tags.{form}"
    match form:
        case "csv":
            text = io.StringIO()
            writer = csv.DictWriter(text, ["tag", "uid", "split", "more"])
            writer.writeheader()
            writer.writerows(ROWS)
            path.write_text(text.getvalue(), encoding="utf-8-sig")
        case "json":
            path.write_text(json.dumps(ROWS))
        case _:
            parquet.write_table(pyarrow.Table.from_pylist(ROWS), path)
    return path


@pytest.mark.parametrize("form", ["csv", "json", "parquet"])
def test_tags_are_read_as_they_were_written(tmp_path: Path, form: str) -> None:
    tags = read_tags(_written(tmp_path, form), form=form)
    assert list(tags) == ODD
    assert [(sample.split, sample.uid) for sample in tags["a,b"]] == [("train", "1"), ("train", "x y")]


def test_an_index_may_be_a_number(tmp_path: Path) -> None:
    file = _file(tmp_path, '[{"split": "train", "uid": 17, "tag": "a"}]')
    assert [sample.uid for sample in read_tags(file, form="json")["a"]] == ["17"]


@pytest.mark.parametrize(
    ("form", "text", "said"),
    [
        ("csv", "uid,tag\n1,a\n", "has no column split"),
        ("csv", "", "has no column split, tag, uid"),
        ("csv", "split,uid,tag\ntrain,1\n", "line 2: split, uid and tag must all be there"),
        ("csv", "split,uid,tag\ntrain,1,a\ntrain,,b\n", "line 3"),
        ("csv", f"split,uid,tag\ntrain,1,{'x' * 65}\n", "line 2: a tag has 1 to 64 characters"),
        ("json", "{", "is no JSON"),
        ("json", '{"split": "train"}', "is no list of objects"),
        ("json", '[{"split": "train", "uid": true, "tag": "a"}]', "object 1: split, uid and tag"),
        ("json", '[{"split": "train", "uid": "1", "tag": ["a"]}]', "object 1: split, uid and tag"),
        ("parquet", "split,uid,tag\n", "is no Parquet"),
    ],
)
def test_a_wrong_file_is_told_by_its_line(tmp_path: Path, form: str, text: str, said: str) -> None:
    with pytest.raises(InvalidArgument, match=said):
        read_tags(_file(tmp_path, text), form=form)


def test_a_parquet_file_without_a_column_is_told(tmp_path: Path) -> None:
    parquet.write_table(pyarrow.table({"uid": ["1"]}), tmp_path / "tags.parquet")
    with pytest.raises(InvalidArgument, match="has no column split, tag"):
        read_tags(tmp_path / "tags.parquet", form="parquet")


def test_a_binary_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "tags.csv"
    path.write_bytes(b"split,uid,tag\n\xff\xfe,1,a\n")
    with pytest.raises(InvalidArgument, match="no CSV in UTF-8"):
        read_tags(path, form="csv")


def test_without_pyarrow_parquet_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(FailedPrecondition, match=r"pip install 'weightslab\[parquet\]'"):
        read_tags(_file(tmp_path, "", "tags.parquet"), form="parquet")
