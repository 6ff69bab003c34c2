"""A server that reads no data and sites that read their own agree before round 1."""

import collections
import contextlib
import dataclasses
import functools
import json

import jax
import numpy as np
import pytest

from f3ocus_jax.deployment import classes, exchange, facts, server_run, site_run, wire
from f3ocus_jax.deployment.classes import Agreement
from f3ocus_jax.deployment.courier import Courier
from f3ocus_jax.deployment.joining import Joining
from f3ocus_jax.deployment.joining_messages import NO_LAYOUT, Join, Ready
from f3ocus_jax.deployment.threads import Threads
from f3ocus_jax.errors import ConfigError, ProtocolError
from f3ocus_jax.federation import assembly, experiment
from f3ocus_jax.federation.run_folder import load_model, read_run
from f3ocus_jax.models import foundation as foundation_lib
from tests.helpers.configs import without_times
from tests.helpers.deployments import (
    ANSWERS,
    HOSPITALS,
    Watch,
    deployed,
    of_server,
    of_simulator,
    of_site,
    write_hospitals,
)
from tests.helpers.paths import DATASETS
from tests.helpers.protocol_runs import opened
from tfds_medvqa.common.findings import FINDINGS

WATCH = Watch()


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hospitals")
    write_hospitals(folder)
    return folder


@pytest.fixture(scope="module")
def sites(root):
    """A process of each hospital, as far as one process can be several."""
    with contextlib.ExitStack() as stack:
        yield {
            name: stack.enter_context(site_run.open_site(of_site(root, name), root / name / "kept"))
            for name in HOSPITALS
        }


def joined(sites, joining):
    """Lets sites join and returns what they said."""
    for name, site in sites.items():
        joining.take(name, site.answer(joining.invite(name)))
    return joining.joined


def start_facts(config):
    tokenizer, _ = assembly.check_inputs(config.experiment)
    return facts.of_start(config.experiment, tokenizer)


def leaves(workdir):
    saved = load_model(workdir, None)
    return saved.round, [np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(saved.params)]


def costs(workdir):
    """Accuracies and counted costs of the final table, without what is measured by a clock."""
    own = ("seconds", "majority")
    rows = json.loads((workdir / "table.json").read_text())["clients"]
    return [{key: row[key] for key in row if not key.startswith(own)} for row in rows]


@pytest.mark.extended
def test_sites_with_configs_of_their_own_and_a_server_without_data_are_the_simulator(
    root, sites, tmp_path
):
    with Threads({name: site.answer for name, site in sites.items()}) as transport:
        found = server_run.run(of_server(root), tmp_path / "server", transport)
    expected = experiment.run(of_simulator(root), tmp_path / "simulator")
    assert without_times(found) == without_times(expected)
    assert leaves(tmp_path / "server") == leaves(tmp_path / "simulator")
    assert [client.client for client in found[-1].clients] == list(HOSPITALS)
    assert all(
        client.train_loss > 0 and client.test["examples"] > 0 for client in found[-1].clients
    )
    assert costs(tmp_path / "server") == costs(tmp_path / "simulator")


@pytest.mark.extended
def test_the_server_opens_no_file_of_a_site_and_a_site_none_of_another(root, tmp_path):
    with contextlib.ExitStack() as stack:
        opened_by_site = {}
        fresh = {}
        for name in HOSPITALS:
            with WATCH.watching() as found:
                fresh[name] = stack.enter_context(
                    site_run.open_site(of_site(root, name), tmp_path / name)
                )
            opened_by_site[name] = [path for _, path in found]
        transport = stack.enter_context(
            Threads({name: site.answer for name, site in fresh.items()})
        )
        with WATCH.watching() as found:
            server_run.run(of_server(root, federated__rounds=1), tmp_path / "server", transport)
    of_data = [str(root / name) for name in HOSPITALS]
    by_server = [path for is_main, path in found if is_main]
    assert str(root / "answers.txt") in by_server
    assert not [path for path in by_server if path.startswith(tuple(of_data))]
    for name, folder in zip(HOSPITALS, of_data, strict=True):
        others = tuple(each for each in of_data if each != folder)
        assert [path for path in opened_by_site[name] if path.startswith(folder)]
        assert not [path for path in opened_by_site[name] if path.startswith(others)]
    assert read_run(tmp_path / "server").answers == list(ANSWERS)


