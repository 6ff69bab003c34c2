"""A server that learns sums alone: what secure aggregation adds to the server's half.

The train stage takes four exchanges: keys, shares of secrets, masked updates, and unmasking. A site
that does not answer one of them is left out of the next ones.
"""

import dataclasses
import logging
from collections.abc import Mapping
from typing import Any, ClassVar, cast

import numpy as np

from f3ocus_jax.aggregation import weights
from f3ocus_jax.deployment import wire
from f3ocus_jax.deployment.facts import Facts
from f3ocus_jax.deployment.fields import RefusedError
from f3ocus_jax.deployment.messages import (
    EvaluateTask,
    Failure,
    Message,
    ScoreTask,
)
from f3ocus_jax.deployment.secure import keys as keys_lib, unmasking, vectors
from f3ocus_jax.deployment.secure.masks import Piece
from f3ocus_jax.deployment.secure.messages import (
    Keys,
    KeysTask,
    MaskedTask,
    MaskedUpdate,
    Shares,
    SharesTask,
    Unmasking,
    UnmaskTask,
)
from f3ocus_jax.deployment.secure.roster import Roster, statement
from f3ocus_jax.deployment.secure.rules import Rules, make_rules
from f3ocus_jax.deployment.secure.totals import masked_pieces, received, weighted_sum
from f3ocus_jax.deployment.secure.unmask_plan import UnmaskPlan, make_plan
from f3ocus_jax.deployment.server import ANSWERS, Asked, Exchange, Server
from f3ocus_jax.errors import RoundError
from f3ocus_jax.federation.budgets import Budgets
from f3ocus_jax.federation.settings import ExperimentConfig
from f3ocus_jax.federation.stages.train import ReceivedUpdates, TrainingPlan
from f3ocus_jax.types import Array, ServerState

logger = logging.getLogger(__name__)


