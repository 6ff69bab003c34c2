"""What hosts with data of their own tell each other, and that it suffices."""

import concurrent.futures
import dataclasses
import json
import threading

import jax
import numpy as np
import pytest

from f3ocus_jax.data import own_data
from f3ocus_jax.data.images import Canvas
from f3ocus_jax.data.reading import read_federation
from f3ocus_jax.data.tokenizer_files import load_tokenizer
from f3ocus_jax.errors import ConfigError
from tests.helpers.own_files import make_rows, write_csv, write_pictures
from tests.helpers.tables import data_config

PLACES = (("Oslo", "Bern", "Kiel"), ("Graz",))
"""Hospitals of two hosts."""


def write_place(folder, hospitals, first):
    """A folder whose test answers and image names are markers, and whose questions are one."""
    rows = [
        {
            **row,
            "image": row["image"].replace("images/", "images/zzimage_"),
            "question": f"{row['question']} zzquestion",
            "split": "test" if row["patient"] == "p0" else "train",
        }
        for row in make_rows(6, hospitals)
    ]
    for row in rows:
        if row["split"] == "test" and row["question"].startswith("which"):
            row["answer"] = "zztestanswer"
    write_pictures(folder, rows, first)
    write_csv(folder / "questions.csv", rows, (*rows[0],))
    return f"files:{folder}"


@pytest.fixture(scope="module")
def datasets(tmp_path_factory):
    folder = tmp_path_factory.mktemp("own")
    # The first picture of the second host is the last one of the first.
    return [
        write_place(folder / "first", PLACES[0], 0),
        write_place(folder / "second", PLACES[1], 17),
    ]


def read(folder, *datasets, gather=own_data.alone, **settings):
    config = data_config(folder, *datasets, partition=("hospital",), **settings)
    tokenizer = load_tokenizer()
    return read_federation(config, canvas=Canvas(8), tokenizer=tokenizer, gather=gather)


def read_together(monkeypatch, folder, datasets, **settings):
    """Reads as one host per dataset, each in a thread: (federations, all messages of each host)."""
    count, place = len(datasets), threading.local()
    barrier, slots = threading.Barrier(count, timeout=60), [None] * count
    messages = [[] for _ in datasets]
    monkeypatch.setattr(jax, "process_index", lambda: place.host)

    def gather(value):
        slots[place.host] = value
        messages[place.host].append(value if isinstance(value, str) else value.tolist())
        barrier.wait()
        everyone = list(slots)
        barrier.wait()
        return everyone

    def host(number):
        place.host = number
        built = folder / f"built {number}"
        return read(built, datasets[number], gather=gather, **settings)

    with concurrent.futures.ThreadPoolExecutor(count) as pool:
        return list(pool.map(host, range(count))), messages


def test_hosts_with_a_folder_each_have_the_federation_of_one_with_both(
    monkeypatch, tmp_path, datasets
):
    alone = read(tmp_path / "built", *datasets)
    federations, messages = read_together(monkeypatch, tmp_path, datasets)
    assert [client.name for client in alone.clients] == ["Bern", "Kiel", "Oslo", "Graz"]
    for number, federation in enumerate(federations):
        assert federation.vocabulary == alone.vocabulary
        assert federation.findings == alone.findings
        mine = [client.name in PLACES[number] for client in alone.clients]
        assert [client.is_here for client in federation.clients] == mine
        for client, expected in zip(federation.clients, alone.clients, strict=True):
            assert (client.name, client.task) == (expected.name, expected.task)
            assert len(client.train) == len(expected.train)
            assert len(client.test) == len(expected.test)
            if client.is_here:
                np.testing.assert_array_equal(client.train.labels_N, expected.train.labels_N)
                np.testing.assert_array_equal(
                    client.train.input_ids_NT, expected.train.input_ids_NT
                )
        facts = dataclasses.replace(federation.summary, partition_hash=alone.summary.partition_hash)
        assert facts == alone.summary
        assert federation.summary == federations[0].summary
    assert alone.summary.dropped == {datasets[1]: (1, 2)}

    for sent in messages:
        said = json.dumps(sent)
        assert "left" in said  # a training answer
        for kept in ("zzquestion", "zztestanswer", "zzimage"):
            assert kept not in said


def test_another_order_of_examples_changes_the_hash_of_the_partition(
    monkeypatch, tmp_path, datasets
):
    (one, _), _ = read_together(monkeypatch, tmp_path, datasets)
    (other, _), _ = read_together(monkeypatch, tmp_path, datasets[::-1])
    assert one.summary.partition_hash != other.summary.partition_hash


def test_no_hash_leaves_a_host_that_keeps_duplicates(monkeypatch, tmp_path, datasets):
    federations, messages = read_together(monkeypatch, tmp_path, datasets, duplicates="keep")
    assert all(isinstance(each, str) for sent in messages for each in sent)
    (graz,) = (each for each in federations[0].summary.clients if each.name == "Graz")
    assert graz.examples == {"train": 8, "test": 4}


def test_a_name_that_two_hosts_give_is_refused(monkeypatch, tmp_path, datasets):
    again = write_place(tmp_path / "again", ("Bern",), 50)
    with pytest.raises(ConfigError, match="hosts 0 and 1 both have a client 'Bern'"):
        read_together(monkeypatch, tmp_path, [datasets[0], again])


def test_a_host_whose_clients_are_all_left_out_is_named(monkeypatch, tmp_path, datasets):
    rows = [{**row, "answer": f"rare {n}"} for n, row in enumerate(make_rows(6, ("Genf",)))]
    folder = tmp_path / "rare"
    write_pictures(folder, rows, 60)
    write_csv(folder / "questions.csv", rows)
    places = [datasets[0], f"files:{folder}"]
    with pytest.raises(ConfigError, match="host 1 has no client left"):
        read_together(monkeypatch, tmp_path, places, minimum_answer_count=2)