def test_without_a_list_the_classes_are_the_sorted_hashes_of_all_training_answers(root, sites):
    config = of_server(root, deployment__answers="")
    joining = Joining(config.deployment, start_facts(config))
    texts = [answer.encode() for answer in ANSWERS]
    for name, site in sites.items():
        data = site.answer(joining.invite(name))
        lists = bytes(opened(data)[1]["answers"])
        assert lists.count(b"sha256:") == len(ANSWERS)
        assert not any(text in lists for text in texts)
        joining.take(name, data)
    agreed = joining.agree()
    salt = agreed.salt
    assert len(salt) == 32
    assert agreed.hashed == ("answers",)
    assert agreed.answers == tuple(
        sorted(classes.hashed(salt, "answers", text) for text in ANSWERS)
    )
    other = Joining(config.deployment, start_facts(config))
    assert not set(joined(sites, other)["Oslo"].answers) & set(agreed.answers), "same salt"


def test_a_site_maps_its_answers_to_the_agreed_hashes(root, sites):
    site = sites["Oslo"]
    config = of_server(root, deployment__answers="")
    joining = Joining(config.deployment, start_facts(config))
    joined(sites, joining)
    agreed = joining.agree()
    ready = wire.decode(
        site.answer(joining.setup("Oslo", 0)), NO_LAYOUT, wire.Expected((Ready,), "Oslo", 0)
    )
    join = joining.joined["Oslo"]
    assert (ready.task, ready.train, ready.test) == (join.task, join.train, join.test)
    examples = site._federation(agreed).clients[0].train
    named = [agreed.answers[label] for label in examples.labels_N]
    assert named == [classes.hashed(agreed.salt, "answers", text) for text in examples.answers]


@pytest.mark.slow
def test_sites_of_both_tasks_agree_on_hashes_of_answers_and_findings(root, tmp_path):
    made_up = {
        "data__manual_dir": str(DATASETS),
        "data__data_dir": str(tmp_path / "built"),
        "data__partition": ("dataset",),
        "data__datasets": ("open_i/reports",),
        "data__max_unknown_share": 1.0,
    }
    configs = {"Oslo": of_site(root, "Oslo"), "Lab": of_site(root, "Lab", **made_up)}
    with contextlib.ExitStack() as stack:
        sites = {
            name: stack.enter_context(site_run.open_site(config, tmp_path / name)).answer
            for name, config in configs.items()
        }
        transport = stack.enter_context(Threads(sites))
        config = of_server(root, tuple(sites), deployment__answers="", federated__rounds=1)
        records = server_run.run(config, tmp_path / "server", transport, with_figures=False)
    asker, finder = records[-1].clients
    assert ("accuracy" in asker.test, "f1_micro" in finder.test) == (True, True)
    run = read_run(tmp_path / "server")
    assert len(finder.thresholds) == len(run.findings) == len(FINDINGS)
    for names, texts in ((run.answers, ANSWERS), (run.findings, FINDINGS)):
        assert names == sorted(names)
        assert len(names) == len(texts)
        assert all(name.startswith("sha256:") for name in names)


def test_an_answer_that_is_rare_at_a_site_is_not_offered(root, tmp_path):
    config = of_site(root, "Oslo", data__minimum_answer_count=6)
    with site_run.open_site(config, tmp_path) as site:
        counts = collections.Counter(site.splits["train"].texts("answer"))
        offered = site._own_classes()["answers"]
    assert set(offered) == {text for text, count in counts.items() if count >= 6}
    assert set(offered) < set(counts)


def test_findings_are_agreed_on_like_answers():
    salt, own = "5a", ("Edema", "Nodule")
    offers = [classes.hashes(salt, "findings", own), classes.hashes(salt, "findings", ("Mass",))]
    agreed = Agreement(salt, (), classes.union(offers), ("findings",))
    known = agreed.known("findings", own)
    assert sorted(known)[:2] == sorted(own)
    assert [each for each in known if each.startswith("sha256:")] == [
        classes.hashed(salt, "findings", "Mass")
    ]
    assert classes.hashed(salt, "answers", "Mass") not in agreed.findings


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"training__learning_rate": 0.5}, ["config.training.learning_rate"]),
        ({"data__question_length": 14}, ["config.data.question_length"]),
        ({"seed": 3, "importance__score": "snip"}, ["config.importance.score", "config.seed"]),
        (
            {"model__architecture": {"num_hidden_layers": 3}},
            ["architecture of the model", "config.model.architecture"],
        ),
        ({"data__data_dir": "/elsewhere", "checkpoint__directory": "/kept"}, []),
        ({"data__encoding": "latin-1", "federated__placement": "loop"}, []),
        ({"federated__rounds": 7, "deployment__train_seconds": 1.0}, []),
    ],
)
def test_what_differs_is_named_and_what_is_each_member_s_own_may_differ(settings, named):
    assert facts.differing(start_facts(deployed()), start_facts(deployed(**settings))) == named


