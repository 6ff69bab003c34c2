"""Intervals, tests and effect sizes against other packages' answers, and by simulation.

Known answers come from scikit-posthocs 0.17.1, autorank 1.3.0, rliable 1.2.0 and statsmodels
0.15.0; the comment beside each one is the call that gave it, on `SCORES` where no data are named.
"""

import math

import numpy as np
import pytest
from scipy import stats

from f3ocus_jax.sweep import intervals, mcnemar, paired, ranks

SCORES = np.array(
    [
        [40.85, 37.32, 36.35, 36.20, 31.91],
        [42.37, 39.22, 36.82, 37.29, 33.07],
        [84.25, 79.15, 77.71, 77.09, 75.75],
        [80.46, 76.47, 73.56, 74.06, 70.03],
        [79.65, 75.44, 74.60, 74.82, 72.84],
        [78.95, 76.99, 73.61, 73.90, 70.13],
        [60.29, 55.81, 54.35, 54.18, 50.25],
        [69.79, 65.40, 63.08, 62.58, 58.12],
        [65.86, 64.12, 61.10, 60.70, 56.80],
        [78.94, 75.26, 73.39, 71.76, 68.10],
        [86.40, 83.66, 81.90, 81.22, 77.65],
        [89.69, 86.20, 83.09, 82.24, 82.70],
    ]
)
"""Five methods (F³OCUS, LNTK, FishMask, GradFlow, FD) over the twelve columns of Table 1."""


def discordant(only_first, only_second, both=3, neither=4):
    """Correctness of two models with the given counts."""
    cells = [(1, 1)] * both + [(1, 0)] * only_first + [(0, 1)] * only_second + [(0, 0)] * neither
    return np.array(cells, bool).T


def test_the_t_interval_is_that_of_scipy():
    values = [61.2, 64.0, 59.9, 62.5, 63.1]
    expected = stats.ttest_1samp(values, 0.0).confidence_interval(0.95)
    found = intervals.t_interval(values)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))
    assert (found.mean, found.n, found.reason) == (pytest.approx(62.14), 5, "")


def test_the_t_interval_at_five_seeds_covers_the_mean():
    values_SN = np.random.default_rng(0).normal(0.6, 0.02, (2000, 5))
    found = [intervals.t_interval(values_N) for values_N in values_SN]
    assert 0.93 <= np.mean([each.low <= 0.6 <= each.high for each in found]) <= 0.97


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ([], "no values"),
        ([0.5], "one value: an interval needs two"),
        ([0.5, math.nan, 0.4], "1 of 3 values are not finite"),
    ],
)
def test_too_little_data_gives_no_interval_and_a_reason(values, reason):
    for found in (intervals.t_interval(values), intervals.stratified_bootstrap([values])):
        assert math.isnan(found.low)
        assert math.isnan(found.high)
        assert not found.excludes_zero
    assert intervals.t_interval(values).reason == reason


def test_equal_values_have_an_interval_without_width_and_a_note():
    found = intervals.t_interval([0.25, 0.25])
    assert (found.low, found.high, found.reason) == (0.25, 0.25, "all 2 values are equal")


def test_the_bootstrap_agrees_with_rliable():
    # library.get_interval_estimates({"a": SCORES[:6, :4]}, lambda s: np.array([s.mean()]),
    #   reps=50000, random_state=np.random.RandomState(0)), whose strata are the columns
    found = intervals.stratified_bootstrap(SCORES[:6, :4].T, resamples=50_000)
    assert found.mean == pytest.approx(64.04708333)
    assert (found.low, found.high) == pytest.approx((56.22705208, 70.8291875), abs=0.1)
    assert found.n == 24


def test_the_bootstrap_has_the_variance_of_drawing_within_strata():
    strata = [[0.1, 0.5, 0.6, 0.9], [0.3, 0.4, 0.8, 0.2, 0.5]]
    exact = math.sqrt(sum(np.var(stratum) / len(stratum) for stratum in strata)) / 2
    found = intervals.stratified_bootstrap(strata, resamples=50_000)
    assert found.half_width == pytest.approx(1.96 * exact, rel=0.03)


def test_the_bootstrap_depends_on_its_seed_alone():
    first = intervals.stratified_bootstrap(SCORES.T, seed=1)
    assert first == intervals.stratified_bootstrap(SCORES.T, seed=1)
    assert first != intervals.stratified_bootstrap(SCORES.T, seed=2)


def test_pairs_are_the_keys_that_both_have():
    first = {(0, "a"): 0.5, (0, "b"): 0.6, (1, "a"): 0.7}
    second = {(1, "a"): 0.4, (0, "a"): 0.5, (2, "a"): 0.9}
    keys, differences = paired.match(first, second)
    assert keys == [(0, "a"), (1, "a")]
    assert differences == pytest.approx([0.0, 0.3])


