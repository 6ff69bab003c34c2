"""One host of `test_hosts.py`: the clients' validation and test metrics as a record, to a file.

python -m tests.helpers.host_evaluation ADDRESS HOSTS HOST FILE
"""

import dataclasses
import json
import pathlib
import sys

import jax
import numpy as np

from f3ocus_jax import hosts as distributed
from f3ocus_jax.evaluation import inference
from f3ocus_jax.federation.stages.evaluate import make_evaluate_stage
from f3ocus_jax.hosts import DistributedConfig
from f3ocus_jax.models import units
from f3ocus_jax.report.records import make_start_record
from f3ocus_jax.types import ServerState
from tests.helpers import training_stage
from tests.helpers.host_rounds import only_mine
from tests.helpers.oracles import toy_model


def main(address: str, hosts: str, host: str, file: str) -> None:
    alone = int(hosts) == 1
    distributed.start(DistributedConfig("" if alone else address, int(hosts), int(host)))
    made = training_stage.clients()
    # The last client has no validation examples.
    others = [each.train for each in made[1:]]
    validated = [
        dataclasses.replace(client, validation=split)
        for client, split in zip(made, [*others, None], strict=True)
    ]
    data, model = only_mine(validated), toy_model(layers=training_stage.LAYERS)
    frozen, rows_L, head = units.split(model.init(jax.random.key(0)), "block")
    predict = inference.make_predict(
        model, loss="cross_entropy", batch_size=4, placement_name="pmap"
    )
    evaluate = make_evaluate_stage(predict, frozen, data, unit="block")
    metrics = evaluate(ServerState(rows_L, head, np.int32(0), np.zeros(0, bool)))
    record = make_start_record(data, np.ones(len(data), np.int32), metrics, {})
    pathlib.Path(file).write_text(json.dumps(record.to_json()), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
