"""A site that masks its updates: what secure aggregation adds to the site's half."""

import os
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import jax
import numpy as np

from f3ocus_jax.data.examples import ClientData
from f3ocus_jax.deployment.fields import RefusedError
from f3ocus_jax.deployment.messages import (
    NOTHING,
    EvaluateTask,
    Failure,
    Message,
    ScoreTask,
    TrainTask,
    Update,
)
from f3ocus_jax.deployment.secure import vectors
from f3ocus_jax.deployment.secure.keys import Identity
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
from f3ocus_jax.deployment.secure.participant import Participant
from f3ocus_jax.deployment.secure.roster import Roster
from f3ocus_jax.deployment.secure.rules import make_rules
from f3ocus_jax.deployment.secure.shamir import Source
from f3ocus_jax.deployment.site import Site
from f3ocus_jax.federation.settings import ExperimentConfig
from f3ocus_jax.models.foundation import Foundation


class SecureSite(Site):
    """A site whose update nobody sees; it refuses a `TrainTask` that asks for it in the open."""

    tasks: ClassVar[tuple[type[Message], ...]] = (
        ScoreTask,
        KeysTask,
        SharesTask,
        MaskedTask,
        UnmaskTask,
        EvaluateTask,
    )

    def __init__(
        self,
        config: ExperimentConfig,
        foundation: Foundation,
        client: ClientData,
        source: Source = os.urandom,
    ) -> None:
        """Builds a site; see `Site`.

        Args:
          config: Settings of the run.
          foundation: The model and the weights that the run starts from.
          client: Data of the site.
          source: Source of randomness.
        """
        super().__init__(config, foundation, client)
        self._rules, self._source = make_rules(config, self._facts_of_run), source
        self._identity = Identity.read(config.secure_aggregation.identity)
        self._participant: Participant | None = None
        self._roster: Roster | None = None
        self._keyed = NOTHING

    @property
    def functions(self) -> dict[type[Message], Callable[[Any], Message]]:
        """The functions that answer each task."""
        return {
            **super().functions,
            KeysTask: self.advertise,
            SharesTask: self.share,
            MaskedTask: self.train_masked,
            UnmaskTask: self.unmask,
        }

    def advertise(self, task: KeysTask) -> Keys:
        """Draws the keys of a round."""
        self._check_new(task, self._keyed)
        given = (self.name, task.round, self._rules, self._source, self._identity)
        self._participant, self._roster, self._keyed = Participant(*given), None, task.round
        return Keys(task.round, self.name, self._participant.advertised)

    def share(self, task: SharesTask) -> Shares:
        """Shares the secrets of a round, once the list of sites is found right."""
        if self._weight > task.roster.largest_weight:
            raise RefusedError(f"largest_weight is below the weight of this site, {self._weight}")
        sealed = self._of_round(task).share(task.roster)
        self._roster = task.roster
        return Shares(task.round, self.name, sealed)

    def train_masked(self, task: MaskedTask) -> MaskedUpdate | Failure:
        """Trains the chosen layers, and masks what has changed."""
        participant, roster = self._of_round(task), self._roster
        opened = participant.open(task.sealed)
        if roster is None or not np.array_equal(roster.layers(self.name), task.chosen_R):
            raise RefusedError("its layers are not those of the list of sites")
        answer = self.train(task)
        if isinstance(answer, Failure):
            return answer
        before_R = jax.tree.map(lambda leaf: leaf[task.chosen_R], self._rows_L)
        changes = _changes(answer, before_R, self._head)
        masked = participant.mask(opened, self._pieces(roster, changes, task))
        return self._as_masked(task, roster, masked, answer)

    def unmask(self, task: UnmaskTask) -> Unmasking:
        """Gives the shares that unmask the sums of a round, and no single update."""
        keys, seeds = self._of_round(task).unmask(task.survivors, task.confirmed)
        return Unmasking(task.round, self.name, keys, seeds)

    def go_back_to(self, number: int) -> None:
        """Takes tasks after a round again; they are answered with new keys."""
        super().go_back_to(number)
        self._participant, self._roster, self._keyed = None, None, number

    @property
    def _weight(self) -> int:
        return self._rules.weight(len(self._client.train))

    def _of_round(self, task: Message) -> Participant:
        participant = self._participant
        if participant is None or participant.number != task.round:
            raise RefusedError("this site has advertised no keys in this round")
        return participant

    def _pieces(
        self, roster: Roster, changes: dict[int | str, np.ndarray], task: TrainTask
    ) -> dict[int, Piece]:
        """Returns what is masked: the site's weighted changes as integers, and its weight."""
        fixed = self._rules.fixed_point(len(roster.names))
        factor = self._weight / roster.largest_weight * self._rules.per_step(task.steps)
        factor *= _clip_factor(changes, self._rules.clip_norm)
        pieces = {}
        for piece in roster.pieces(roster.index(self.name), self._rules):
            name = self._piece_name(piece)
            if name not in changes:
                raise RefusedError(f"this site does not train {name}")
            numbers, clipped = fixed.encode(changes[name].astype(np.float64) * factor)
            pieces[piece] = Piece(numbers, np.array([self._weight, clipped], np.uint64))
        return pieces

    def _piece_name(self, piece: int) -> int | str:
        """Returns the index of a layer, or the name of an entry of the head."""
        num_layers = self._layout.num_layers
        return piece if piece < num_layers else vectors.entries(self._layout)[piece - num_layers]

    def _as_masked(
        self, task: MaskedTask, roster: Roster, masked: Mapping[int, Piece], update: Update
    ) -> MaskedUpdate:
        layers = [piece for piece in masked if piece < roster.num_layers]
        size, dtype = vectors.row_size(self._layout), self._layout.masked
        rows = np.array([masked[piece].numbers for piece in layers], dtype).reshape(-1, size)
        heads = {
            str(self._piece_name(piece)): masked[piece].numbers
            for piece in masked
            if piece >= roster.num_layers
        }
        counts = np.array([each.counts for each in masked.values()], np.uint64).reshape(-1, 2)
        confirmed = self._of_round(task).confirm()
        given = (rows, heads, counts, update.losses_S, confirmed)
        return MaskedUpdate(task.round, self.name, *given)


def _changes(update: Update, before_R: Any, head: Any) -> dict[int | str, np.ndarray]:
    """Returns the change of each layer and each entry of the head that a site trained."""
    sent = update.parameters
    rows = vectors.row_vectors(sent.rows_R) - vectors.row_vectors(before_R)
    changes: dict[int | str, np.ndarray] = dict(zip(sent.layers_R.tolist(), rows, strict=True))
    for entry in sent.head:
        before = vectors.entry_vector(head[entry])
        changes[entry] = vectors.entry_vector(sent.head[entry]) - before
    return changes


def _clip_factor(changes: Mapping[int | str, np.ndarray], limit: float) -> float:
    """Returns the factor that scales a change down to a norm of at most `limit`; 0 for any."""
    squares = sum(np.sum(np.square(each, dtype=np.float64)) for each in changes.values())
    norm = float(np.sqrt(squares))
    return min(1.0, limit / norm) if limit and norm else 1.0
