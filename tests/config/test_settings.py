"""Every declared setting: its meaning, its range, and the page that lists it."""

import dataclasses
import math

import pytest

from f3ocus_jax import importance, selection
from f3ocus_jax.config import Component, Section, defaults, flatten, parse, section, setting
from f3ocus_jax.config.reference import as_help, markdown, rows, sections
from f3ocus_jax.config.setting import SMALLEST
from f3ocus_jax.errors import ConfigError
from f3ocus_jax.federation import reference
from f3ocus_jax.federation.settings import PICK_VALUES, ExperimentConfig, PretrainConfig
from tests.helpers.paths import REPOSITORY

KINDS = (ExperimentConfig, PretrainConfig)
DECLARED = {
    (kind, f"{name}.{row.name}".removeprefix("config.")): row
    for kind in KINDS
    for name, part in sections(kind())
    for row in rows(part)
}
BOUNDS = [
    (kind, name, bound)
    for (kind, name), row in DECLARED.items()
    for bound in ("at_least", "above", "at_most", "below")
    if getattr(row.setting, bound) is not None
]


def every(entries):
    return pytest.mark.parametrize(
        ("kind", "name", *(["bound"] if len(entries[0]) == 3 else [])),
        entries,
        ids=["-".join([entry[0].__name__, *entry[1:]]) for entry in entries],
    )


def parsed(kind, name, value):
    raw = defaults(kind)
    with raw.ignore_type():
        raw.update_from_flattened_dict({name: value})
    return parse(kind, raw)


def beside(value, bound, *, inside):
    """The last possible value at a bound, or the first impossible one."""
    is_lower, is_open = bound in ("at_least", "above"), bound in ("above", "below")
    if inside != is_open:
        return value
    up = is_lower == inside
    if value == 0 and isinstance(value, float):
        return SMALLEST if up else -SMALLEST  # computations are in float32
    return (
        value + (1 if up else -1)
        if isinstance(value, int)
        else math.nextafter(value, math.inf if up else -math.inf)
    )


@every(list(DECLARED))
def test_a_setting_says_what_it_means(kind, name):
    meaning = DECLARED[kind, name].setting.meaning
    assert len(meaning) > 10
    assert meaning.endswith(".")
    assert meaning[0].isupper() or meaning[0] in '"τ'


@pytest.mark.parametrize("kind", KINDS)
def test_defaults_are_possible_and_parse_to_themselves(kind):
    assert parse(kind, defaults(kind)) == kind()


@every(BOUNDS)
def test_a_bound_holds_at_its_edge(kind, name, bound):
    row = DECLARED[kind, name]
    is_tuple = isinstance(row.default, tuple)
    number = type(next(iter(row.default), 0) if is_tuple else row.default)
    edge = number(getattr(row.setting, bound))
    possible, impossible = (beside(edge, bound, inside=inside) for inside in (True, False))
    assert row.setting.problem((possible,) if is_tuple else possible) is None
    with pytest.raises(ConfigError) as error:
        parsed(kind, name, (impossible,) if is_tuple else impossible)
    assert str(error.value).startswith(f"config.{name} = ")
    assert ", must be " in str(error.value)


@every([key for key, row in DECLARED.items() if row.setting.choices is not None])
def test_an_unknown_choice_lists_the_known_ones(kind, name):
    with pytest.raises(ConfigError) as error:
        parsed(kind, name, "nothing")
    assert str(error.value).startswith(f"config.{name} = 'nothing'")
    assert all(choice in str(error.value) for choice in DECLARED[kind, name].setting.choices)


def test_an_unknown_choice_names_the_nearest():
    with pytest.raises(ConfigError, match=r"choose .*; did you mean snip\?$"):
        parsed(ExperimentConfig, "importance.score", "snipp")


def test_nan_is_outside_of_every_range():
    with pytest.raises(ConfigError, match=r"config.training.learning_rate = nan, must be above 0"):
        parsed(ExperimentConfig, "training.learning_rate", math.nan)


def test_options_of_a_component_that_is_not_chosen_are_checked():
    assert ExperimentConfig().importance.score != "spt"
    with pytest.raises(ConfigError, match=r"config.importance.spt.share = 2.0, must be above 0"):
        parsed(ExperimentConfig, "importance.spt.share", 2.0)


def test_an_unknown_option_names_the_nearest():
    raw = defaults(ExperimentConfig)
    with raw.unlocked():
        raw.aggregation.trimmed_mean.shares = 0.2
    with pytest.raises(ConfigError, match=r"trimmed_mean.shares is unknown; did you mean share\?"):
        parse(ExperimentConfig, raw)


def test_every_component_with_options_has_a_subsection():
    names = {name for name, _ in sections(ExperimentConfig())}
    for kind, name in DECLARED:
        choices = DECLARED[kind, name].setting.choices
        for choice, component in choices.items() if isinstance(choices, dict) else ():
            if isinstance(component, Component) and component.options is not None:
                assert f"config.{name.rpartition('.')[0]}.{choice}" in names


def test_every_pick_has_a_value():
    assert set(PICK_VALUES) == set(selection.PICKS)


def test_a_section_that_is_made_in_python_is_checked():
    with pytest.raises(ConfigError, match=r"^SptOptions.share = 0, must be above 0 and at most 1"):
        importance.SCORES["spt"].options(share=0)


def test_the_page_of_all_settings_is_current():
    # python -m f3ocus_jax.federation.reference > docs/settings.md
    assert (REPOSITORY / "docs" / "settings.md").read_text() == reference.page()


@pytest.mark.parametrize("kind", KINDS)
def test_the_help_text_lists_every_setting(kind):
    text = as_help(kind)
    for name in flatten(kind()):
        assert f"--config.{name}=" in text


@dataclasses.dataclass(frozen=True)
class HalvingOptions(Section):
    after: int = setting(10, "Rounds before the first halving.", at_least=1)


@dataclasses.dataclass(frozen=True)
class ToyConfig(Section):
    """Toy section."""

    schedule: str = setting(
        "constant",
        "Schedule.",
        choices={
            "constant": Component(None, lambda rate: [rate] * 3),
            "halving": Component(
                HalvingOptions,
                lambda rate, options: [rate / 2 ** (n >= options.after) for n in range(3)],
            ),
        },
    )
    rate: float = setting(0.5, "Rate of forgetting, per round.", at_least=0, below=1)


@dataclasses.dataclass(frozen=True)
class ToyRun(Section):
    toy: ToyConfig = section(ToyConfig, rate=0.25)


def test_one_line_is_enough_for_a_new_setting():
    raw = defaults(ToyRun)
    assert raw.to_dict() == {
        "toy": {"schedule": "constant", "rate": 0.25, "halving": {"after": 10}}
    }
    raw.toy.rate = 1.0
    with pytest.raises(ConfigError, match=r"config.toy.rate = 1.0, must be at least 0 and below 1"):
        parse(ToyRun, raw)
    assert "| `rate` | `0.25` | at least 0 and below 1 | Rate of forgetting" in markdown(ToyRun)
    assert "--config.toy.halving.after=10: Rounds before" in as_help(ToyRun)


def test_a_component_is_made_with_its_own_options():
    raw = defaults(ToyConfig)
    assert parse(ToyConfig, raw).make("schedule", 4.0) == [4.0] * 3
    raw.schedule, raw.halving.after = "halving", 2
    assert parse(ToyConfig, raw).make("schedule", 4.0) == [4.0, 4.0, 2.0]