def test_other_files_of_weights_and_another_tokenizer_are_named(tmp_path):
    config = deployed().experiment
    foundation = foundation_lib.load(config.model, ANSWERS, jax.random.key(0))
    for name, scale in (("one", 1.0), ("other", 2.0)):
        params = jax.tree.map(lambda leaf, scale=scale: leaf * scale, foundation.params)
        foundation.save(tmp_path / name, params)
    given = [
        start_facts(deployed(model__weights=str(tmp_path / name), model__architecture={}))
        for name in ("one", "other")
    ]
    assert facts.differing(*given) == ["files of the start weights"]
    other = dataclasses.replace(foundation.tokenizer, prompt="Question: {question}")
    given = [facts.of_start(config, one) for one in (foundation.tokenizer, other)]
    assert facts.differing(*given) == ["tokenizer"]


def test_a_site_that_differs_cannot_join_and_the_line_says_why(root, sites):
    config = of_server(root, training__learning_rate=0.5)
    joining = Joining(config.deployment, start_facts(config))
    problem = r"^site Bern, join: not the same as the server's: config\.training\.learning_rate$"
    with pytest.raises(ProtocolError, match=problem):
        joining.take("Bern", sites["Bern"].join())
    joining = Joining(of_server(root).deployment, start_facts(of_server(root)))
    with pytest.raises(ProtocolError, match="it is no site of this federation"):
        joining.take("Rome", sites["Bern"].join())
    joining.take("Bern", sites["Bern"].answer(joining.invite("Bern")))
    assert joining.missing == ["Oslo", "Kiel"]


def test_a_site_answers_any_task_with_its_join_until_it_knows_the_classes(root, tmp_path):
    with site_run.open_site(of_site(root, "Oslo"), tmp_path) as site:
        for data in (b"", b"nonsense", site.join()):
            answer = wire.decode(site.answer(data), NO_LAYOUT, wire.Expected((Join,), "Oslo", 0))
            assert (answer.answers, answer.memory) == ((), -1)


def test_a_join_without_the_hashes_that_are_needed_is_answered_by_an_invitation(root, sites):
    """As of a site that speaks first, or was started again before it could answer."""
    config, speaks_first = of_server(root, deployment__answers=""), ["Oslo", "Kiel"]

    def answer(name, task):
        if name in speaks_first:
            speaks_first.remove(name)
            return sites[name].join()
        return sites[name].answer(task)

    joining = Joining(config.deployment, start_facts(config))
    with Threads({name: functools.partial(answer, name) for name in sites}) as transport:
        courier = Courier(transport, config.deployment, transport.clock)
        exchange.collect_joins(courier, joining, config.deployment)
    assert [len(joining.joined[name].answers) for name in HOSPITALS] == [len(ANSWERS)] * 3
    assert not speaks_first


def test_a_site_must_be_a_client_of_its_data_or_the_only_one(root, tmp_path):
    with site_run.open_site(of_site(root, "Oslo", deployment__site="H-1"), tmp_path) as site:
        assert site.name == "H-1"
    several = {"data__datasets": tuple(f"files:{root / name / 'files'}" for name in HOSPITALS)}
    config = of_site(root, "Rome", data__data_dir=str(root / "all"), **several)
    with pytest.raises(ConfigError, match="must be one of Oslo, Bern, Kiel"):
        site_run.open_site(config, tmp_path)
    with site_run.open_site(of_site(root, "Oslo"), tmp_path):
        pass


@pytest.mark.parametrize(
    ("text", "problem"),
    [("yes\nno\nYes \n", "holds 'yes' twice"), ("\n \n", "holds no line")],
)
def test_a_list_of_classes_holds_each_once(text, problem, tmp_path):
    path = tmp_path / "answers.txt"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=problem):
        classes.read_list(str(path), "answers")
    with pytest.raises(ConfigError, match=r"config\.deployment\.answers = .* cannot be read"):
        classes.read_list(str(tmp_path / "absent"), "answers")
    path.write_text("no\nTWO\n\nyes\n", encoding="utf-8")
    assert classes.read_list(str(path), "answers") == ("no", "2", "yes")
