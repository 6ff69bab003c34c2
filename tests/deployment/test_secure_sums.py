"""The server learns exactly the sums, from any sites that are enough, and nothing else."""

import dataclasses
import itertools

import numpy as np
import pytest

from f3ocus_jax.deployment.fields import RefusedError
from f3ocus_jax.deployment.secure.masks import Piece
from tests.helpers.secure_rounds import chi_square, make_rules, same, start

FIVE = [[1, 1, 0, 1], [1, 0, 1, 1], [0, 1, 1, 0], [1, 1, 1, 1], [0, 0, 1, 1]]
"""Sites a to e, three layers and an entry of the head."""

NAMES = "abcde"


@pytest.mark.parametrize("bits", [16, 32, 64])
@pytest.mark.parametrize("seed", range(4))
def test_unmasked_sums_are_the_plain_sums_as_integers(seed, bits):
    trains_KP = np.random.default_rng(seed).random((4, 6)) < 0.7
    trains_KP[:, trains_KP.sum(axis=0) == 1] = False
    played = start(trains_KP, make_rules(bits=bits), seed=seed)
    masked = played.mask(played.share(), "abcd")
    assert same(played.unmask(masked, "abcd"), played.plain("abcd"))


@pytest.mark.parametrize(
    "dropped", [some for count in range(3) for some in itertools.combinations(NAMES, count)]
)
def test_every_set_of_sites_that_drop_out_up_to_the_threshold_is_recovered(dropped):
    played = start(FIVE)
    masked = played.mask(played.share(), NAMES)
    survivors = [name for name in NAMES if name not in dropped]
    assert same(played.unmask(masked, survivors), played.plain(survivors))


@pytest.mark.parametrize("dropped", list(itertools.combinations(NAMES, 3)))
def test_one_more_than_the_threshold_is_refused_by_every_site(dropped):
    played = start(FIVE)
    played.mask(played.share(), NAMES)
    survivors = tuple(name for name in NAMES if name not in dropped)
    for name in survivors:
        with pytest.raises(RefusedError, match="2 sites have sent an update, 3 with this one"):
            played.reveal(name, survivors)


@pytest.mark.parametrize(("late", "lost", "silent"), [("e", "d", "a"), ("a", "c", "b")])
def test_sites_may_drop_out_at_every_step_of_one_round(late, lost, silent):
    """Before their shares come, before their update, and before they help to unmask."""
    trains_KP = [[1, 1], [1, 1], [1, 1], [1, 1], [1, 1], [1, 1], [1, 1]]
    played = start(trains_KP)
    senders = [name for name in "abcdefg" if name != late]
    masked = played.mask(played.share(), senders)
    survivors = [name for name in senders if name != lost]
    helpers = [name for name in survivors if name != silent]
    assert same(played.unmask(masked, survivors, helpers), played.plain(survivors))


def test_too_few_that_help_to_unmask_give_nothing():
    played = start(FIVE)
    masked = played.mask(played.share(), NAMES)
    with pytest.raises(RefusedError, match="the seed of site a: 2 shares of a secret, 3 are"):
        played.unmask(masked, NAMES, helpers="ab")


def test_a_layer_that_too_few_are_left_of_stays_masked():
    """Layer 0 is that of a, b and d; without b and d its sum would be a's own update."""
    played = start(FIVE)
    masked = played.mask(played.share(), NAMES)
    assert 0 not in played.unmask(masked, "ace")


def test_a_single_sharer_s_sum_is_its_own_update_with_1_and_refused_with_2():
    alone = [[1, 1], [0, 1], [0, 1]]
    with_one = start(alone, make_rules(minimum_sharers=1))
    masked = with_one.mask(with_one.share(), "abc")
    found = with_one.unmask(masked, "abc")
    np.testing.assert_array_equal(found[0].numbers, with_one.pieces["a"][0].numbers)
    with_two = start(alone)
    with pytest.raises(RefusedError, match=r"layers \[0\] are shared by fewer than .* = 2 sites"):
        with_two.share()
    assert with_two.share_of("b").keys() == {"a", "c"}


def test_an_entry_of_the_head_of_a_single_site_is_left_out():
    played = start([[1, 1, 0], [1, 0, 1], [1, 1, 0]])
    masked = played.mask(played.share(), "abc")
    assert [list(masked[name]) for name in "abc"] == [[0, 1], [0], [0, 1]]
    assert same(played.unmask(masked, "abc"), played.plain("abc"))


def with_zeros(size):
    """A round of three sites whose pieces are 0."""
    played = start([[1, 1], [1, 1], [1, 1]], seed=5)
    zeros = Piece(np.zeros(size, np.uint32), np.zeros(2, np.uint64))
    played.pieces = {name: dict.fromkeys((0, 1), zeros) for name in "abc"}
    return played


def test_masked_numbers_and_what_two_sites_masks_have_in_common_look_uniform():
    """Bounds of five standard deviations, for draws that are the same in every run."""
    played = with_zeros(50_000)
    masked = played.mask(played.share(), "abc")
    for name, other in itertools.combinations("abc", 2):
        one, two = masked[name][0], masked[other][0]
        assert 142 < chi_square(one.numbers.tobytes()) < 368
        assert 142 < chi_square((one.numbers + two.numbers).tobytes()) < 368
        assert 142 < chi_square((one.numbers - masked[name][1].numbers).tobytes()) < 368
    assert not played.unmask(masked, "abc")[0].numbers.any()


