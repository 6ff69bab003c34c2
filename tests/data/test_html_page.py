"""The data page shows every client, and needs no other file."""

import base64
import dataclasses
import html.parser
import io
import re

import numpy as np
from PIL import Image

from f3ocus_jax.data import html_page, summary as summary_lib
from f3ocus_jax.data.images import Canvas
from f3ocus_jax.data.reading import read_tables
from f3ocus_jax.data.text_report import report_texts
from f3ocus_jax.data.tokenizer_files import load_tokenizer
from tests.helpers.tables import DUMMY, data_config, table

OUTSIDE = re.compile(r'(src|href)="(?!data:)|url\(|@import|<script')


class Balance(html.parser.HTMLParser):
    """Keeps track of which tags are open."""

    VOID = ("meta", "img", "!doctype")

    def __init__(self):
        super().__init__()
        self.open, self.wrong = [], []

    def handle_starttag(self, tag, attrs):
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.wrong.append(tag)


def page_of(tmp_path):
    config = data_config(
        tmp_path, "slake/english", "open_i/reports", manual_dir=str(DUMMY), duplicates="keep"
    )
    clients, summary = read_tables(config, Canvas(16))
    return html_page.make_page("A <title>", clients, summary), summary


def test_the_page_is_well_formed_and_needs_nothing_from_outside(tmp_path):
    text, _ = page_of(tmp_path)
    parser = Balance()
    parser.feed(text)
    assert (parser.open, parser.wrong) == ([], [])
    assert not OUTSIDE.search(text)
    assert "A &lt;title&gt;" in text
    assert "<title>A <title>" not in text


def test_every_client_has_its_tables_and_pictures(tmp_path):
    text, summary = page_of(tmp_path)
    assert summary.partition_hash in text
    for client in summary.clients:
        assert f"<h2>{client.name}</h2>" in text
        assert all(html.escape(label) in text for label in client.labels)
    assert text.count("<figure>") == 1 + min(12, summary.clients[1].images["train"])


def test_pictures_are_the_examples_own_pixels():
    one = table([5], ["yes"], question=["is it?"])
    clients = {"h": {"train": one, "test": one}}
    text = html_page.make_page("t", clients, summary_lib.summarise(clients, {}))
    (encoded,) = re.findall(r"base64,([^\"]+)", text)
    with Image.open(io.BytesIO(base64.b64decode(encoded))) as image:
        np.testing.assert_array_equal(np.asarray(image), np.full((2, 2, 3), 5))
    assert "is it?<b>yes</b>" in text
    assert "1 test images are also in training" in text


def test_what_was_dropped_is_said():
    one = table([5], ["yes"])
    clients = {"h": {"train": one, "test": table([6], ["no"])}}
    text = html_page.make_page("t", clients, summary_lib.summarise(clients, {"later": (3, 9)}))
    assert "<b>later</b>: 3 images (9 examples) were dropped" in text


def test_a_page_says_what_is_doubtful_of_a_client_and_only_then():
    one = table([5], ["yes"])
    clients = {"a<b": {"train": one, "test": table([6], ["no"])}}
    text = html_page.make_page("t", clients, summary_lib.summarise(clients, {}))
    assert "<b>a&lt;b</b>: 100 % of the test answers are no training answer" in text
    clients = {"h": {"train": one, "test": table([6], ["yes"])}}
    clean = html_page.make_page("t", clients, summary_lib.summarise(clients, {}))
    assert "No image or patient is in train and test" in clean
    assert "warning" not in clean.split("</style>")[1]


def test_a_page_tabulates_what_the_tokenizer_does_to_questions():
    clients = {
        "h": {
            "train": table([5, 6], ["yes"] * 2, question=["日", "why?"], language=["zh", "en"]),
            "test": table([7], ["yes"], question=["why?"]),
        }
    }
    summary = summary_lib.summarise(clients, {})
    texts = report_texts(clients, load_tokenizer(), 3)
    summary = dataclasses.replace(summary, texts=texts, question_length=3)
    text = html_page.make_page("t", clients, summary)
    assert "longer than 3 tokens, cut" in text
    # Eleven tokens of three questions: one is unknown, and "why?" has four.
    row = "<td>h</td><td>zh 33.3 %, en 0.0 %, unknown 0.0 %</td><td class=number>3</td>"
    assert row + "<td class=number>9.1%</td><td class=number>2</td><td class=number>4</td>" in text


def test_rare_labels_are_counted_below_the_common_ones_and_nowhere_else():
    common = summary_lib.COMMON_LABELS
    one = table(range(common + 3), [f"label {n}" for n in range(common + 3)])
    clients = {"h": {"train": one, "test": one}}
    text = html_page.make_page("t", clients, summary_lib.summarise(clients, {}))
    assert re.findall(r"and ([\d,]+) rarer ones", text) == ["3"]
    labels = text.index("training labels")
    assert labels < text.index("rarer ones") < text.index("question types")
