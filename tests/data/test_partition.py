"""Every example goes to one client, by the rule of the config."""

import dataclasses
import json

import numpy as np
import pytest

from f3ocus_jax.data import partition, summary as summary_lib
from f3ocus_jax.data.images import Canvas
from f3ocus_jax.data.reading import read_federation, read_tables
from f3ocus_jax.data.tokenizer_files import load_tokenizer
from f3ocus_jax.errors import ConfigError, DataError
from tests.helpers import own_files
from tests.helpers.tables import DUMMY, data_config, dummy, table
from tfds_medvqa.common.errors import BuildError
from tfds_medvqa.common.features import CLASSIFICATION


def many(seed=0, images=400, per_image=3):
    """Splits of one dataset in which every image has several questions of skewed answers."""
    draw = np.random.default_rng(seed)
    splits = {}
    for split, start in (("train", 0), ("test", 10_000)):
        hashes = np.repeat(np.arange(start, start + images), per_image)
        answers = [f"answer {int(value)}" for value in draw.geometric(0.4, len(hashes))]
        splits[split] = table(hashes, answers)
    return {"set": splits}


def deal(datasets, tmp_path, **settings):
    config = data_config(tmp_path, *datasets, **settings)
    return partition.assign(config, datasets)


@pytest.mark.parametrize("rule", ["dataset", "shards", "dirichlet", "answer"])
def test_every_example_goes_to_exactly_one_client(rule, tmp_path):
    datasets = many()
    clients = deal(datasets, tmp_path, partition=(rule,), clients_per_dataset=4)
    for split, whole in datasets["set"].items():
        held = np.concatenate([mine[split].pixel_hash_N for mine in clients.values()])
        np.testing.assert_array_equal(np.sort(held), np.sort(whole.pixel_hash_N))


@pytest.mark.parametrize("rule", ["shards", "dirichlet"])
def test_all_questions_about_an_image_go_to_the_same_client(rule, tmp_path):
    clients = deal(many(), tmp_path, partition=(rule,), clients_per_dataset=4)
    held = [set(mine["train"].pixel_hash_N.tolist()) for mine in clients.values()]
    assert sum(map(len, held)) == len(set().union(*held)) == 400


def test_an_image_of_both_splits_has_one_owner(tmp_path):
    both = {"set": {"train": table(range(60), "ab" * 30), "test": table(range(60), "cd" * 30)}}
    for rule in ("shards", "dirichlet"):
        for mine in deal(both, tmp_path, partition=(rule,), clients_per_dataset=3).values():
            np.testing.assert_array_equal(mine["train"].pixel_hash_N, mine["test"].pixel_hash_N)


def test_shards_are_equal_and_another_seed_deals_otherwise(tmp_path):
    settings = {"partition": ("shards",), "clients_per_dataset": 2}
    clients = deal(many(), tmp_path, **settings)
    assert list(clients) == ["set 1 of 2", "set 2 of 2"]
    sizes = [len(mine["train"]) + len(mine["test"]) for mine in clients.values()]
    assert sizes == [1200, 1200]
    again = deal(many(), tmp_path, **settings)
    other = deal(many(), tmp_path, partition_seed=1, **settings)
    first = [
        dealt["set 1 of 2"]["train"].pixel_hash_N.tolist() for dealt in (clients, again, other)
    ]
    assert first[0] == first[1] != first[2]


def shares(clients):
    """Share of every client in each label, [labels, clients]."""
    counts = []
    for mine in clients.values():
        answers = mine["train"].texts("answer")
        counts.append([answers.count(f"answer {value}") for value in (1, 2, 3)])
    counts_CK = np.array(counts, float).T
    return counts_CK / counts_CK.sum(1, keepdims=True)


