"""Checks of the list of sites of a round, by each of its sites."""

import numpy as np

from f3ocus_jax.deployment.fields import RefusedError
from f3ocus_jax.deployment.secure import keys as keys_lib
from f3ocus_jax.deployment.secure.roster import Advertisement, Roster, statement
from f3ocus_jax.deployment.secure.rules import Rules


def check_roster(roster: Roster, rules: Rules, own: str, advertised: Advertisement) -> None:
    """Checks the list of sites of a round at one of them.

    Args:
      roster: The list, as the server sent it.
      rules: Rules of the run.
      own: Name of the site.
      advertised: Keys that it has advertised.

    Raises:
      RefusedError: If the site is absent or has other keys, a key is not signed or occurs twice, or
        too few sites share a layer that the site trains.
    """
    if own not in roster.names or roster.advertised[roster.index(own)] != advertised:
        raise RefusedError("the list of sites has not the keys that this site advertised")
    for name, keys in zip(roster.names, roster.advertised, strict=True):
        signed = statement(rules, roster.round, name, keys)
        keys_lib.check_signature(rules.keys, name, signed, keys.signature)
    public = [key for keys in roster.advertised for key in (keys.mask_key, keys.channel_key)]
    if len(set(public)) < len(public):
        raise RefusedError("a public key occurs twice in the list of sites")
    _check_sharers(roster, rules, own)


def _check_sharers(roster: Roster, rules: Rules, own: str) -> None:
    sharers_L = roster.trains_KP[:, : roster.num_layers].sum(axis=0)
    own_L = roster.trains_KP[roster.index(own), : roster.num_layers]
    few = np.flatnonzero(own_L & (sharers_L < rules.minimum_sharers)).tolist()
    if few:
        raise RefusedError(
            f"layers {few} are shared by fewer than config.limits.minimum_sharers = "
            f"{rules.minimum_sharers} sites"
        )
