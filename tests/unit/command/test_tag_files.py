"""Tags from files."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest
from weightslab.command.exchange import read_tags
from weightslab_common.errors import InvalidArgument

ODD = ["a,b", 'say "hi"', "日本", "<b>", "tag:z"]


def _file(folder: Path, text: str) -> Path:
    path = folder / "tags.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_tags_are_read_as_they_were_written(tmp_path: Path) -> None:
    text = io.StringIO()
    csv.writer(text).writerows([("split", "uid", "tag"), *(("train", uid, tag) for uid in ("1", "x y") for tag in ODD)])
    tags = read_tags(_file(tmp_path, text.getvalue()))
    assert list(tags) == ODD
    assert [(sample.split, sample.uid) for sample in tags["a,b"]] == [("train", "1"), ("train", "x y")]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("uid,tag\n1,a\n", "has no column split"),
        ("", "has no column split, tag, uid"),
        ("split,uid,tag\ntrain,1\n", "line 2: split, uid and tag must all be there"),
        ("split,uid,tag\ntrain,1,a\ntrain,,b\n", "line 3"),
        (f"split,uid,tag\ntrain,1,{'x' * 65}\n", "line 2: a tag has 1 to 64 characters"),
    ],
)
def test_a_wrong_file_is_told_by_its_line(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(InvalidArgument, match=said):
        read_tags(_file(tmp_path, text))


def test_a_binary_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "tags.csv"
    path.write_bytes(b"split,uid,tag\n\xff\xfe,1,a\n")
    with pytest.raises(InvalidArgument, match="no CSV in UTF-8"):
        read_tags(path)
