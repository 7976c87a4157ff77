"""A page is complete in itself, and what comes from data cannot become part of it."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import jinja2
import pytest

from asr_ray.report.page import render_page

TEMPLATE = (
    '{% extends "base.html" %}{% block title %}{{ name }}{% endblock %}'
    "{% block style %}.own { margin: 0 }{% endblock %}{% block content %}<p>{{ name }}</p>{% endblock %}"
)


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    folder = tmp_path / "pages_of_a_test"
    folder.mkdir()
    (folder / "__init__.py").touch()
    (folder / "own.html").write_text(TEMPLATE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, folder.name, raising=False)
    return folder.name


def test_text_is_escaped_and_blocks_stand_where_they_belong(package: str) -> None:
    page = render_page("own.html", package=package, name="<script>alert(1)</script>")

    assert "<script" not in page
    assert page.count("&lt;script&gt;alert(1)&lt;/script&gt;") == 2
    assert ".own { margin: 0 }" in page.partition("<style>")[2].partition("</style>")[0]


def test_a_page_names_no_address_and_forbids_to_load_any(package: str) -> None:
    page = render_page("own.html", package=package, name="x")

    assert not re.search(r"https?://|src=|<link|@import|url\(", page)
    assert "default-src 'none'" in page


def test_a_missing_name_is_an_error(package: str) -> None:
    with pytest.raises(jinja2.UndefinedError):
        render_page("own.html", package=package)