def test_a_smaller_alpha_makes_the_clients_labels_differ_more(tmp_path):
    spread = {}
    for alpha in (0.1, 1.0, 100.0):
        spreads = [
            shares(
                deal(
                    many(per_image=1),
                    tmp_path,
                    partition=("dirichlet",),
                    clients_per_dataset=4,
                    dirichlet_alpha=alpha,
                    partition_seed=seed,
                )
            ).std(1)
            for seed in range(6)
        ]
        spread[alpha] = np.mean(spreads)
    assert spread[0.1] > 1.3 * spread[1.0] > 1.3 * 3 * spread[100.0]


def test_dirichlet_shares_have_the_law_s_mean_and_variance(tmp_path):
    """Against the moments of Dir(a, ..., a): mean 1/K, variance (K - 1) / (K^2 (K a + 1))."""
    datasets = {"set": {split: table(range(500), "x" * 500) for split in ("train", "test")}}
    settings = {"partition": ("dirichlet",), "clients_per_dataset": 3, "dirichlet_alpha": 2.0}
    share = [
        len(deal(datasets, tmp_path, partition_seed=seed, **settings)["set 1 of 3"]["train"]) / 500
        for seed in range(300)
    ]
    assert abs(np.mean(share) - 1 / 3) < 0.03
    assert abs(np.var(share) - 2 / (9 * 7)) < 0.008


def test_a_client_s_dirichlet_shares_are_the_same_in_every_split(tmp_path):
    """Each split has other images; only the shares of the labels carry over."""
    settings = {"partition": ("dirichlet",), "clients_per_dataset": 4, "dirichlet_alpha": 0.5}
    for seed in range(4):
        datasets = many(per_image=1, images=1000)
        clients = deal(datasets, tmp_path, partition_seed=seed, **settings)
        train_CK = shares(clients)
        test_CK = shares({name: {"train": mine["test"]} for name, mine in clients.items()})
        assert train_CK.max() - train_CK.min() > 0.5
        np.testing.assert_allclose(test_CK, train_CK, atol=0.02)


def test_dirichlet_deals_a_label_s_images_at_random(tmp_path):
    """Dealt in their own order, every client would hold a run of neighbouring images."""
    datasets = {"set": {split: table(range(900), "x" * 900) for split in ("train", "test")}}
    settings = {"partition": ("dirichlet",), "clients_per_dataset": 3, "dirichlet_alpha": 50.0}
    for mine in deal(datasets, tmp_path, **settings).values():
        hashes = mine["train"].pixel_hash_N
        assert abs(hashes.mean() - 449.5) < 5 * 260 / np.sqrt(len(hashes))
        assert hashes.std() > 200


@pytest.mark.parametrize("seed", [0, 7])
def test_dirichlet_gives_every_client_its_own_share_of_a_label_in_the_order_drawn(seed, tmp_path):
    """Drawn again with NumPy: a seed stands for one partition, that of the run to be resumed."""
    datasets, count = many(per_image=1), 3
    settings = {"clients_per_dataset": count, "dirichlet_alpha": 2.0, "partition_seed": seed}
    clients = deal(datasets, tmp_path, partition=("dirichlet",), **settings)
    draw = np.random.default_rng(seed)
    labels = sorted({text for part in datasets["set"].values() for text in part.texts("answer")})
    shares_CK = {label: draw.dirichlet([2.0] * count) for label in labels}
    for split, whole in datasets["set"].items():
        held = [set() for _ in range(count)]
        for label in labels:
            pairs = zip(whole.pixel_hash_N.tolist(), whole.texts("answer"), strict=True)
            images = sorted(image for image, answer in pairs if answer == label)
            ends = np.rint(np.cumsum(shares_CK[label]) * len(images))
            for place, image in enumerate(draw.permutation(np.array(images, np.int64)).tolist()):
                held[int(np.sum(place >= ends[:-1]))].add(image)
        found = [set(mine[split].pixel_hash_N.tolist()) for mine in clients.values()]
        assert found == held


