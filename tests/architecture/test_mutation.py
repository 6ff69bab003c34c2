"""The glue of `make mutate`: every module has tests, and text for people is not mutated."""

import pytest

from benchmarks import hand_mistakes, mutation
from benchmarks.mistakes import MISTAKES, Mistake
from tests.helpers.paths import REPOSITORY


@pytest.mark.parametrize("package", mutation.PACKAGES)
def test_every_module_of_a_mutated_package_is_held_by_tests_that_exist(package):
    modules = mutation.modules_of(package)
    assert modules
    for module in modules:
        tests = mutation.tests_of(package, module, wide=False)
        assert tests, module
        assert all((REPOSITORY / path).is_file() for path in tests)
        assert len(tests) == len(set(tests))


def test_a_module_is_held_by_the_file_of_its_name_and_not_by_its_neighbours():
    tests = mutation.tests_of("selection", "f3ocus_jax/selection/limits.py", wide=False)
    assert "tests/selection/test_limits.py" in tests
    assert "tests/selection/test_random_keys.py" not in tests


def test_survivors_are_tried_on_the_tests_elsewhere_too():
    images = ("data", "f3ocus_jax/data/images.py")
    elsewhere = "tests/models/huggingface/test_preprocessor.py"
    assert elsewhere not in mutation.tests_of(*images, wide=False)
    assert elsewhere in mutation.tests_of(*images, wide=True)


def test_stages_of_a_round_are_held_by_the_replay_too():
    tests = mutation.tests_of("federation", "f3ocus_jax/federation/stages/train.py", wide=False)
    assert set(mutation.GLUE) <= set(tests)


def test_lines_that_speak_to_people_or_to_the_type_checker_are_not_mutated():
    source = '''"""Docstring."""
__all__ = ["a"]
def f(x: int | None, y: float = 1):
    if y > 2:
        raise ValueError(f"{y + 1}")
    logging.info("%d", y + 1)
    return y * 2
'''
    # Line 3 has an annotation, and the default beside it goes with it.
    assert mutation.irrelevant_lines(source) == {1, 2, 3, 5, 6}


def test_the_report_counts_a_timeout_as_killed_and_shows_survivors():
    record = {"package": "data", "module": "order.py", "line": 3, "diff": ["-a < b", "+a <= b"]}
    results = ("killed", "timeout", "survived")
    report = mutation.report([record | {"outcome": result} for result in results])
    assert "2 of    3 killed (67%)" in report
    assert "survived: order.py:3\n    -a < b\n    +a <= b" in report


@pytest.mark.extended  # not in `make test`: a change of such a line may well be in the making
def test_every_mistake_made_by_hand_applies_to_one_place_and_names_its_tests():
    for mistake in MISTAKES:
        source = (REPOSITORY / mistake.file).read_text(encoding="utf-8")
        assert hand_mistakes.with_mistake(source, mistake) != source
        assert all((REPOSITORY / path).exists() for path in mistake.tests), mistake


def test_a_mistake_whose_place_is_gone_is_refused():
    mistake = Mistake("adds", "module.py", "a + b", "a - b", ())
    assert hand_mistakes.with_mistake("c = a + b", mistake) == "c = a - b"
    for source in ("c = a * b", "c = a + b; d = a + b"):
        with pytest.raises(ValueError, match=r"module\.py has 'a \+ b' [02] times"):
            hand_mistakes.with_mistake(source, mistake)


def test_mistakes_that_are_made_together_are_of_different_files():
    together = hand_mistakes.draw_together(16, seed=0)
    assert len({mistake.file for mistake in together}) == len(together) == 16
    assert hand_mistakes.draw_together(16, seed=1) != together
