"""Shared secrets, integers, masks and keys against oracles of their own."""

import dataclasses
import itertools
from fractions import Fraction

import numpy as np
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from f3ocus_jax.deployment.fields import RefusedError
from f3ocus_jax.deployment.secure import keys, shamir
from f3ocus_jax.deployment.secure.fixed_point import FixedPoint, signed
from f3ocus_jax.deployment.secure.masks import mask
from f3ocus_jax.deployment.secure.roster import Advertisement
from f3ocus_jax.deployment.secure.roster_check import check_roster
from f3ocus_jax.errors import ConfigError
from tests.helpers.secure_rounds import drawn, make_rules, start

SECRET = bytes(range(200, 232))


def value_at(shares, at):
    """The value at a point of the polynomial through shares, by fractions over the rationals."""
    total = Fraction(0)
    for x, share in shares.items():
        term = Fraction(int.from_bytes(share, "big"))
        for other in shares.keys() - {x}:
            term *= Fraction(at - other, x - other)
        total += term
    return total.numerator * pow(total.denominator, -1, shamir.PRIME) % shamir.PRIME


def is_prime(number):
    """Miller and Rabin's test with the first primes as bases."""
    odd, twos = number - 1, 0
    while odd % 2 == 0:
        odd, twos = odd // 2, twos + 1
    for base in (2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37):
        power = pow(base, odd, number)
        if power in (1, number - 1):
            continue
        for _ in range(twos - 1):
            power = power * power % number
            if power == number - 1:
                break
        else:
            return False
    return True


def test_the_field_is_that_of_the_smallest_prime_above_all_secrets():
    assert is_prime(shamir.PRIME)
    assert not any(is_prime(2**256 + more) for more in range(1, 297, 2))


@pytest.mark.parametrize(("needed", "count"), [(1, 1), (1, 3), (2, 2), (3, 5), (5, 5)])
def test_every_choice_of_enough_shares_gives_the_secret(needed, count):
    shares = dict(enumerate(shamir.split(SECRET, needed, count, drawn(needed)), 1))
    for size in range(needed, count + 1):
        for points in itertools.combinations(shares, size):
            some = {x: shares[x] for x in points}
            assert shamir.combine(some, needed) == SECRET
            assert value_at(some, 0) == int.from_bytes(SECRET, "big")


@pytest.mark.parametrize("secret", [bytes(32), b"\xff" * 32])
def test_the_smallest_and_the_largest_secret_are_kept(secret):
    shares = shamir.split(secret, 2, 3, drawn(0))
    assert shamir.combine({1: shares[0], 3: shares[2]}, 2) == secret


def test_fewer_shares_fit_to_every_secret():
    shares = dict(enumerate(shamir.split(SECRET, 3, 4, drawn(0)), 1))
    known = {x: shares[x] for x in (2, 4)}
    for secret in (bytes(32), SECRET, b"\xff" * 32):
        third = value_at({0: secret, **known}, 1).to_bytes(33, "big")
        assert shamir.combine({1: third, **known}, 3) == secret
    with pytest.raises(RefusedError, match="2 shares of a secret, 3 are needed"):
        shamir.combine(known, 3)


def test_a_share_is_another_one_for_every_draw_and_says_nothing_of_the_secret():
    """The first bytes of a single share of one secret, over many draws."""
    source = drawn(3)
    firsts = [shamir.split(SECRET, 2, 2, source)[0][1] for _ in range(5120)]
    counts = np.bincount(firsts, minlength=256)
    assert 142 < np.sum((counts - 20) ** 2) / 20 < 368


def test_shares_that_contradict_each_other_are_refused():
    shares = dict(enumerate(shamir.split(SECRET, 2, 3, drawn(0)), 1))
    with pytest.raises(RefusedError, match="contradict each other"):
        shamir.combine({**shares, 2: shares[3]}, 2)
    above = (shamir.PRIME - 1).to_bytes(33, "big")
    with pytest.raises(RefusedError, match="contradict each other"):
        shamir.combine({1: above}, 1)


@pytest.mark.parametrize(("secret", "needed", "count"), [(b"x", 1, 1), (SECRET, 3, 2)])
def test_impossible_shares_are_no_question_of_the_protocol(secret, needed, count):
    with pytest.raises(ValueError, match=f"{needed} of {count} shares"):
        shamir.split(secret, needed, count, drawn(0))


@pytest.mark.parametrize("bits", [16, 32, 64])
@pytest.mark.parametrize("sites", [1, 2, 7, 100])
def test_numbers_are_kept_to_half_a_step_and_the_sum_of_all_sites_does_not_wrap(bits, sites):
    fixed = FixedPoint(bits, 0.5, sites)
    values = np.random.default_rng(bits).uniform(-0.5, 0.5, 1000)
    values[:3] = (0.5, -0.5, 0.0)
    numbers, clipped = fixed.encode(values)
    assert clipped == 0
    assert numbers.dtype == f"uint{bits}"
    error = np.abs(signed(numbers) * fixed.step - values)
    assert error.max() <= fixed.step / 2 * (1 + 1e-9) + 1e-16
    total = np.zeros_like(numbers)
    for _ in range(sites):
        total = total + numbers
    exact = [sites * int(number) for number in signed(numbers)]
    assert signed(total).tolist() == exact
    assert max(exact) < 2 ** (bits - 1)
    assert fixed.levels * sites > 2 ** (bits - 1) - 1 - sites or bits == 64