def test_an_image_counts_for_its_rarest_finding():
    answers = ["edema", "edema, mass", "edema", "mass", "mass, edema, rare"]
    both = {"train": table(range(5), answers, task=[CLASSIFICATION] * 5)}
    assert partition._rarest_labels(both) == {
        0: "edema",
        1: "mass",
        2: "edema",
        3: "mass",
        4: "rare",
    }


def test_each_dataset_may_have_its_own_rule_and_clients_of_the_same_name_join(tmp_path):
    one = table([1, 2], "ab", client=["h", "k"])
    two = table([3, 4], "cd", client=["k", "k"])
    datasets = {"a": {"train": one, "test": one}, "b": {"train": two, "test": two}}
    clients = deal(datasets, tmp_path, partition=("client",))
    assert {name: len(mine["train"]) for name, mine in clients.items()} == {"h": 1, "k": 3}
    clients = deal(datasets, tmp_path, partition=("client", "shards"), clients_per_dataset=2)
    assert list(clients) == ["h", "k", "b 1 of 2", "b 2 of 2"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"partition": ("ward",)},
            "must be dataset, shards, dirichlet or one of anatomy, answer",
        ),
        ({"partition": ("shards",)}, "clients_per_dataset = 0, must be at least 1"),
        (
            {"partition": ("dirichlet",), "clients_per_dataset": 3, "dirichlet_alpha": 1e-6},
            "dirichlet_alpha = 1e-06 left one of 3 clients",
        ),
    ],
)
def test_a_rule_that_does_not_fit_is_refused(settings, message, tmp_path):
    one = {"set": {split: table(range(4), "xxxx") for split in ("train", "test")}}
    with pytest.raises(ConfigError, match=message):
        deal(one, tmp_path, **settings)


def test_a_client_with_two_tasks_is_refused():
    mixed = table([1, 2], "ab", task=["question answering", CLASSIFICATION])
    with pytest.raises(ConfigError, match="a client holds examples of classification and of"):
        partition.client_tasks([{"train": mixed}])


def test_a_federation_of_both_tasks_keeps_them_apart(tmp_path):
    config = data_config(tmp_path, "vqa_rad/released", "open_i/reports", manual_dir=str(DUMMY))
    federation = read_federation(config, canvas=Canvas(8), tokenizer=load_tokenizer())
    tasks = [client.task for client in federation.clients]
    assert tasks == ["question answering", "classification"]
    findings = federation.clients[1]
    assert findings.train.targets_NF.shape == (len(findings.train), 15)
    assert findings.train.targets_NF.sum(1).min() >= 1
    assert "cardiomegaly" not in federation.vocabulary.answers
    assert set(federation.vocabulary.answers) == {"yes", "left lung", "2"}


def own_config(tmp_path, answers, **settings):
    """A table of one hospital per entry, with its training answers; all test answers are yes."""
    rows = [
        {
            "image": f"{hospital}_{n}.png",
            "question": "is it?",
            "answer": answer,
            "hospital": hospital,
            "split": "train" if n else "test",
        }
        for hospital, own in answers.items()
        for n, answer in enumerate(["yes", *own])
    ]
    own_files.write_pictures(tmp_path / "own", rows)
    own_files.write_csv(tmp_path / "own" / "rows.csv", rows, list(rows[0]))
    return data_config(tmp_path, f"files:{tmp_path / 'own'}", partition=("client",), **settings)


