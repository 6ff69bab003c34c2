"""A run whose clients have hostile names ends with all of its results."""

import re

import pytest

from f3ocus_jax.data import reading
from f3ocus_jax.federation import runs
from tests.helpers.configs import read_config
from tests.helpers.hostile import NAMES, is_harmless


@pytest.mark.extended
def test_a_run_of_hostile_names_writes_everything_and_goes_on(
    tmp_path, monkeypatch, capfd, data_dir
):
    assign = reading.partition.assign
    first, *others = [NAMES[name] for name in NAMES if name not in ("surrogate", "very long")]
    names = ["".join([first, *others]), NAMES["very long"], *others]  # no UTF-8 has surrogates

    def renamed(config, datasets):
        return dict(zip(names, assign(config, datasets).values(), strict=False))

    monkeypatch.setattr(reading.partition, "assign", renamed)
    for rounds in (1, 2):
        config = read_config("tiny_last_k", data_dir, federated__rounds=rounds)
        records = runs.run(config, tmp_path)
    assert [client.client for client in records[-1].clients] == names[: len(records[-1].clients)]
    shown = capfd.readouterr()
    assert is_harmless(shown.out)
    assert is_harmless(shown.err)
    assert "was not drawn" not in shown.err
    assert (tmp_path / "model" / "config.json").is_file()
    assert (tmp_path / "figures" / "accuracy.png").is_file()
    rows = (tmp_path / "table.md").read_text().split("\n")
    bars = {len(re.findall(r"(?<!\\)\|", row.replace(r"\\", ""))) for row in rows if row[:1] == "|"}
    assert len(bars) == 1
    assert list(runs.load(tmp_path).evaluate()) == [client.client for client in records[-1].clients]