def test_numbers_beyond_the_range_are_clipped_and_counted():
    fixed = FixedPoint(16, 0.25, 3)
    numbers, clipped = fixed.encode(np.array([[0.25, 0.2500001], [-7.0, 1e30]]))
    assert clipped == 3
    levels = fixed.levels
    assert signed(numbers).tolist() == [[levels, levels], [-levels, levels]]


@pytest.mark.parametrize(
    ("threshold", "sites", "needed"),
    [
        (0.5, 1, 1),
        (0.5, 2, 2),
        (0.5, 3, 2),
        (0.5, 4, 3),
        (0.5, 5, 3),
        (2 / 3, 3, 3),
        (2 / 3, 10, 7),
        (0.99, 10, 10),
    ],
)
def test_more_than_the_threshold_of_the_sites_are_needed(threshold, sites, needed):
    assert make_rules(threshold=threshold).needed(sites) == needed


def test_a_mask_is_the_key_stream_of_chacha20():
    """Test vector 1 of RFC 8439, appendix A.1: zeros as key, nonce and counter."""
    stream = bytes.fromhex(
        "76b8e0ada0f13d90405d6ae55386bd28bdd219b8a08ded1aa836efcc8b770dc7"
        "da41597c5157488d7724e03fb8d84a376a43b8f41518a11cc387b669b2ee6586"
    )
    found = mask(bytes(32), 12, np.dtype(np.uint32))
    assert found.counts.astype("<u8").tobytes() + found.numbers.astype("<u4").tobytes() == stream


def test_two_sites_agree_on_the_secret_of_x25519():
    """Test vector of RFC 7748, section 6.1."""
    bob, public_alice, public_bob, secret = map(
        bytes.fromhex,
        (
            "5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb",
            "8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a",
            "de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f",
            "4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742",
        ),
    )
    assert keys.agree(bob, public_alice) == secret
    assert keys.public_of(bob) == public_bob
    other = drawn(0)(32)
    assert keys.agree(other, public_bob) == keys.agree(bob, keys.public_of(other))


def test_a_public_key_of_small_order_is_refused():
    with pytest.raises(RefusedError, match="a public key gives no secret"):
        keys.agree(SECRET, bytes(32))


def test_every_context_gives_another_key():
    contexts = [(b"ab", b"c"), (b"a", b"bc"), (b"abc",), (b"abc", b""), ()]
    assert len({keys.derive(SECRET, *context) for context in contexts}) == len(contexts)


def identities(tmp_path, names):
    """Identities by name, written and read again, and the public keys for the settings."""
    found = {}
    for name in names:
        private = Ed25519PrivateKey.generate()
        pem = private.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        (tmp_path / name).write_bytes(pem)
        found[name] = keys.Identity.read(str(tmp_path / name))
        assert found[name].public == private.public_key().public_bytes_raw()
    return found, {name: one.public.hex() for name, one in found.items()}


TRIO = [[1, 1], [1, 1], [1, 1]]


def test_keys_that_are_signed_by_the_sites_of_the_settings_are_taken(tmp_path):
    known, public = identities(tmp_path, "abc")
    played = start(TRIO, make_rules(keys=public), identities=known)
    masked = played.mask(played.share(), "abc")
    assert played.unmask(masked, "abc").keys() == {0, 1}


@pytest.mark.parametrize("what", ["unsigned", "another site's", "unknown", "another round's"])
def test_a_server_cannot_play_a_site_whose_key_it_does_not_have(what, tmp_path):
    known, public = identities(tmp_path, "abc")
    if what == "unsigned":
        known = {name: known[name] for name in "ab"}
    if what == "another site's":
        known = {**known, "c": known["b"]}
    if what == "unknown":
        public = {name: public[name] for name in "ab"}
    played = start(TRIO, make_rules(keys=public), identities=known)
    if what == "another round's":
        earlier = start(TRIO, make_rules(keys=public), identities=known, number=2, seed=1)
        advertised = (*played.roster.advertised[:2], earlier.roster.advertised[2])
        played.roster = dataclasses.replace(played.roster, advertised=advertised)
    problem = "is not in config" if what == "unknown" else "are not signed by it"
    with pytest.raises(RefusedError, match=f"site c {problem}"):
        played.share_of("a")


def test_a_list_without_a_site_s_own_keys_or_with_a_key_twice_is_refused():
    played = start(TRIO)
    roster, own = played.roster, played.sites["a"].advertised
    other = Advertisement(own.mask_key, roster.advertised[1].mask_key)
    given = (played.rules, "a")
    with pytest.raises(RefusedError, match="has not the keys that this site advertised"):
        check_roster(roster, *given, other)
    with pytest.raises(RefusedError, match="has not the keys that this site advertised"):
        check_roster(roster, played.rules, "z", own)
    twice = dataclasses.replace(roster, advertised=(own, own, roster.advertised[2]))
    with pytest.raises(RefusedError, match="a public key occurs twice"):
        check_roster(twice, *given, own)
    with pytest.raises(RefusedError, match="the list of sites is of round 4"):
        played.sites["a"].share(dataclasses.replace(roster, round=4))


@pytest.mark.parametrize("content", [None, b"nothing", "an X25519 key"])
def test_a_file_that_holds_no_identity_is_refused(content, tmp_path):
    path = tmp_path / "key.pem"
    if content == "an X25519 key":
        formats = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8)
        content = X25519PrivateKey.generate().private_bytes(*formats, serialization.NoEncryption())
    if content:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"config\.secure_aggregation\.identity = "):
        keys.Identity.read(str(path))
    assert keys.Identity.read("") is None