def test_the_paired_t_test_is_that_of_scipy():
    found = paired.t_test(SCORES[:, 1] - SCORES[:, 2])
    expected = stats.ttest_rel(SCORES[:, 1], SCORES[:, 2])
    assert (found.statistic, found.p) == pytest.approx((expected.statistic, expected.pvalue))


def test_wilcoxon_is_exact_without_ties():
    differences = np.random.default_rng(1).normal(0.3, 1, 40)
    expected = stats.wilcoxon(differences, method="exact")
    found = paired.wilcoxon(differences)
    assert (found.statistic, found.p) == pytest.approx((expected.statistic, expected.pvalue))


@pytest.mark.parametrize("case", range(4))
def test_wilcoxon_is_exact_with_ties_and_zeros(case):
    differences = np.random.default_rng(case).integers(-3, 4, 9).astype(float)
    every_sign = stats.PermutationMethod(n_resamples=np.inf)
    expected = stats.wilcoxon(differences, zero_method="pratt", method=every_sign)
    assert paired.wilcoxon(differences).p == pytest.approx(expected.pvalue)


def test_wilcoxon_of_many_pairs_is_close_to_the_exact_one():
    differences = np.random.default_rng(2).normal(0.15, 1, paired.MOST_EXACT + 1)
    expected = stats.wilcoxon(differences, method="exact").pvalue
    assert paired.wilcoxon(differences).p == pytest.approx(expected, rel=0.03)


def test_differences_that_rounding_alone_tells_apart_are_ties():
    assert 0.3 - 0.1 != 0.5 - 0.3
    found = paired.wilcoxon([0.3 - 0.1, -(0.5 - 0.3)])
    assert (found.statistic, found.p) == (1.5, 1.0)


@pytest.mark.parametrize(
    ("differences", "t_reason", "wilcoxon_reason"),
    [
        ([], "no pairs", "no pairs"),
        ([0.0, 0.0], "all 2 differences are 0", "all 2 differences are 0"),
        ([0.5, 0.5], "all 2 differences are 0.5", ""),
        ([0.5], "one pair: the t-test needs two", ""),
        ([0.5, math.nan], "1 of 2 pairs are not finite", "1 of 2 pairs are not finite"),
    ],
)
def test_a_test_that_cannot_be_made_has_no_p_value(differences, t_reason, wilcoxon_reason):
    for test, reason in (
        (paired.t_test(differences), t_reason),
        (paired.wilcoxon(differences), wilcoxon_reason),
    ):
        assert test.reason == reason
        assert math.isnan(test.p) == bool(reason)


def test_effect_sizes_have_their_definitions():
    found = paired.effect_sizes([1.0, 2.0, -3.0, 4.0])
    assert found.cohen_d == pytest.approx(1.0 / np.std([1, 2, -3, 4], ddof=1))
    assert found.rank_biserial == pytest.approx((1 + 2 + 4 - 3) / 10)
    none = paired.effect_sizes([0.0, 0.0])
    assert math.isnan(none.cohen_d)
    assert math.isnan(none.rank_biserial)


def test_cliffs_delta_agrees_with_autorank():
    # autorank._util._cliffs_delta(SCORES[:, 1], SCORES[:, 2])
    assert paired.cliffs_delta(SCORES[:, 1], SCORES[:, 2]) == pytest.approx(0.20833333333333334)
    assert paired.cliffs_delta([1, 2], [3, 4]) == -1
    assert math.isnan(paired.cliffs_delta([], [1.0]))


def test_holm_agrees_with_statsmodels():
    # multipletests(p, method="holm")[1]
    p_values = [0.01, 0.04, 0.03, 0.005, 0.2, 0.03]
    assert paired.holm(p_values) == pytest.approx([0.05, 0.12, 0.12, 0.03, 0.2, 0.12])


def test_a_test_that_cannot_be_made_counts_in_its_family():
    corrected = paired.holm([0.01, math.nan, 0.04])
    assert corrected[0] == pytest.approx(0.03)
    assert math.isnan(corrected[1])
    assert corrected[2] == pytest.approx(0.08)
    assert paired.holm([]) == []
    with pytest.raises(ValueError, match="must lie in"):
        paired.holm([1.2])


def test_holm_keeps_the_level_of_a_family_without_differences():
    generator = np.random.default_rng(3)
    false, families = 0, 400
    for _ in range(families):
        reference, *others = generator.normal(size=(6, 20))
        p_values = [paired.wilcoxon(reference - other).p for other in others]
        false += min(paired.holm(p_values)) < 0.05
    assert false / families <= 0.05 + 2 * math.sqrt(0.05 * 0.95 / families)


