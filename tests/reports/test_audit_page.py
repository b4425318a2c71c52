"""The page of an audit: whole, closed, and safe whatever the data holds."""

import base64
import hashlib
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from planted import CHAT, asked, faulty, honest, row, turn, write

from fastcollate import audit
from fastcollate.reports.audits.pictures import shown
from fastcollate.reports.text import printable

EVIL = "<script>alert(1)</script><img src=x onerror=y>\u202e\u200b\x1b[31m&amp;\x00\u2066"
VOID = {"meta", "rect"}


class Reader(HTMLParser):
    """Checks that tags are closed in turn, and keeps what there is."""

    def __init__(self):
        super().__init__()
        self.open, self.tags, self.names, self.text = [], set(), set(), []

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.names.update(name for name, _ in attrs)
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def read(html):
    reader = Reader()
    reader.feed(html)
    assert reader.open == []
    return reader


@pytest.fixture(scope="module")
def audited(tmp_path_factory):
    records = [*faulty()[0], row(turn("user", EVIL), turn("assistant", EVIL * 9, learnt=True, closed=False))]
    return audit(write(tmp_path_factory.mktemp("page") / "<store>", records), encoding=CHAT, length=30)


def test_the_page_needs_nothing_from_elsewhere_and_runs_nothing(audited):
    page = read(audited.to_html())
    assert page.tags == {
        *(
            "html",
            "head",
            "meta",
            "title",
            "style",
            "body",
            "main",
            "h1",
            "h2",
            "h3",
            "p",
            "section",
            "span",
            "table",
        ),
        *("tr", "th", "td", "div", "pre", "mark", "details", "summary", "svg", "rect", "text"),
    }
    assert not {
        name for name in page.names if name.startswith("on") or name in ("src", "href", "style", "xlink:href")
    }
    assert "url(" not in audited.to_html()
    assert "//" not in audited.to_html()
    (style,) = re.findall("<style>(.*?)</style>", audited.to_html(), re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert f"default-src 'none'; style-src 'sha256-{digest}'" in audited.to_html()


def test_the_page_is_for_dark_and_narrow_screens(audited):
    html = audited.to_html()
    assert html.count("@media (prefers-color-scheme:dark)") == 2
    assert '<meta name="viewport" content="width=device-width, initial-scale=1">' in html
    assert html.count("<svg") == 3


def test_text_of_the_data_is_text_and_all_of_it_is_seen(audited):
    text = "".join(read(audited.to_html()).text)
    assert r"<script>alert(1)</script><img src=x onerror=y>\u202e\u200b\x1b[31m&amp;\x00\u2066" in text
    assert "<store>" in text
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u206f]", text)


def test_every_finding_has_its_records_and_a_transcript(audited):
    html = audited.to_html()
    for finding in audited.findings:
        assert f"<h3>{finding.kind} <span" in html
        assert f"<summary>record {finding.examples[0]:,}</summary>" in html
    assert '<div class="said response"><div class="who">assistant, response, 9 tokens</div>' in html
    assert "<mark>&lt;|im_end|&gt;</mark>" in html


def test_a_notebook_shows_a_fragment(audited):
    fragment = audited._repr_html_()
    assert not {"html", "head", "body", "meta"} & read(fragment).tags
    assert fragment.startswith("<style>")
    assert fragment.endswith("</main>")


def test_nothing_found_is_said_also_of_an_empty_store(tmp_path):
    store = write(tmp_path / "store", [honest(i) for i in range(3)])
    assert "Nothing was found." in "".join(read(audit(store, encoding=CHAT).to_html()).text)
    empty = audit(store.split({"none": 0.0})["none"], encoding=CHAT)
    assert "Nothing was found." in "".join(read(empty.to_html()).text)


def test_long_records_are_shown_in_part(tmp_path):
    store = write(tmp_path / "store", [row(asked(0), turn("assistant", "x" * 5000, learnt=True))])
    (parts,) = audit(store, encoding=CHAT).transcripts.values()
    assert parts[2].text == f"{'x' * 120} [... 4,761 tokens ...] {'x' * 119}<|im_end|>"
    many = write(tmp_path / "many", [row(*(asked(i) for i in range(100)), turn("assistant", "x", learnt=True))])
    (parts,) = audit(many, encoding=CHAT).transcripts.values()
    assert (len(parts), parts[0].start, parts[-1].stop) == (24, 0, len(many[0]))
    assert parts[12].text.startswith(f"[... {parts[12].start - parts[11].stop:,} tokens before ...] ")


def test_no_argument_of_a_weight_is_lost(tmp_path):
    record = row(asked(0), turn("assistant", "x", learnt=True))
    store = write(tmp_path / "store", [record], weights=np.array([0.25], np.float32))
    assert "assistant, response, weight 0.25, 2 tokens" in audit(store, encoding=CHAT).to_html()


@given(st.text())
def test_whatever_is_shown_can_be_written_and_read_back(text):
    assert "".join(read(f"<p>{shown(text)}</p>").text) == printable(text)
    printable(text).encode()
