"""Settings of what a run shows while it goes on: `config.report`."""

import dataclasses

from f3ocus_jax.config import Section, setting


@dataclasses.dataclass(frozen=True)
class ReportConfig(Section):
    """The page of the run, report.html in the workdir."""

    page_every: int = setting(
        5,
        "Rounds from one writing of report.html to the next; the end of the run writes it in any "
        "case. 0 for no page.",
        at_least=0,
    )
