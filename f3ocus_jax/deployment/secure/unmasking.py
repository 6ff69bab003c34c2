"""The server's half of one round of secure aggregation: sums from masked updates and shares."""

from collections.abc import Mapping

from f3ocus_jax.deployment.fields import RefusedError
from f3ocus_jax.deployment.secure import keys as keys_lib, shamir
from f3ocus_jax.deployment.secure.masks import Piece
from f3ocus_jax.deployment.secure.participant import Revealed, pair_keys
from f3ocus_jax.deployment.secure.roster import Roster
from f3ocus_jax.deployment.secure.rules import Rules
from f3ocus_jax.deployment.secure.unmask_plan import UnmaskPlan


def sums(
    roster: Roster,
    rules: Rules,
    plan: UnmaskPlan,
    masked: Mapping[str, Mapping[int, Piece]],
    revealed: Mapping[str, Revealed],
) -> dict[int, Piece]:
    """Adds up the masked updates and takes the masks off.

    Args:
      roster: The sites of the round.
      rules: Rules of the run.
      plan: Sites that have sent what, and the shares that are needed.
      masked: Masked pieces of every survivor.
      revealed: Shares that sites have given, at least as many as the rules say.

    Returns:
      The sum over the survivors that train it, for every piece that enough of them train.

    Raises:
      RefusedError: If there are too few shares, or wrong ones; says whose secret they are of.
    """
    needed, total = rules.needed(len(roster.names)), _add_up(plan, masked)
    points = {name: roster.index(name) + 1 for name in revealed}
    for at, (name, piece) in enumerate(plan.seeds):
        shares = {points[giver]: revealed[giver][1][at] for giver in revealed}
        seed = _combine(shares, needed, f"the seed of site {name}")
        total[piece] = total[piece].masked(seed, -1)
    found = roster.hash(rules)
    for at, name in enumerate(plan.dropped):
        shares = {points[giver]: revealed[giver][0][at] for giver in revealed}
        private = _combine(shares, needed, f"the mask key of site {name}")
        if keys_lib.public_of(private) != roster.advertised[roster.index(name)].mask_key:
            raise RefusedError(f"the mask key of site {name} is not the one it advertised")
        _take_off(roster, rules, plan, found, name, private, total)
    return total


def _add_up(plan: UnmaskPlan, masked: Mapping[str, Mapping[int, Piece]]) -> dict[int, Piece]:
    total: dict[int, Piece] = {}
    for name, piece in plan.seeds:
        given = masked[name][piece]
        total[piece] = total[piece].plus(given) if piece in total else given
    return total


def _take_off(
    roster: Roster,
    rules: Rules,
    plan: UnmaskPlan,
    found: bytes,
    dropped: str,
    private: bytes,
    total: dict[int, Piece],
) -> None:
    """Takes off the masks between the survivors and a site that sent no update."""
    own = set(roster.pieces(roster.index(dropped), rules))
    for name in plan.survivors:
        key_of = pair_keys(roster, found, private, dropped, name)
        sign = 1 if name < dropped else -1
        for piece in own.intersection(roster.pieces(roster.index(name), rules), total):
            total[piece] = total[piece].masked(key_of(piece), -sign)


def _combine(shares: Mapping[int, bytes], needed: int, what: str) -> bytes:
    try:
        return shamir.combine(shares, needed)
    except RefusedError as problem:
        raise RefusedError(f"{what}: {problem}") from problem
