"""Self-contained HTML page about a federation's data: sizes, label counts and example images."""

import base64
import html
import io
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from PIL import Image

from f3ocus_jax.data.summary import ClientSummary, Summary
from f3ocus_jax.data.table import Table

MAX_PICTURES = 12
"""Largest number of examples on a client's contact sheet."""
LONGEST_CAPTION = 110

STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 72rem; padding: 0 1rem;
  color: #1b1f24; background: #fff; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2.2rem; }
table { border-collapse: collapse; margin: .6rem 0; }
th, td { text-align: left; padding: .2rem .7rem .2rem 0; border-bottom: 1px solid #d8dde3; }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums; }
.bar { display: inline-block; height: .7rem; background: #3b6ea5; vertical-align: middle; }
.columns { display: flex; flex-wrap: wrap; gap: 0 3rem; align-items: flex-start; }
.sheet { display: grid; margin-top: 1.2rem; gap: 1rem;
  grid-template-columns: repeat(auto-fill, minmax(10rem, 1fr)); }
figure { margin: 0; } figure img { width: 100%; image-rendering: auto; border-radius: 3px; }
figcaption { font-size: .82rem; } figcaption b { display: block; }
.scroll { overflow-x: auto; } .warning { border-left: 4px solid #c77700; padding-left: .8rem; }
"""


def make_page(
    title: str, clients: Mapping[str, Mapping[str, Table]], summary: Summary, seed: int = 0
) -> str:
    """Makes the page.

    Args:
      title: Title of the page.
      clients: Client to split to examples.
      summary: Counts of the federation.
      seed: Seed for the choice of the examples shown.

    Returns:
      HTML with embedded images and styles.
    """
    parts = [
        f"<h1>{html.escape(title)}</h1>",
        f"<p>Partition <code>{summary.partition_hash}</code></p>",
        _sizes(summary),
        _sharing(summary),
        _texts(summary),
    ]
    for client in summary.clients:
        parts += [f"<h2>{html.escape(client.name)}</h2>", _distributions(client)]
        parts.append(_sheet(clients[client.name]["train"], seed))
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{html.escape(title)}</title><style>{STYLE}</style></head>"
        f"<body>{''.join(parts)}</body></html>\n"
    )


def _sizes(summary: Summary) -> str:
    splits = list(dict.fromkeys(split for client in summary.clients for split in client.examples))
    head = ["client", "task", "datasets"]
    head += [f"{split} {kind}" for split in splits for kind in ("examples", "images")]
    head += ["labels", "unseen test answers"]
    rows = [
        [client.name, client.task, ", ".join(client.datasets)]
        + [counts.get(split, "") for split in splits for counts in (client.examples, client.images)]
        + [client.different_labels, f"{client.unseen_answers:.1%}"]
        for client in summary.clients
    ]
    return f'<div class="scroll">{_table(head, rows, texts=3)}</div>'


def _texts(summary: Summary) -> str:
    """Tabulates what the tokenizer does to the questions; nothing before they are tokenised."""
    if not summary.texts:
        return ""
    head = ["client", "unknown tokens by language", "questions", "unknown tokens"]
    head += [f"longer than {summary.question_length} tokens, cut", "tokens of the longest"]
    rows: list[list[str | int]] = [
        [
            *(text.client, text.languages(), text.questions),
            *(f"{text.unknown_share:.1%}", text.cut, text.longest),
        ]
        for text in summary.texts
    ]
    return f'<h2>Questions</h2><div class="scroll">{_table(head, rows, texts=2)}</div>'


def _sharing(summary: Summary) -> str:
    """Lists dropped images, and what makes the counts doubtful."""
    found = [
        f"<b>{html.escape(dataset)}</b>: {images} images ({examples} examples) were dropped, an "
        "earlier dataset has them too."
        for dataset, (images, examples) in summary.dropped.items()
    ]
    for dataset, origin, images in summary.leaks:
        cause = "its released split has them in both" if dataset == origin else f"of {origin}"
        found.append(
            f"<b>{html.escape(dataset)}</b>: {images} test images are also in training "
            f"({html.escape(cause)})."
        )
    found += [
        f"<b>{html.escape(client.name)}</b>: {html.escape(doubt)}."
        for client in summary.clients
        for doubt in client.doubts()
    ]
    if not found:
        return "<p>No image or patient is in train and test, and no example is repeated.</p>"
    return "".join(f'<p class="warning">{line}</p>' for line in found)


def _distributions(client: ClientSummary) -> str:
    total = client.examples["train"]
    groups = {
        "training labels": client.labels,
        "question types": client.question_types,
        "answer types": client.answer_types,
    }
    others = client.different_labels - len(client.labels)
    tables = [
        _histogram(name, counts, total, others if counts is client.labels else 0)
        for name, counts in groups.items()
    ]
    return f'<div class="columns">{"".join(tables)}</div>'


def _histogram(name: str, counts: Mapping[str, int], total: int, others: int) -> str:
    widest = max(counts.values())
    rows = []
    for value, count in counts.items():
        bar = f'<span class="bar" style="width:{9 * count / widest:.2f}rem"></span>'
        rows.append(
            f"<tr><td>{html.escape(value)}</td><td class=number>{count:,}</td>"
            f"<td class=number>{count / total:.1%}</td><td>{bar}</td></tr>"
        )
    if others:
        rows.append(f"<tr><td colspan=4>and {others:,} rarer ones</td></tr>")
    return f"<table><tr><th colspan=4>{html.escape(name)}</th></tr>{''.join(rows)}</table>"


def _sheet(table: Table, seed: int) -> str:
    """Shows some training examples, each of another image if there are enough."""
    order = np.random.default_rng(seed).permutation(len(table))
    _, first = np.unique(table.pixel_hash_N[order], return_index=True)
    chosen = table.take(order[np.sort(first)][:MAX_PICTURES])
    pixels_NHWC = chosen.images[np.arange(len(chosen))]
    captions = zip(chosen.texts("question"), chosen.texts("answer"), strict=True)
    figures = [
        f'<figure><img alt="" src="data:image/png;base64,{_png(pixels_HWC)}"><figcaption>'
        f"{_short(question)}<b>{_short(answer)}</b></figcaption></figure>"
        for pixels_HWC, (question, answer) in zip(pixels_NHWC, captions, strict=True)
    ]
    return f'<div class="sheet">{"".join(figures)}</div>'


def _short(text: str) -> str:
    cut = text if len(text) <= LONGEST_CAPTION else f"{text[:LONGEST_CAPTION]}…"
    return html.escape(cut)


def _png(pixels_HWC: np.ndarray) -> str:
    file = io.BytesIO()
    Image.fromarray(pixels_HWC).save(file, format="PNG")
    return base64.b64encode(file.getvalue()).decode()


def _table(head: Sequence[str], rows: Iterable[Sequence[str | int]], *, texts: int) -> str:
    """Makes a table whose first `texts` columns are words, and the rest numbers."""

    def cell(value: str | int, tag: str, number: bool) -> str:
        text = f"{value:,}" if isinstance(value, int) else value
        return f"<{tag}{' class=number' if number else ''}>{html.escape(text)}</{tag}>"

    lines = ["".join(cell(name, "th", i >= texts) for i, name in enumerate(head))]
    lines += ["".join(cell(value, "td", i >= texts) for i, value in enumerate(r)) for r in rows]
    return f"<table>{''.join(f'<tr>{line}</tr>' for line in lines)}</table>"
