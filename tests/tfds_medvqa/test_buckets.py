"""A build larger than memory equals one in memory."""

import numpy as np
import pytest

from tests.tfds_medvqa.dummy_builds import build_dummy, texts
from tfds_medvqa.common import buckets
from tfds_medvqa.common.buckets import Bucket


def test_a_bucket_gives_back_what_was_added(tmp_path, monkeypatch):
    monkeypatch.setattr(buckets, "BUFFER_BYTES", 100)
    draw = np.random.default_rng(0)
    added = [(int(draw.integers(2**62)) << 66, draw.bytes(draw.integers(0, 90))) for _ in range(20)]
    bucket = Bucket(tmp_path / "new" / "bucket.tmp")
    for key, data in added:
        bucket.add(key, data)
    assert list(bucket.read_values()) == list(bucket.read_values()) == added
    assert (len(bucket), bucket.size) == (20, sum(len(data) for _, data in added))
    bucket.del_file()
    assert not list((tmp_path / "new").iterdir())


def test_an_empty_bucket_has_no_file(tmp_path):
    bucket = Bucket(tmp_path / "bucket.tmp")
    assert (list(bucket.read_values()), len(bucket), bucket.size) == ([], 0, 0)
    bucket.del_file()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("dataset", ["open_i/reports", "medvqa_fl/dummy"])
def test_a_build_through_files_is_the_one_in_memory(dataset, tmp_path, monkeypatch):
    in_memory = texts(build_dummy(dataset, tmp_path / "memory"))
    monkeypatch.setattr(buckets, "MEMORY_BYTES", 1000)
    written, add = [], Bucket.add
    monkeypatch.setattr(Bucket, "add", lambda *args: written.append(1) or add(*args))
    through_files = texts(build_dummy(dataset, tmp_path / "files"))
    assert len(written) >= len(in_memory["train"])
    assert through_files.keys() == in_memory.keys()
    for split, examples in in_memory.items():
        for one, other in zip(through_files[split], examples, strict=True):
            np.testing.assert_equal(one, other)
    assert not list(tmp_path.rglob("bucket_*"))