@pytest.mark.parametrize("writes_answers", [False, True])
def test_examples_without_a_usable_answer_are_no_training_examples(
    tmp_path, caplog, writes_answers
):
    answers = {"a": ["yes", "no", "rare"], "b": ["odd", "strange"], "c": ["no", "yes"]}
    config = own_config(tmp_path, answers, minimum_answer_count=2)
    federation = read_federation(
        config, canvas=Canvas(8), tokenizer=load_tokenizer(), writes_answers=writes_answers
    )
    sizes = {client.name: len(client.train) for client in federation.clients}
    assert federation.vocabulary.answers == ("no", "yes")
    if writes_answers:
        assert sizes == {"a": 3, "b": 2, "c": 2}
        assert not caplog.records
        return
    assert sizes == {"a": 2, "c": 2}
    assert [sorted(client.train.answers) for client in federation.clients] == [["no", "yes"]] * 2
    assert all((client.train.labels_N >= 0).all() for client in federation.clients)
    first, second = (record.getMessage() for record in caplog.records)
    assert first.startswith("client a: 1 of 3 training examples have an answer that occurs fewer")
    assert second.startswith("client b: 2 of 2 ")
    assert second.endswith("the client is left out")


def test_questions_are_tokenised_as_if_one_by_one(tmp_path):
    config = data_config(tmp_path, "vqa_rad/released", manual_dir=dummy("vqa_rad"))
    tokenizer = load_tokenizer()
    (client,) = read_federation(config, canvas=Canvas(8), tokenizer=tokenizer).clients
    ids_NT, mask_NT = tokenizer.encode(client.train.questions, 12)
    np.testing.assert_array_equal(client.train.input_ids_NT, ids_NT)
    np.testing.assert_array_equal(client.train.attention_mask_NT, mask_NT)


def test_all_datasets_that_are_missing_are_listed_in_one_line(tmp_path):
    config = data_config(tmp_path, "slake/english", "vqa_rad/released", "path_vqa/released")
    with pytest.raises(BuildError) as error:
        read_tables(config, Canvas(8))
    for expected in ("(1) SLAKE", "(2) VQA-RAD", "(3) PathVQA", "osf.io", "med-vqa.com"):
        assert expected in str(error.value)
    assert "\n" not in str(error.value)


def test_a_client_without_test_examples_is_named(tmp_path):
    config = data_config(
        tmp_path, "vqa_rad/released", partition=("question",), manual_dir=dummy("vqa_rad")
    )
    with pytest.raises(DataError, match=r"client .* has no (train|test) example"):
        read_tables(config, Canvas(8))


@pytest.fixture
def summary(tmp_path):
    config = data_config(tmp_path, "vqa_rad/released", manual_dir=dummy("vqa_rad"))
    return read_tables(config, Canvas(8))[1]


def test_a_summary_counts_examples_images_and_labels(summary):
    (client,) = summary.clients
    assert client.examples == {"train": 4, "test": 2}
    assert client.images == {"train": 3, "test": 2}
    assert client.labels == {"yes": 2, "2": 1, "left lung": 1}
    assert client.unseen_answers == 0.5
    assert summary.leaks == [("vqa_rad/released", "vqa_rad/released", 1)]
    assert "1 test images are also in training in its released split" in summary.lines()[-1]


def test_the_partition_is_recorded_and_another_one_is_refused(summary, tmp_path):
    summary.record(tmp_path)
    summary.record(tmp_path)
    path = tmp_path / summary_lib.PARTITION_FILE
    assert json.loads(path.read_text())["partition_hash"] == summary.partition_hash
    other = dataclasses.replace(summary, partition_hash="another")
    with pytest.raises(ConfigError, match=r"had partition .*, now it has another"):
        other.record(tmp_path)


def test_the_hash_tells_who_holds_what(tmp_path):
    one, two = table([1, 2], "ab"), table([3], "c")
    base = {"h": {"train": one, "test": two}, "k": {"train": two, "test": one}}
    changed = [
        {"h": base["k"], "k": base["h"]},
        {"h": base["h"]},
        {"h": base["h"], "k": {"train": table([3], "d"), "test": one}},
        {"h": base["h"], "k": {"train": table([4], "c"), "test": one}},
    ]
    hashes = {summary_lib.summarise(each, {}).partition_hash for each in [base, *changed]}
    assert len(hashes) == 5
    assert summary_lib.summarise(base, {}).partition_hash in hashes
