"""Exchange of a round's tasks over a transport, with sites that are late, gone or started again."""

from collections.abc import Callable, Mapping

from f3ocus_jax.deployment import wire
from f3ocus_jax.deployment.courier import Courier, Errand
from f3ocus_jax.deployment.joining import Joining
from f3ocus_jax.deployment.joining_messages import NO_LAYOUT, Join, Ready, Refusal
from f3ocus_jax.deployment.messages import NOTHING, EvaluateTask, ScoreTask, TrainTask
from f3ocus_jax.deployment.secure.messages import KeysTask, MaskedTask, SharesTask, UnmaskTask
from f3ocus_jax.deployment.server import Exchange, Server
from f3ocus_jax.deployment.settings import DeploymentConfig

STAGES: Mapping[type, str] = {
    ScoreTask: "score",
    TrainTask: "train",
    KeysTask: "train",
    SharesTask: "train",
    MaskedTask: "train",
    UnmaskTask: "train",
    EvaluateTask: "evaluate",
}
"""Task to its stage, which begins the name of its deadline."""


def collect_joins(courier: Courier, joining: Joining, settings: DeploymentConfig) -> None:
    """Invites all sites, and waits until each has joined.

    Raises:
      RoundError: If one has not joined in time.
    """

    def take(site: str, data: bytes) -> None:
        if wire.kind_of(data) == Refusal.kind:
            _take_refusal(courier, site, data)
            return
        join = joining.take(site, data)
        if site in joining.missing:
            courier.transport.send(site, tasks[site])
        else:
            _welcome(site, join)

    tasks = {name: joining.invite(name) for name in settings.sites}
    given = (settings.join_seconds, len(tasks), lambda: joining.missing, take)
    courier.run(Errand("joining", tasks, *given))


def collect_ready(
    courier: Courier, joining: Joining, server: Server, settings: DeploymentConfig
) -> None:
    """Sends all sites the classes, and waits until each has built its model.

    Raises:
      RoundError: If one is not ready in time.
    """
    tasks = {name: joining.setup(name, server.round) for name in settings.sites}
    take = _make_take(courier, joining, server, tasks)
    given = (settings.join_seconds, len(tasks), lambda: server.unready, take)
    courier.run(Errand("building the models", tasks, *given))


def make_exchange(
    courier: Courier, joining: Joining, server: Server, settings: DeploymentConfig, least: int
) -> Exchange:
    """Makes the exchange of a run's rounds.

    Args:
      courier: The way to the sites.
      joining: Classes of the run, for sites that are started again.
      server: The server's half, for which all sites are ready.
      settings: Deadlines.
      least: Sites that must answer; one is enough to measure a model.

    Returns:
      The exchange. It raises RoundError if fewer have answered in time, and
      `config.deployment.too_few` is "stop".
    """

    def exchange(given: Mapping[str, bytes]) -> None:
        tasks, stage = dict(given), STAGES[server.asking]
        enough = 1 if stage == "evaluate" else min(least, len(tasks))
        seconds = getattr(settings, f"{stage}_seconds")
        take = _make_take(courier, joining, server, tasks)
        what = f"round {server.number}, {stage}"
        courier.run(Errand(what, tasks, seconds, enough, lambda: server.missing, take))

    return exchange


def _make_take(
    courier: Courier, joining: Joining, server: Server, tasks: dict[str, bytes]
) -> Callable[[str, bytes], None]:
    """Makes the function that takes up any message of a site while a round goes on."""

    def take(site: str, data: bytes) -> None:
        kind = wire.kind_of(data)
        if kind == Join.kind:
            _welcome(site, joining.take(site, data))
            courier.transport.send(site, joining.setup(site, server.round))
        elif kind == Ready.kind:
            server.admit(site, data)
            task = server.ask_again(site)
            if task is not None:
                tasks[site] = task
                courier.transport.send(site, task)
        elif kind == Refusal.kind:
            _take_refusal(courier, site, data)
        else:
            server.take(site, data)

    return take


def _welcome(site: str, join: Join) -> None:
    memory = "no memory" if join.memory == NOTHING else f"its memory of round {join.memory}"
    facts = f"{join.task}, {join.train} training examples, {memory}"
    print(f"site {wire.shown(site)} joins: {facts}", flush=True)


def _take_refusal(courier: Courier, site: str, data: bytes) -> None:
    refusal = wire.decode(data, NO_LAYOUT, wire.Expected((Refusal,), site))
    courier.give_up(site)
    wire.refuse(site, "its answer", f"it does not do a task: {refusal.fields()['problem']}")