class SecureServer(Server):
    """A server that asks for masked updates only."""

    answers: ClassVar[Mapping[type[Message], tuple[type[Message], ...]]] = {
        ScoreTask: ANSWERS[ScoreTask],
        KeysTask: (Keys,),
        SharesTask: (Shares,),
        MaskedTask: (MaskedUpdate, Failure),
        UnmaskTask: (Unmasking,),
        EvaluateTask: ANSWERS[EvaluateTask],
    }

    def __init__(
        self,
        config: ExperimentConfig,
        budgets: Budgets,
        start: ServerState,
        facts: Facts,
        number: int = 0,
    ) -> None:
        """Builds a server; see `Server` for the arguments."""
        super().__init__(config, budgets, start, facts, number)
        self._rules: Rules = make_rules(config, facts)
        self._roster: Roster | None = None
        self._unmask: UnmaskPlan | None = None
        if self._rules.minimum_sharers < 2:
            logger.warning(
                "config.limits.minimum_sharers = 1: the sum of a layer that one site trains is "
                "that site's own update, which the server sees"
            )

    def train(
        self,
        exchange: Exchange,
        state: ServerState,
        number: int,
        mask_KL: Array,
        present_K: np.ndarray,
    ) -> ReceivedUpdates:
        """Does the train stage; see `Server.train`.

        Raises:
          RoundError: If too few sites answer, or their shares contradict each other.
        """
        keys = self._collect(exchange, state, KeysTask, self._keys_tasks(number, present_K))
        mask_KL = self._shared(np.asarray(mask_KL), keys)
        plan = self._training.plan(number, mask_KL, present_K, state.head)
        roster = self._roster = self._make_roster(plan, state, mask_KL, keys)
        names = roster.names
        tasks = {name: SharesTask(number, name, roster) for name in names}
        shares = self._collect(exchange, state, SharesTask, tasks)
        self._require_sites(roster, len(shares), "shared their secrets")
        training = self._masked_tasks(plan, state, roster, shares)
        answers = self._collect(exchange, state, MaskedTask, training)
        masked = {
            name: answer for name, answer in answers.items() if isinstance(answer, MaskedUpdate)
        }
        self._require_sites(roster, len(masked), "sent a masked update")
        given = (tuple(sorted(shares)), tuple(sorted(masked)))
        unmask = self._unmask = make_plan(roster, self._rules, *given)
        asked = {name: _unmask_task(number, name, unmask, masked) for name in unmask.survivors}
        revealed = self._collect(exchange, state, UnmaskTask, asked)
        self._require_sites(roster, len(revealed), "helped to unmask")
        sums = self._sums(roster, unmask, masked, revealed)
        self._report(roster, sums)
        return self._conclude_training(plan, state, roster, sums, answers)

    def ask_again(self, site: str) -> bytes | None:
        """Returns a site's open task, but for one that needs what the site has forgotten."""
        asked = self._asked
        forgotten = (SharesTask, MaskedTask, UnmaskTask)
        if asked is not None and issubclass(asked.kind, forgotten):
            return None
        return super().ask_again(site)

    def _keys_tasks(self, number: int, present_K: np.ndarray) -> dict[str, KeysTask]:
        names = [self.names[index] for index in np.flatnonzero(present_K)]
        return {name: KeysTask(number, name) for name in names}

    def _shared(self, mask_KL: np.ndarray, keys: Mapping[str, Message]) -> np.ndarray:
        """Returns the choice without sites that have no keys, and layers that too few share."""
        mask_KL = mask_KL & np.array([name in keys for name in self.names])[:, None]
        return mask_KL & (mask_KL.sum(axis=0) >= self._rules.minimum_sharers)

    def _make_roster(
        self,
        plan: TrainingPlan,
        state: ServerState,
        mask_KL: np.ndarray,
        keys: Mapping[str, Message],
    ) -> Roster:
        everyone = np.arange(len(self.names))
        facts = self._training.facts
        trained_K = facts.trained(plan.number, everyone, plan.layers_KR, state.head)
        entries = vectors.entries(self._layout)
        heads_KE = [np.asarray(trained_K.heads[entry], bool)[:, None] for entry in entries]
        trains_KP = np.concatenate([mask_KL, *heads_KE], axis=1)
        names = tuple(sorted(keys))
        indices = [self.names.index(name) for name in names]
        return Roster(
            plan.number,
            names,
            tuple(cast(Keys, keys[name]).advertised for name in names),
            trains_KP[indices],
            self._layout.num_layers,
            max(self._weight(name) for name in names),
        )

    def _masked_tasks(
        self,
        plan: TrainingPlan,
        state: ServerState,
        roster: Roster,
        shares: Mapping[str, Message],
    ) -> dict[str, MaskedTask]:
        tasks = {}
        for index in plan.who:
            name = self.names[index]
            if name not in shares:
                continue
            sealed = {
                other: cast(Shares, shares[other]).sealed[roster.place(name, other)]
                for other in shares
                if other != name
            }
            chosen = (roster.layers(name), plan.layers_KR.shape[1], int(plan.steps_K[index]))
            given = (*self._changes(state, name), *chosen, sealed)
            tasks[name] = MaskedTask(plan.number, name, *given)
        return tasks

    def _sums(
        self,
        roster: Roster,
        unmask: UnmaskPlan,
        masked: Mapping[str, MaskedUpdate],
        revealed: Mapping[str, Message],
    ) -> dict[int, Piece]:
        pieces = {name: masked_pieces(masked[name], roster, self._rules) for name in masked}
        shares = {
            name: (cast(Unmasking, answer).keys, cast(Unmasking, answer).seeds)
            for name, answer in revealed.items()
        }
        try:
            return unmasking.sums(roster, self._rules, unmask, pieces, shares)
        except RefusedError as problem:
            raise RoundError(f"round {roster.round}, unmasking: {problem}") from problem

    def _conclude_training(
        self,
        plan: TrainingPlan,
        state: ServerState,
        roster: Roster,
        sums: Mapping[int, Piece],
        answers: Mapping[str, Message],
    ) -> ReceivedUpdates:
        came_K = np.array([name in answers for name in self.names])
        lost_K = np.isin(np.arange(len(came_K)), plan.who) & ~came_K
        plan = dataclasses.replace(plan, dropped_K=plan.dropped_K | lost_K)
        indices = np.flatnonzero(came_K)
        most = int(self._training.facts.planned_K.max())
        failures = {
            self.names.index(name): answer.reason
            for name, answer in answers.items()
            if isinstance(answer, Failure)
        }
        received_K = received([answers[self.names[index]] for index in indices], most)
        total = weighted_sum(sums, self._scales(plan, roster, sums), self._layout)
        return self._training.conclude(plan, indices, total, received_K, state.head, failures)

    def _scales(
        self, plan: TrainingPlan, roster: Roster, sums: Mapping[int, Piece]
    ) -> dict[int, float]:
        """Returns what each sum of integers is multiplied with, to be a weighted sum of changes."""
        survivors = cast(UnmaskPlan, self._unmask).survivors
        step = self._rules.fixed_point(len(roster.names)).step * roster.largest_weight
        if self._rules.weights != weights.STEPS:
            return dict.fromkeys(sums, step)
        steps = {name: int(plan.steps_K[self.names.index(name)]) for name in survivors}
        scales = {}
        for piece in sums:
            weight = {name: self._weight(name) for name in roster.sharers(piece, survivors)}
            taken = sum(weight[name] * steps[name] for name in weight)
            scales[piece] = step * taken / sum(weight.values())
        return scales

    def _weight(self, name: str) -> int:
        return self._rules.weight(self._ready[name].train)

    def _collect(
        self,
        exchange: Exchange,
        state: ServerState,
        kind: type[Message],
        tasks: Mapping[str, Message],
    ) -> dict[str, Message]:
        """Sends tasks of one kind, and returns what has been answered."""
        number = next((task.round for task in tasks.values()), int(state.round) + 1)
        exchange(self._ask(Asked(kind, number, state, dict(tasks))))
        return self._conclude(kind)[1]

    def _require_sites(self, roster: Roster, count: int, what: str) -> None:
        needed = self._rules.needed(len(roster.names))
        if count < needed:
            raise RoundError(
                f"round {roster.round}: {count} of {len(roster.names)} sites have {what}, "
                f"{needed} are needed (config.secure_aggregation.threshold = "
                f"{self._rules.threshold})"
            )

    def _report(self, roster: Roster, sums: Mapping[int, Piece]) -> None:
        """Logs what was clipped, and what stays masked."""
        clipped = sum(int(piece.counts[1]) for piece in sums.values())
        if clipped:
            logger.warning(
                "round %d: %d numbers were clipped to config.secure_aggregation.largest = %g",
                *(roster.round, clipped, self._rules.largest),
            )
        hidden = [
            piece
            for piece in np.flatnonzero(roster.trains_KP.any(axis=0)).tolist()
            if piece not in sums
        ]
        if hidden:
            names = ", ".join(vectors.piece_name(self._layout, piece) for piece in hidden)
            logger.warning(
                "round %d: fewer than %d sites have sent %s, which the server does not learn",
                *(roster.round, self._rules.minimum_sharers, names),
            )

    def _check_answer(self, asked: Asked, answer: Message) -> None:
        super()._check_answer(asked, answer)
        try:
            self._check_secure(asked.tasks[answer.site], answer)
        except RefusedError as problem:
            wire.refuse(answer.site, f"{answer.kind} of round {answer.round}", str(problem))

    def _check_secure(self, task: Message, answer: Message) -> None:
        roster, site = self._roster, answer.site
        if isinstance(answer, Keys):
            signed = statement(self._rules, answer.round, site, answer.advertised)
            signature = answer.advertised.signature
            keys_lib.check_signature(self._rules.keys, site, signed, signature)
        if isinstance(task, SharesTask):
            pieces = task.roster.pieces(task.roster.index(site), self._rules)
            wanted = {"others": len(task.roster.names) - 1, "pieces": len(pieces)}
            _require_fields(answer, wanted)
        if isinstance(answer, MaskedUpdate) and isinstance(task, MaskedTask) and roster:
            pieces = roster.pieces(roster.index(site), self._rules)
            entries = [piece for piece in pieces if piece >= roster.num_layers]
            heads = [vectors.piece_name(self._layout, piece) for piece in entries]
            layers = len(pieces) - len(entries)
            counts = {"layers": layers, "steps": task.steps, "others": len(task.sealed)}
            _require_fields(answer, {**counts, "heads": heads})
        if isinstance(task, UnmaskTask) and self._unmask:
            wanted = {"keys": len(self._unmask.dropped), "seeds": len(self._unmask.seeds)}
            _require_fields(answer, wanted)


def _unmask_task(
    number: int, name: str, unmask: UnmaskPlan, masked: Mapping[str, MaskedUpdate]
) -> UnmaskTask:
    """Returns a site's task, with what the others have given for it to see."""
    confirmed = []
    for other in unmask.survivors:
        if other != name:
            receivers = [each for each in unmask.sealed_by if each != other]
            confirmed.append(masked[other].confirmed[receivers.index(name)])
    return UnmaskTask(number, name, unmask.survivors, confirmed)


def _require_fields(answer: Message, wanted: Mapping[str, Any]) -> None:
    """Refuses an answer that says something else of itself than it must."""
    for name, value in answer.fields().items():
        if value != wanted[name]:
            raise RefusedError(f"{name} = {value}, must be {wanted[name]}")