def test_an_update_that_comes_late_stays_masked_and_no_site_gives_the_rest():
    """The server has c's mask key by then; c's seed alone still hides it."""
    played = with_zeros(50_000)
    masked = played.mask(played.share(), "abc")
    early = ("a", "b")
    revealed = {name: played.reveal(name, early) for name in early}
    assert all(len(keys) == 1 and len(seeds) == 4 for keys, seeds in revealed.values())
    total = played.sums(masked, early, revealed)
    assert not total[0].numbers.any()
    # What is left of c's update without its masks with a and b, whose sums have the other sign.
    hidden = masked["c"][0].numbers + masked["a"][0].numbers + masked["b"][0].numbers
    assert 142 < chi_square(hidden.tobytes()) < 368
    for name in early:
        with pytest.raises(RefusedError, match="unmasking is what this site has done last"):
            played.reveal(name, ("a", "b", "c"))


def test_nobody_unmasks_for_sites_that_have_shared_nothing_or_without_itself():
    played = start(FIVE)
    played.mask(played.share(), "abcd")
    with pytest.raises(RefusedError, match="'e' has shared no secrets in this round"):
        played.reveal("a", tuple("abce"))
    with pytest.raises(RefusedError, match="3 with this one are needed"):
        played.reveal("a", tuple("bcd"))


def test_a_server_that_hides_a_site_s_shares_from_another_one_is_found_out():
    """Told that b's shares have not come, a masks with the others alone; b and the rest differ."""
    played = start(FIVE)
    sealed = played.share()
    for name in NAMES:
        senders = [other for other in NAMES if (name, other) != ("a", "b")]
        site = played.sites[name]
        given = {other: sealed[other][name] for other in senders if other != name}
        site.mask(site.open(given), played.pieces[name])
        others = [other for other in senders if other != name]
        played.confirmed[name] = dict(zip(others, site.confirm(), strict=True))
    for name, other in (("b", "a"), ("c", "a"), ("d", "a"), ("e", "a")):
        with pytest.raises(RefusedError, match=f"site {other} has not the shares of the same"):
            played.reveal(name, tuple(NAMES))
    with pytest.raises(RefusedError, match="site c has not the shares of the same sites"):
        played.reveal("a", tuple("acde"))


@pytest.mark.parametrize("what", ["altered", "cut", "another round", "another receiver", "itself"])
def test_shares_that_are_not_those_of_this_round_and_receiver_are_refused(what):
    played, earlier = start(FIVE), start(FIVE, number=2, seed=1)
    sealed, old = played.share(), earlier.share()
    right = {other: sealed[other]["a"] for other in "bcde"}
    wrong = {
        "altered": bytes([right["c"][0] ^ 1]) + right["c"][1:],
        "cut": right["c"][:-1],
        "another round": old["c"]["a"],
        "another receiver": sealed["c"]["b"],
        "itself": sealed["a"]["c"],
    }[what]
    site = played.sites["a"]
    with pytest.raises(RefusedError, match="the shares of site c: cannot be decrypted"):
        site.open({**right, "c": wrong})
    assert site.open(right).keys() == set("bcde")


def test_shares_of_others_than_the_sites_and_of_too_few_are_refused():
    played = start(FIVE)
    sealed = played.share()
    right = {other: sealed[other]["a"] for other in "bcde"}
    with pytest.raises(RefusedError, match="shares of 'x', which is no other site"):
        played.sites["a"].open({**right, "x": right["b"]})
    with pytest.raises(RefusedError, match="2 sites share secrets, 3 are needed"):
        played.sites["a"].open({"b": right["b"]})


@pytest.mark.parametrize("changed", ["largest_weight", "trains_KP", "names"])
def test_sites_that_were_told_different_lists_cannot_read_each_other_s_shares(changed):
    played = start(FIVE)
    sealed = {name: played.share_of(name) for name in "bcde"}
    other_KP = played.roster.trains_KP.copy()
    other_KP[4, 0] = True
    others = {
        "largest_weight": {"largest_weight": 10**6},
        "trains_KP": {"trains_KP": other_KP},
        "names": {"names": tuple("abcdx")},
    }[changed]
    site = played.sites["a"]
    site.share(dataclasses.replace(played.roster, **others))
    with pytest.raises(RefusedError, match="the shares of site b: cannot be decrypted"):
        site.open({other: sealed[other]["a"] for other in "bcd"})


def test_every_step_is_done_once_and_in_order():
    played = start(FIVE)
    site = played.sites["a"]
    with pytest.raises(RefusedError, match="advertising keys is what this site has done last"):
        site.open({})
    sealed = played.share()
    with pytest.raises(RefusedError, match="sharing secrets is what this site has done last"):
        site.share(played.roster)
    with pytest.raises(RefusedError, match="sharing secrets is what this site has done last"):
        site.unmask(tuple(NAMES), [])
    played.mask(sealed, NAMES)
    with pytest.raises(RefusedError, match="masking is what this site has done last"):
        site.open({other: sealed[other]["a"] for other in "bcde"})


def test_a_wrong_share_is_found_by_the_server():
    played = start(FIVE)
    masked = played.mask(played.share(), NAMES)
    survivors = tuple("abcd")
    revealed = {name: played.reveal(name, survivors) for name in survivors}
    keys, seeds = revealed["b"]
    wrong_seed = (keys, [seeds[0][:-1] + bytes([seeds[0][-1] ^ 1]), *seeds[1:]])
    with pytest.raises(RefusedError, match="the seed of site a: the shares of a secret contradict"):
        played.sums(masked, survivors, {**revealed, "b": wrong_seed})
    three = {name: revealed[name] for name in "abc"}
    wrong_key = ([keys[0][:-1] + bytes([keys[0][-1] ^ 1])], seeds)
    with pytest.raises(RefusedError, match="the mask key of site e "):
        played.sums(masked, survivors, {**three, "b": wrong_key})
