"""Which shares unmask a round, as the server and every site derive it from who has answered."""

import dataclasses

from f3ocus_jax.deployment.secure.roster import Roster
from f3ocus_jax.deployment.secure.rules import Rules


@dataclasses.dataclass(frozen=True)
class UnmaskPlan:
    """What is needed to unmask a round.

    Attributes:
      sealed_by: Sites whose shares have reached the others, ascending; masks are between these.
      survivors: Those whose masked update has come, ascending.
      dropped: The others, whose mask keys are needed.
      seeds: (site, piece) whose seeds are needed: the survivors' pieces that enough survivors
        share. Any other piece stays masked.
    """

    sealed_by: tuple[str, ...]
    survivors: tuple[str, ...]
    dropped: tuple[str, ...]
    seeds: tuple[tuple[str, int], ...]


def make_plan(
    roster: Roster, rules: Rules, sealed_by: tuple[str, ...], survivors: tuple[str, ...]
) -> UnmaskPlan:
    """Makes the plan.

    Args:
      roster: The sites of the round.
      rules: Rules of the run.
      sealed_by: Sites whose shares have reached the others, ascending.
      survivors: Those whose masked update has come, ascending.
    """
    pieces = range(roster.trains_KP.shape[1])
    enough = {
        piece for piece in pieces if len(roster.sharers(piece, survivors)) >= rules.minimum_sharers
    }
    seeds = tuple(
        (name, piece)
        for name in survivors
        for piece in roster.pieces(roster.index(name), rules)
        if piece in enough
    )
    dropped = tuple(name for name in sealed_by if name not in survivors)
    return UnmaskPlan(sealed_by, survivors, dropped, seeds)
