"""HTML of a run's page, from templates that escape everything that they are given."""

import base64
import functools
import hashlib
import pathlib
from typing import Any

import jinja2

from f3ocus_jax.evaluation import accuracy, round_choice
from f3ocus_jax.report.page import curves, verdict
from f3ocus_jax.report.page.answers import answers
from f3ocus_jax.report.page.costs import costs
from f3ocus_jax.report.page.explorer import explore
from f3ocus_jax.report.page.heatmaps import heatmaps
from f3ocus_jax.report.page.source import MOST_PANELS, MOST_ROWS, RunSource, measured, shown

TEMPLATES = pathlib.Path(__file__).parent / "templates"

SCRIPT = "page.js"

UNKNOWN = "–"
"""What a cell shows where a number is not known."""


def render(source: RunSource) -> str:
    """Makes the page of a run.

    Args:
      source: The run.

    Returns:
      HTML with its style, script and pictures in it. Its policy lets no script but that one run,
      and loads nothing.
    """
    return _environment().get_template("run.html").render(_content(source))


def _content(source: RunSource) -> dict[str, Any]:
    """Returns the variables of the template."""
    found = verdict.outcomes(source)
    chosen = round_choice.chosen_round(source.records)
    last = source.records[-1]
    return {
        "source": source,
        "outcomes": found,
        "groups": verdict.headline(found),
        "mean_start": verdict.mean([outcome.start for outcome in found]),
        "mean_reached": verdict.mean([outcome.reached for outcome in found]),
        "chosen": chosen,
        "choice": round_choice.reason(chosen.validation),
        "metric": accuracy.main_metric_name(measured(client) for client in chosen.clients),
        "is_tested": any(client.test for client in chosen.clients),
        "last": last,
        "examples": sum(client.train_examples for client in last.clients),
        "costs": costs(source),
        "curves": curves.accuracy_charts(source, found),
        "loss": curves.loss_chart(source),
        "picks": curves.picks_chart(source),
        "convergence": curves.convergence_chart(source),
        "unconverged": curves.unconverged(source),
        "explorer": explore(source),
        "heatmaps": heatmaps(source),
        "answers": answers(source),
        "most_rows": MOST_ROWS,
        "most_panels": MOST_PANELS,
        "script_hash": script_hash(),
    }


def script_hash() -> str:
    """Returns the SHA-256 of the page's script in base64, as a content security policy has it."""
    text = _environment().get_template(SCRIPT).render()
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


@functools.cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"shown": shown, "percent": percent, "number": number, "signed": signed}
    return environment


def percent(share: float | None) -> str:
    """Formats a fraction in percent.

    >>> percent(0.5375), percent(None)
    ('53.8', '–')
    """
    return UNKNOWN if share is None else f"{100 * share:.1f}"


def signed(share: float | None) -> str:
    """Formats a difference of fractions in percentage points, with its sign.

    >>> signed(0.102), signed(-0.02), signed(0.0)
    ('+10.2', '−2.0', '0.0')
    """
    if share is None:
        return UNKNOWN
    text = f"{100 * share:+.1f}"
    return "0.0" if text in ("+0.0", "-0.0") else text.replace("-", "−")


def number(value: float | None) -> str:
    """Formats a number with three significant digits, or all of its digits before the point.

    >>> number(0.012345), number(12345.6), number(None)
    ('0.0123', '12 346', '–')
    """
    if value is None:
        return UNKNOWN
    return f"{value:,.0f}".replace(",", " ") if abs(value) >= 1000 else f"{value:.3g}"