def test_nemenyi_agrees_with_scikit_posthocs():
    # posthoc_nemenyi_friedman(SCORES)
    expected = [
        [1.0, 0.53029859, 0.00278048, 0.00019818, 1e-08],
        [0.53029859, 1.0, 0.23513059, 0.05233591, 6.108e-05],
        [0.00278048, 0.23513059, 1.0, 0.96752068, 0.10161328],
        [0.00019818, 0.05233591, 0.96752068, 1.0, 0.36916882],
        [1e-08, 6.108e-05, 0.10161328, 0.36916882, 1.0],
    ]
    np.testing.assert_allclose(ranks.compare_ranks(SCORES).pairwise_p_MM, expected, atol=1e-8)


def test_ranks_and_critical_difference_agree_with_autorank():
    # autorank(DataFrame(SCORES), alpha=0.05, order="descending", force_mode="nonparametric")
    found = ranks.compare_ranks(SCORES)
    assert found.critical_difference == pytest.approx(
        1.7607556243045581, rel=1e-4
    )  # its table is rounded
    assert found.average_ranks == pytest.approx([1, 2, 40 / 12, 3.75, 59 / 12])
    assert found.p == pytest.approx(4.23800234749444e-09)
    assert found.groups == [[0, 1], [1, 2, 3], [2, 3, 4]]


def test_critical_differences_are_those_of_demsars_table():
    # Demšar (2006), table 5: q at level 0.05 for 2, 5 and 10 methods
    for methods, quantile in ((2, 1.960), (5, 2.728), (10, 3.164)):
        scale = math.sqrt(methods * (methods + 1) / (6 * 30))
        found = ranks.critical_difference(methods, 30) / scale
        assert found == pytest.approx(quantile, abs=1e-3)


def test_blocks_that_lack_a_method_are_left_out_and_counted():
    with_gap = np.vstack([SCORES, [50, 51, math.nan, 52, 53]])
    found = ranks.compare_ranks(with_gap)
    assert (found.blocks, found.left_out) == (12, 1)
    assert found.average_ranks == ranks.compare_ranks(SCORES).average_ranks


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        (SCORES[:, :2], "2 methods: Friedman's test needs 3"),
        (SCORES[:1], "1 blocks have a value of every method: 2 are needed"),
        (np.full((4, 3), math.nan), "0 blocks have a value of every method: 2 are needed"),
    ],
)
def test_too_few_methods_or_blocks_give_no_ranks_test(values, reason):
    found = ranks.compare_ranks(values)
    assert found.reason == reason
    assert math.isnan(found.p)
    assert math.isnan(found.critical_difference)
    assert found.groups == []


def test_methods_that_always_tie_are_one_group():
    found = ranks.compare_ranks(np.ones((6, 4)))
    assert (found.p, found.average_ranks, found.groups) == (1.0, [2.5] * 4, [[0, 1, 2, 3]])


def test_groups_hold_no_smaller_group():
    assert ranks.groups_within([1.0, 2.0, 3.0, 9.0], 2.5) == [[0, 1, 2]]
    assert ranks.groups_within([3.0, 1.0, 2.0], 1.5) == [[1, 2], [2, 0]]
    assert ranks.groups_within([1.0, 5.0, 9.0], 2.0) == []


@pytest.mark.parametrize(
    ("only_first", "only_second", "p"),
    # mcnemar([[3, only_first], [only_second, 4]], exact=True).pvalue
    [(12, 5, 0.143463134765625), (40, 70, 0.005447429511444476), (6, 6, 1.0)],
)
def test_mcnemar_agrees_with_statsmodels(only_first, only_second, p):
    found = mcnemar.mcnemar(*discordant(only_first, only_second))
    assert (found.only_first, found.only_second) == (only_first, only_second)
    assert found.p_exact == pytest.approx(p)


def test_the_mid_p_value_is_that_of_its_paper():
    # Fagerland, Lydersen and Laake (2013), airway responsiveness of 21 children
    found = mcnemar.mcnemar(*discordant(1, 7, both=1, neither=12))
    assert (found.n, found.p_exact, found.p_mid) == (
        21,
        pytest.approx(0.0703, abs=5e-5),
        pytest.approx(0.0391, abs=5e-5),
    )
    tied = mcnemar.mcnemar(*discordant(3, 3))
    assert tied.p_mid == pytest.approx(1 - stats.binom.pmf(3, 6, 0.5) / 2)


def test_mcnemar_needs_questions_on_which_the_models_differ():
    found = mcnemar.mcnemar(*discordant(0, 0))
    assert math.isnan(found.p_exact)
    assert found.reason == "the models are correct on the same questions"
    with pytest.raises(ValueError, match="the same questions"):
        mcnemar.mcnemar([True], [True, False])
