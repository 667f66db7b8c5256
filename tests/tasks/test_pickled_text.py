"""A packed text is read; a pickle that is anything else is refused, and never runs."""

import base64
import os
import pickle
import pickletools
import zlib
from pathlib import Path

import pytest

from rewardranker.errors import DataError
from rewardranker.tasks import pickled_text as reader

TEXTS = ["", "[]", '[{"input": "1\\n", "output": "ä☃"}]', "x" * 70_000, "a\nb\\u0041"]


def packed(pickled: bytes) -> str:
    return base64.b64encode(zlib.compress(pickled)).decode()


class Touch:
    """Unpickling makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("text", TEXTS)
def test_a_text_of_every_protocol_is_read(text, protocol):
    pickled = pickle.dumps(text, protocol)
    assert reader.packed_text(packed(pickled), "f:1") == text
    assert reader.packed_text(packed(pickletools.optimize(pickled)), "f:1") == text


def test_a_pickle_that_runs_something_is_refused_and_does_not_run(tmp_path):
    mark = tmp_path / "ran"
    data = packed(pickle.dumps(Touch(mark)))
    with pytest.raises(DataError, match=r"f:1: the pickle in it has the instruction \w+ .*nothing is ever unpickled"):
        reader.packed_text(data, "f:1")
    assert not mark.exists()
    pickle.loads(zlib.decompress(base64.b64decode(data)))
    assert mark.exists()  # the same data does run where it is unpickled


@pytest.mark.parametrize(
    "value", [["a"], b"a", 1, None, ("a", "b"), {"a": 1}, os.getcwd, "a\ud800".encode("utf-8", "surrogatepass")]
)
@pytest.mark.parametrize("protocol", [0, 2, 5])
def test_other_values_are_refused(value, protocol):
    with pytest.raises(DataError, match="f:1"):
        reader.packed_text(packed(pickle.dumps(value, protocol)), "f:1")


STOP, TEXT = b".", b"\x8c\x01a"


@pytest.mark.parametrize(
    "pickled",
    [
        b"",
        STOP,
        TEXT,
        TEXT + TEXT + STOP,
        TEXT + b"0" + STOP,
        TEXT + STOP + b"cos\nsystem\n.",
        b"cos\nsystem\n0" + TEXT + STOP,
        b"\x80\x04\x8c\x10ab.",
        b"h\x00" + TEXT + STOP,
        TEXT + b"\x80\x04" + STOP,
    ],
)
def test_instructions_around_a_text_are_refused(pickled):
    with pytest.raises(DataError, match="f:1: the pickle in it"):
        reader.pickled_text(pickled, "f:1")


@pytest.mark.parametrize("data", ["", "{}", "äöü", base64.b64encode(b"plain").decode(), packed(b"x" * 99)[:-8]])
def test_what_is_not_packed_is_refused(data):
    with pytest.raises(DataError, match="f:1"):
        reader.packed_text(data, "f:1")


def test_data_that_unpacks_to_too_much_is_refused(monkeypatch):
    monkeypatch.setattr(reader, "LARGEST", 1000)
    with pytest.raises(DataError, match="holds more than"):
        reader.packed_text(packed(pickle.dumps("x" * 2000)), "f:1")
