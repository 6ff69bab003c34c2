"""Mistakes that a person could make where the parts of a run meet: old text, new text, meaning.

They are data of `benchmarks.hand_mistakes`. A mistake that no longer applies, because its line was
changed, is written again for the new line.
"""

from typing import NamedTuple


class Mistake(NamedTuple):
    """One mistake.

    Attributes:
      meaning: Wrong behaviour of the code with it.
      file: File that it is put into, relative to the repository.
      old: Text that occurs once in the file.
      new: Text that replaces it.
      tests: Files or folders of tests that must notice it.
    """

    meaning: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]


def _at(file: str, tests: str, *mistakes: tuple[str, str, str]) -> list[Mistake]:
    folders = tuple(f"tests/{name}" for name in tests.split())
    return [Mistake(*mistake[:1], file, *mistake[1:], folders) for mistake in mistakes]


PACKAGE = "f3ocus_jax"

MISTAKES = [
    *_at(
        f"{PACKAGE}/federation/round.py",
        "federation/test_round.py federation/test_replay.py",
        (
            "clients train their own choice, not the server's",
            "number, chosen.mask_KL, scored.present_K",
            "number, chosen.own_mask_KL, scored.present_K",
        ),
        (
            "the last front is not carried to the next round",
            "front_mask_PKL=chosen.front_mask_PKL",
            "front_mask_PKL=state.front_mask_PKL",
        ),
        (
            "one key serves scores and choice",
            "score_key, select_key = jax.random.split(key)",
            "score_key, select_key = key, key",
        ),
        (
            "the memories of the score stage are lost",
            "scored, memory = stages.score(",
            "scored, _ = stages.score(",
        ),
        (
            "clients that could not be scored train",
            "chosen.mask_KL, scored.present_K)",
            "chosen.mask_KL, scored.present_K | True)",
        ),
    ),
    *_at(
        f"{PACKAGE}/federation/experiment.py",
        "federation/test_stages.py federation/test_replay.py federation/test_experiment.py",
        (
            "every round has the same key",
            "jax.random.fold_in(jax.random.key(config.seed), number)",
            "jax.random.fold_in(jax.random.key(config.seed), 0)",
        ),
    ),
    *_at(
        f"{PACKAGE}/federation/server_side.py",
        "federation/test_server_side.py federation/test_replay.py federation/test_sides.py",
        (
            "the server's optimizer is bypassed: the mean change is added as it is",
            "rows_L, head, memory = apply(state.rows_L, state.head, state.optimizer, update)",
            "_, _, memory = apply(state.rows_L, state.head, state.optimizer, update)\n"
            "    rows_L = jax.tree.map(jnp.add, state.rows_L, update.change.rows)\n"
            "    head = jax.tree.map(jnp.add, state.head, update.change.heads)",
        ),
        (
            "the state of the server's optimizer starts again every round",
            "round=done, optimizer=memory)",
            "round=done)",
        ),
        (
            "an update that is not finite counts in the mean",
            "lambda leaf: leaf * finite, weight",
            "lambda leaf: leaf * 1, weight",
        ),
        (
            "the norm of an update is taken after it was clipped",
            "norm = layerwise.global_norm(change)\n"
            "        change = layerwise.clip_to_norm(change, settings.clip_norm)",
            "change = layerwise.clip_to_norm(change, settings.clip_norm)\n"
            "        norm = layerwise.global_norm(change)",
        ),
        (
            "a deployed server weighs all clients the same",
            "[examples for _, examples, _, _ in updates]",
            "[1.0 for _, examples, _, _ in updates]",
        ),
        (
            "outliers that are to be dropped are kept in the robust rules",
            "combine(state, changes_K, trained_K, norms.accepted_K)",
            "combine(state, changes_K, trained_K, norms.accepted_K | True)",
        ),
        (
            "the limits of a round see all clients as present",
            "budgets.limits(present_K, np.asarray(scores_KL))",
            "budgets.limits(present_K | True, np.asarray(scores_KL))",
        ),
    ),
    *_at(
        f"{PACKAGE}/federation/client_side.py",
        "federation/test_client_side.py federation/test_replay.py federation/test_sides.py",
        (
            "the learning rate is doubled",
            "optax.adamw(settings.learning_rate,",
            "optax.adamw(2 * settings.learning_rate,",
        ),
        (
            "the weight decay is dropped",
            "settings.learning_rate, weight_decay=settings.weight_decay,",
            "settings.learning_rate, weight_decay=0.0,",
        ),
        (
            "biases decay where matrices alone are to",
            "path[-1].key not in VECTORS",
            'path[-1].key != "scale"',
        ),
        (
            "FedProx's pull is dropped",
            '("unit", "accumulate", "proximal")}',
            '("unit", "accumulate")}',
        ),
        (
            "a client's eigenvectors are not kept",
            "memory = dataclasses.replace(memory, vectors_LNC=found.vectors_LNC)",
            "memory = dataclasses.replace(memory, vectors_LNC=memory.vectors_LNC)",
        ),
        (
            "what a client keeps of its training is lost",
            "return update, dataclasses.replace(memory, **kept)",
            "return update, memory",
        ),
        (
            "what is not finite is kept",
            "functools.partial(jnp.where, finite), after, before)",
            "functools.partial(jnp.where, finite), after, after)",
        ),
    ),
    *_at(
        f"{PACKAGE}/clients/batches.py",
        "clients/test_batches.py federation/test_replay.py federation/test_experiment.py",
        (
            "the probe is drawn from the test split",
            "return client.train.batch(draw.permutation(len(client.train))[:examples])",
            "return client.test.batch(draw.permutation(len(client.test))[:examples])",
        ),
        (
            "the probe always has the first examples",
            "draw.permutation(len(client.train))[:examples]",
            "draw.permutation(examples)",
        ),
        (
            "training has the same order in every round",
            'order.make_generator(seed, number, client.name, "training")',
            'order.make_generator(seed, 1, client.name, "training")',
        ),
    ),
    *_at(
        f"{PACKAGE}/data/order.py",
        "clients/test_batches.py data/test_order.py federation/test_replay.py",
        (
            "every pass over the data has the same order",
            "        for _ in range(passes)\n    ]\n",
            "    ] * passes\n",
        ),
        (
            "all clients draw the same numbers",
            "[seed, round, zlib.crc32(client.encode()), zlib.crc32(purpose.encode())]",
            "[seed, round, zlib.crc32(purpose.encode())]",
        ),
    ),
    *_at(
        f"{PACKAGE}/federation/stages/select.py",
        "federation/test_stages.py federation/test_replay.py federation/test_experiment.py",
        (
            "the server chooses by raw values and not by shares",
            "scored.importance.scores_L",
            "scored.importance.values_L",
        ),
    ),
    *_at(
        f"{PACKAGE}/federation/stages/score.py",
        "federation/test_stages.py federation/test_replay.py federation/test_experiment.py",
        (
            "eigenvectors are started from those of other examples",
            "drawn_in = number if memory.vectors_LNC is None else 0",
            "drawn_in = number",
        ),
        (
            "the probe is the same in every round",
            "drawn_in = number if memory.vectors_LNC is None else 0",
            "drawn_in = 0",
        ),
        (
            "layers of a client without scores have no importance",
            "extended.scores_L[others_K] = 1.0 / extended.scores_L.shape[1]",
            "extended.scores_L[others_K] = 0.0",
        ),
        (
            "a client whose scores are not finite stays in the round",
            "np.array([reason is None for reason in left_out])",
            "np.array([True for reason in left_out])",
        ),
    ),
    *_at(
        f"{PACKAGE}/federation/stages/train.py",
        "federation/test_stages.py federation/test_training.py federation/test_peft_runs.py",
        (
            "clients that drop out train all the same",
            "who = np.flatnonzero(present_K & ~dropped_K)",
            "who = np.flatnonzero(present_K)",
        ),
        (
            "stragglers take all their steps",
            "steps_K = participation.steps(number, facts.planned_K)",
            "steps_K = facts.planned_K",
        ),
        (
            "a client trains one layer too few",
            "row_R[: len(chosen)] = chosen",
            "row_R[: len(chosen[1:])] = chosen[1:]",
        ),
        (
            "what clients keep is put back in reverse order",
            "put_clients(before, indices, from_state_dict(before, some))",
            "put_clients(before, indices[::-1], from_state_dict(before, some))",
        ),
    ),
    *_at(
        f"{PACKAGE}/federation/stages/client_work.py",
        "federation/test_stages.py federation/test_training.py federation/test_peft_runs.py",
        (
            "a client's weight is capped by its steps",
            "np.array([len(client.train) for client in clients], np.float32)",
            "np.array([min(len(client.train), settings.batch_size * batches.count_local_steps("
            "client, settings)) for client in clients], np.float32)",
        ),
        (
            "every client trains the heads of all tasks",
            "(self.heads_K[who] == name) & has_head",
            "(self.heads_K[who] != '') & has_head",
        ),
        (
            "the server averages a head that is frozen",
            "(self.heads_K[who] == name) & has_head",
            "(self.heads_K[who] == name)",
        ),
        (
            "an outlier that was dropped is recorded as used",
            "np.flatnonzero(norms.outlying_K & ~norms.accepted_K)",
            "np.flatnonzero(norms.outlying_K & norms.accepted_K)",
        ),
    ),
    *_at(
        f"{PACKAGE}/federation/stages/evaluate.py",
        "federation/test_stages.py federation/test_round_failures.py",
        (
            "metrics are in the order of their arrival and not of the clients",
            "return list(metrics.values())",
            "return list(everyone.values())[::-1]",
        ),
        (
            "a test loss that is not finite is not noticed",
            "_check_finite(number, metrics, training)",
            "_check_finite(number, {}, training)",
        ),
    ),
    *_at(
        f"{PACKAGE}/federation/assembly.py",
        "federation/test_stages.py federation/test_checkpoint.py",
        (
            "a checkpoint is not bound to the weights that the run started from",
            '"weights fingerprint": foundation.fingerprint,',
            '"weights fingerprint": "",',
        ),
        (
            "personal adapters start at zero",
            "personal_L=repeat_for_clients(rows_L, clients)",
            "personal_L=repeat_for_clients(jax.tree.map(np.zeros_like, rows_L), clients)",
        ),
        (
            "the model's other loss is trained than the one that is set",
            "loss=config.model.loss,\n        skip_frozen",
            'loss="cross_entropy",\n        skip_frozen',
        ),
    ),
    *_at(
        f"{PACKAGE}/federation/participation.py",
        "federation/test_participation.py federation/test_training.py",
        (
            "the share of participants is of all clients, also of those that are absent",
            "wanted = self._wanted(len(here))",
            "wanted = self._wanted(len(self.clients))",
        ),
        (
            "who drops out also straggles: one draw serves both",
            'self._drawn(number, "straggler", self.settings.stragglers)',
            'self._drawn(number, "dropout", self.settings.stragglers)',
        ),
        (
            "the same clients are sampled in every round",
            'order.make_generator(self.seed, number, "", "participation")',
            'order.make_generator(self.seed, 0, "", "participation")',
        ),
        (
            "a straggler may take no step at all",
            "np.maximum(1, np.floor(",
            "np.maximum(0, np.floor(",
        ),
    ),
    *_at(
        f"{PACKAGE}/federation/budgets.py",
        "federation/test_budgets.py federation/test_experiment.py",
        (
            "all clients have the first client's budget",
            "np.broadcast_to(np.array(given, np.float64), count)",
            "np.full(count, given[0], np.float64)",
        ),
        (
            "minimum and maximum coverage are exchanged",
            '"least_L": _same(limits.minimum_coverage, num_layers),',
            '"least_L": _same(limits.maximum_coverage, num_layers),',
        ),
        (
            "a budget in bytes is rounded up to whole layers",
            "np.minimum(spendable_K // costs_L[0], num_layers)",
            "np.minimum(-(-spendable_K // costs_L[0]), num_layers)",
        ),
        (
            "forbidden layers are the only ones allowed",
            "allowed_KL[names.index(name), list(layers)] = False",
            "allowed_KL[names.index(name)] = np.isin(np.arange(num_layers), layers)",
        ),
    ),
    *_at(
        f"{PACKAGE}/federation/costs.py",
        "federation/test_costs.py",
        (
            "a client pays for the heads of all tasks",
            'params = {**foundation.params, "head": {n: heads[n] for n in heads if n == name}}',
            'params = {**foundation.params, "head": {n: heads[n] for n in heads if n or name}}',
        ),
    ),
    *_at(
        f"{PACKAGE}/federation/checkpoint.py",
        "federation/test_checkpoint.py federation/test_damage.py",
        (
            "a run may be resumed with another batch size",
            '    "report.page_every",\n)',
            '    "report.page_every",\n    "training.batch_size",\n)',
        ),
        (
            "a run may be resumed with another partition of the data",
            '    "report.page_every",\n)',
            '    "report.page_every",\n    "data.partition_seed",\n)',
        ),
        (
            "as many of the best rounds are kept as of the newest",
            "n=config.keep_best,",
            "n=config.keep_last,",
        ),
        (
            "the worst round is taken for the best one",
            "key=key, reverse=True)",
            "key=key)",
        ),
        (
            "the state of the server's optimizer is not restored",
            "state = ServerState(**{name: item[name] for name in names})",
            "state = ServerState(**{name: item[name] for name in names})\n"
            "    state = state.replace(optimizer=jax.tree.map(np.zeros_like, state.optimizer))",
        ),
    ),
    *_at(
        f"{PACKAGE}/evaluation/round_choice.py",
        "federation/test_checkpoint.py report/test_table.py",
        (
            "of equally good rounds the oldest is the best",
            "if validation is None else validation, round",
            "if validation is None else validation, -round",
        ),
        (
            "the round is chosen by the test examples",
            "preference(record.validation, record.round)",
            "preference(record.accuracy, record.round)",
        ),
    ),
    *_at(
        f"{PACKAGE}/federation/resuming.py",
        "federation/test_resuming.py",
        (
            "a run continues after its best round and not after the newest",
            "first_whole(folder, reversed(rounds))",
            "first_whole(folder, checkpoint.by_preference(folder))",
        ),
    ),
    *_at(
        f"{PACKAGE}/report/figures.py",
        "report/test_figure_data.py",
        (
            "accuracy is drawn backwards",
            "values_RK, [_number(record.accuracy) for record in records])",
            "values_RK[::-1], [_number(record.accuracy) for record in records[::-1]])",
        ),
        (
            "accuracy is drawn for the test loss",
            '_test_values(tested, "loss"), [_number(r.loss) for r in tested]',
            '_test_values(tested, "accuracy"), [_number(r.accuracy) for r in tested]',
        ),
    ),
    *_at(
        f"{PACKAGE}/report/table.py",
        "report/test_table.py",
        (
            "the final accuracy is the best one",
            "measured[-1].round, chosen.round)",
            "max(history, key=history.__getitem__), chosen.round)",
        ),
        (
            "the columns of two kinds of questions are exchanged",
            '("Closed %", "closed", 100, "{:.1f}"),\n    ("Open %", "open", 100, "{:.1f}"),',
            '("Closed %", "open", 100, "{:.1f}"),\n    ("Open %", "closed", 100, "{:.1f}"),',
        ),
        (
            "the seconds of training are split without regard to the number of examples",
            "client.train_examples * cost.gigaflops_per_example",
            "1.0 * cost.gigaflops_per_example",
        ),
        (
            "every client has the seconds of scoring of all",
            '_mean_seconds(records, "importance") / len(names)',
            '_mean_seconds(records, "importance")',
        ),
        (
            "a column of costs shows what is received as sent",
            '"megabits_up": cost.megabits_up,',
            '"megabits_up": cost.megabits_down,',
        ),
    ),
    *_at(
        f"{PACKAGE}/report/records.py",
        "report/test_records.py federation/test_training.py",
        (
            "the training loss is the mean over steps that were not taken, too",
            "training.losses_KS[index, :steps]",
            "training.losses_KS[index, :]",
        ),
        (
            "the records show the clients' own choice as trained",
            "layers=_layers(selected.mask_KL[index]),",
            "layers=_layers(selected.own_mask_KL[index]),",
        ),
        (
            "the pick is recorded by its row and not by its index on the front",
            "pick=order_P.index(int(selected.pick)),",
            "pick=int(selected.pick),",
        ),
        (
            "layers that have converged are recorded as those that have not",
            "_layers(~converged[index])",
            "_layers(converged[index])",
        ),
    ),
    *_at(
        f"{PACKAGE}/data/partition.py",
        "data/test_partition.py",
        (
            "Dirichlet's shares are dealt to the clients in another order",
            "for name, part in zip(names, parts, strict=True):",
            "for name, part in zip(np.roll(names, len(mine)), parts, strict=True):",
        ),
        (
            "a label's images are dealt without being shuffled",
            "draw.permutation(np.array(mine, np.int64))",
            "np.array(mine, np.int64)",
        ),
        (
            "an image counts for its most frequent label",
            "(counts[label], label)",
            "(-counts[label], label)",
        ),
        (
            "shards are drawn without the seed",
            "order = np.random.default_rng(config.partition_seed).permutation(len(hashes))",
            "order = np.random.default_rng(0).permutation(len(hashes))",
        ),
        (
            "every split has proportions of its own",
            "label_of[each] == label and each not in owner_of]",
            "label_of[each] == label and each not in owner_of]\n"
            "            proportions_K = draw.permutation(proportions_K)",
        ),
    ),
    *_at(
        f"{PACKAGE}/data/overlap.py",
        "data/test_overlap.py",
        (
            "the window of near duplicates is halved",
            "np.searchsorted(mean_M, (grey - near, grey + near))",
            "np.searchsorted(mean_M, (grey - near / 2, grey + near / 2))",
        ),
    ),
    *_at(
        f"{PACKAGE}/data/reading.py",
        "data/test_overlap.py data/test_partition.py federation/test_experiment.py",
        (
            "the vocabulary has the test answers",
            'splits["train"].texts("answer")\n        for splits, task',
            'splits["test"].texts("answer")\n        for splits, task',
        ),
        (
            "training examples without a usable answer stay",
            'kept[name]["train"] = table.take(known_N)',
            'kept[name]["train"] = table',
        ),
        (
            "duplicates are kept where they should go",
            "datasets, dropped = overlap.drop_duplicates(datasets, near, elsewhere_M)",
            "_, dropped = overlap.drop_duplicates(datasets, near, elsewhere_M)",
        ),
    ),
    *_at(
        f"{PACKAGE}/data/examples.py",
        "data/test_examples.py evaluation federation/test_replay.py",
        (
            "padding counts as examples",
            "example_mask_B=mask.astype(np.float32),",
            "example_mask_B=np.ones_like(mask, np.float32),",
        ),
        (
            "questions go to other images",
            "input_ids_BT=self.input_ids_NT[indices],",
            "input_ids_BT=self.input_ids_NT[indices - 1],",
        ),
        (
            "a client without any labelled finding is asked for findings",
            "bool((self.targets_NF >= 0).any())",
            "bool((self.targets_NF >= -1).any())",
        ),
    ),
    *_at(
        f"{PACKAGE}/evaluation/client_metrics.py",
        "evaluation/test_client_metrics.py",
        (
            "thresholds are chosen on the test split",
            "np.asarray(validation.findings_NF), _targets(validated)",
            "np.asarray(test.findings_NF), _targets(client.test)",
        ),
        (
            "the majority answer is that of the test split",
            "accuracy.majority_answer(train.labels_N, test.labels_N)",
            "accuracy.majority_answer(test.labels_N, test.labels_N)",
        ),
        (
            "the test loss has examples without any label",
            "np.asarray(outputs.losses_N, np.float64)[labelled_N].mean()",
            "np.asarray(outputs.losses_N, np.float64).mean()",
        ),
        (
            "the metrics of clients that find diseases are exchanged",
            "zip(validated, outputs[len(tested) :], strict=True)",
            "zip(validated, outputs[len(tested) :][::-1], strict=True)",
        ),
    ),
    *_at(
        f"{PACKAGE}/importance/probe.py",
        "importance/test_probe.py importance/test_saliency.py",
        (
            "examples are dealt in blocks and not in turn",
            "return leaf.reshape(-1, batches, *leaf.shape[1:]).swapaxes(0, 1)",
            "return leaf.reshape(batches, -1, *leaf.shape[1:])",
        ),
        (
            "batches of padding alone count in the mean",
            "leaf / jnp.maximum(jnp.sum(counted), 1)",
            "leaf / counted.size",
        ),
    ),
    *_at(
        f"{PACKAGE}/importance/lanczos.py",
        "importance/test_lanczos.py importance/test_spectrum.py",
        (
            "Lanczos takes rounding for a further direction",
            "length > 1e-6 * jnp.max(jnp.abs(diagonal_M))",
            "length > 1e-12 * jnp.max(jnp.abs(diagonal_M))",
        ),
    ),
    *_at(
        f"{PACKAGE}/selection/picks.py",
        "selection/test_picks.py",
        (
            "the knee is the point nearest to the ideal corner",
            "1.0 - jnp.sum(scaled_PM, axis=1)",
            "-jnp.linalg.norm(scaled_PM, axis=1)",
        ),
    ),
    *_at(
        f"{PACKAGE}/selection/local_search.py",
        "selection/test_local_search.py",
        (
            "the price of a pick grows half as fast with the clients that share it",
            "(2.0 * others_LP + 1.0)",
            "(others_LP + 1.0)",
        ),
    ),
    *_at(
        f"{PACKAGE}/selection/selector.py",
        "selection/test_selectors.py",
        (
            "the box of the hypervolume is doubled",
            "jnp.maximum(scaled_PM, 0.0), jnp.ones(2), valid_P)",
            "jnp.maximum(scaled_PM, 0.0), 2 * jnp.ones(2), valid_P)",
        ),
    ),
    *_at(
        f"{PACKAGE}/models/blocks/lora.py",
        "models/blocks/test_lora.py federation/test_peft_runs.py",
        (
            "LoRA starts with the width of its rank",
            "bound = width**-0.5",
            "bound = rank**-0.5",
        ),
    ),
    *_at(
        f"{PACKAGE}/cost/traffic.py",
        "cost/test_traffic.py",
        (
            "a client receives its own layers alone",
            "np.full(len(mask_KL), down)",
            "np.minimum(up_K, down)",
        ),
    ),
    *_at(
        f"{PACKAGE}/federation/presets.py",
        "config/test_config.py config/test_tasks.py federation/test_peft_runs.py",
        (
            "F³OCUS lets every client choose by itself",
            '"f3ocus": ("lntk", "nsga2")',
            '"f3ocus": ("lntk", "own")',
        ),
        (
            "two of the paper's methods have each other's scores",
            'PAPER_NAMES = {"random": "fd", "last": "last_k"}',
            'PAPER_NAMES = {"last": "fd", "random": "last_k"}',
        ),
        (
            "two methods train each other's parts of a layer",
            '"ln": "norm",\n    "lora": "lora",\n    "bias": "bias",',
            '"ln": "bias",\n    "lora": "lora",\n    "bias": "norm",',
        ),
        (
            "a method of all layers keeps the budgets",
            "config.federated.budgets = ()\n",
            "",
        ),
    ),
    *_at(
        "tfds_medvqa/medvqa_fl/forms.py",
        "tfds_medvqa/test_medical_facts.py tfds_medvqa/test_medvqa_fl_questions.py",
        (
            "a healthy retina is called abnormal",
            'image.label != "normal"',
            'image.label == "normal"',
        ),
        (
            "the answer for colon cancer is inverted",
            "image.label in facts.COLON_CANCER",
            "image.label not in facts.COLON_CANCER",
        ),
        (
            "the answer for melanocytic lesions is inverted",
            "image.label in facts.MELANOCYTIC",
            "image.label not in facts.MELANOCYTIC",
        ),
    ),
    *_at(
        "tfds_medvqa/medvqa_fl/facts.py",
        "tfds_medvqa/test_medical_facts.py",
        (
            "another lesion is called melanocytic",
            'MELANOCYTIC = frozenset({"melanoma", "melanocytic nevi"})',
            'MELANOCYTIC = frozenset({"melanoma", "dermatofibroma"})',
        ),
        (
            "monocytes are called granulocytes",
            '"immature granulocyte", "neutrophil"})',
            '"immature granulocyte", "monocyte"})',
        ),
        (
            "podocytes are placed in the interstitium",
            '"Podocytes": "glomerulus"',
            '"Podocytes": "interstitium"',
        ),
        (
            "podocytes are called endothelial",
            '"Podocytes": "epithelial"',
            '"Podocytes": "endothelial"',
        ),
    ),
]
"""All mistakes; those that an audit found unnoticed are among them."""
