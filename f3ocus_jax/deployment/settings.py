"""Settings of a deployment: the sites, what they agree on, and how long the server waits."""

import dataclasses

from f3ocus_jax.config import Section, paths, require, section, setting
from f3ocus_jax.federation.settings import ExperimentConfig
from f3ocus_jax.hosts import DistributedConfig
from f3ocus_jax.models.spec import CLASSIFY

STOP, WAIT = "stop", "wait"
"""What a server does once too few sites have answered in time."""


@dataclasses.dataclass(frozen=True)
class DeploymentConfig(Section):
    """A server and its sites: names, common classes, and deadlines."""

    sites: tuple[str, ...] = setting(
        (), "Names of the sites in the order of the federation, for the server."
    )
    site: str = setting(
        "",
        "Name of this site: that of a client of its data, or any name where its data are those of "
        'one client; "" at the server.',
    )
    answers: str = setting(
        "",
        "File with one answer per line, in the order of the classes, which the server sends to the "
        'sites; "" for the union of the sites\' training answers, as hashes.',
        path=paths.Kind.LOCAL_OR_NONE,
    )
    findings: str = setting(
        "",
        'File with one finding per line, likewise; "" for the union of the sites\' findings.',
        path=paths.Kind.LOCAL_OR_NONE,
    )
    join_seconds: float = setting(
        600.0, "Time in which all sites must have joined.", above=0, at_most=1e7
    )
    score_seconds: float = setting(
        1800.0, "Time in which a site must have scored its layers.", above=0, at_most=1e7
    )
    train_seconds: float = setting(
        3600.0, "Time in which a site must have trained.", above=0, at_most=1e7
    )
    evaluate_seconds: float = setting(
        1800.0, "Time in which a site must have measured a model.", above=0, at_most=1e7
    )
    too_few: str = setting(
        STOP,
        "What the server does once that time has passed and fewer than "
        '`config.federated.min_clients` sites have answered: "stop" ends the run, "wait" asks the '
        "others again and gives them the same time once more. Sites beyond that number are left "
        "out of the round in either case.",
        choices=(STOP, WAIT),
    )
    report_seconds: float = setting(
        30.0,
        "Longest time without a line that says for whom the server waits.",
        above=0,
        at_most=1e7,
    )

    def check_site(self) -> None:
        """Raises ConfigError unless these are settings of a site."""
        require(bool(self.site), "deployment.site", self.site, "the name of this site")


@dataclasses.dataclass(frozen=True)
class DeployedConfig(ExperimentConfig):
    """A federated run whose clients are sites: what `server_run` and `site_run` need to know."""

    distributed: DistributedConfig = section(DistributedConfig, own_data=True)
    deployment: DeploymentConfig = section(DeploymentConfig)

    def check_server(self) -> None:
        """Raises ConfigError unless these are settings of a server."""
        names, answers = self.deployment.sites, self.deployment.answers
        allowed = "the names of the sites, each once"
        require(0 < len(names) == len(set(names)), "deployment.sites", names, allowed)
        classifies = self.model.answering == CLASSIFY
        allowed = f"a file where config.model.answering = {self.model.answering!r}"
        require(classifies or bool(answers), "deployment.answers", answers, allowed)
        allowed = "False: messages have no place for controls"
        has_controls = self.training.controls
        require(not has_controls, "training.controls", has_controls, allowed)
        kept, allowed = self.evaluation.features, "0: features of examples stay at their site"
        require(kept == 0, "evaluation.features", kept, allowed)

    @property
    def experiment(self) -> ExperimentConfig:
        """The settings without those of the deployment, as a run folder keeps them."""
        names = [field.name for field in dataclasses.fields(ExperimentConfig)]
        return ExperimentConfig(**{name: getattr(self, name) for name in names})
