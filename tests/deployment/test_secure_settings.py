"""Settings with which sums alone are not enough, or show a single update, are refused."""

import pytest

from f3ocus_jax.deployment import facts
from f3ocus_jax.deployment.secure.rules import make_rules
from f3ocus_jax.errors import ConfigError
from tests.helpers.configs import read_config

SECURE = {"secure_aggregation__enabled": True, "limits__minimum_sharers": 2}


def test_the_rules_are_those_of_the_settings():
    config = read_config("tiny", **SECURE, aggregation__clip_norm=0.5, aggregation__weights="steps")
    rules = make_rules(config, {"a": "b"})
    assert (rules.bits, rules.largest, rules.threshold, rules.minimum_sharers) == (32, 1.0, 0.5, 2)
    assert (rules.clip_norm, rules.weight(29), rules.per_step(4)) == (0.5, 29, 0.25)
    equal = make_rules(read_config("tiny", **SECURE, aggregation__weights="equal"), {"a": "c"})
    assert (equal.weight(29), equal.per_step(4)) == (1, 1.0)
    assert equal.run != rules.run


@pytest.mark.parametrize(
    ("name", "value", "problem"),
    [
        ("aggregation__rule", "median", r"rule = 'median', must be 'mean' with .* single updates"),
        ("aggregation__rule", "trimmed_mean", "rule = 'trimmed_mean', must be 'mean'"),
        ("aggregation__rule", "krum", "rule = 'krum', must be 'mean'"),
        ("aggregation__outliers", "clip", "outliers = 'clip', must be 'report'"),
        ("aggregation__max_weight_share", 0.5, "max_weight_share = 0.5, must be 1 with"),
        ("limits__minimum_sharers", 1, "minimum_sharers = 1, must be at least 2 .* own update"),
        ("secure_aggregation__bits", 24, "bits = 24, must be 16, 32 or 64"),
        ("secure_aggregation__threshold", 0.4, "threshold = 0.4, must be at least 0.5"),
        ("secure_aggregation__keys", {"a": "F" * 64}, "64 hexadecimal digits each, in lower case"),
    ],
)
def test_what_needs_single_updates_or_shows_one_is_refused(name, value, problem):
    with pytest.raises(ConfigError, match=problem):
        read_config("tiny", **{**SECURE, name: value})


def test_one_sharer_is_allowed_where_that_is_said():
    settings = {"secure_aggregation__enabled": True, "secure_aggregation__single_sharers": True}
    config = read_config("tiny", **settings)
    assert (config.secure_aggregation.enabled, config.limits.minimum_sharers) == (True, 1)


def test_the_members_must_have_the_settings_of_masks_in_common_but_not_their_own_keys():
    secure = read_config("tiny", **SECURE)
    same = read_config("tiny", **SECURE, secure_aggregation__identity="own.pem")
    assert facts.of_settings(same) == facts.of_settings(secure)
    for name, value in (
        ("limits__minimum_sharers", 3),
        ("aggregation__weights", "equal"),
        ("aggregation__clip_norm", 1.0),
        ("secure_aggregation__bits", 16),
    ):
        other = read_config("tiny", **{**SECURE, name: value})
        differing = facts.differing(facts.of_settings(secure), facts.of_settings(other))
        assert differing == [f"config.{name.replace('__', '.')}"]
    plain = {"limits__minimum_sharers": 2}
    pair = [read_config("tiny", **plain), read_config("tiny", limits__minimum_sharers=3)]
    assert facts.of_settings(pair[0]) == facts.of_settings(pair[1])
