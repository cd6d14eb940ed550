"""The trial of a chat template: what is too much is told, an error is left to transformers."""

from __future__ import annotations

import subprocess
from typing import Any

import pytest

from unlearn.data import rendering
from unlearn.data.rendering import TooMuch, limited_time, tried

ASKED = [([{"role": "user", "content": "Who?"}], True)]
FOREVER = "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}"


@pytest.mark.parametrize(
    "before",
    [
        "{% for m in messages %}{% if loop.index > 1 %}{% break %}{% endif %}{% endfor %}",
        "{{ messages | tojson }}{{ strftime_now('%d %b %Y') }}",
        "{{ mood.upper() }}{{ bos_token }}",
        "{% set n = namespace(a=1) %}{% set n.a = 2 %}{{ n.a }}",
        "{% macro twice(x) %}{{ x }}{{ x }}{% endmacro %}{{ twice(1) }}",
    ],
)
def test_the_trial_knows_what_templates_of_transformers_use(
    before: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or it would end at an error, ahead of what is too much."""
    monkeypatch.setattr(rendering, "LETTERS", 500)
    variables = {"mood": "calm", "bos_token": "<s>"}
    tried(before, ASKED, variables)
    for text in (before, "{% generation %}" + before + "{% endgeneration %}"):
        with pytest.raises(TooMuch, match="more than 500 letters"):
            tried(text + "x" * 501, ASKED, variables)


@pytest.mark.parametrize(
    "text", ["{% for %}", "{{ 1 / 0 }}", "{{ raise_exception('no') }}", "{{ a.b }}"]
)
def test_an_error_is_left_to_transformers(text: str) -> None:
    tried(text, ASKED, {})


def test_a_template_is_tried_once(monkeypatch: pytest.MonkeyPatch) -> None:
    count = []
    run = subprocess.run

    def counted(*given: Any, **options: Any) -> Any:
        count.append(1)
        return run(*given, **options)

    monkeypatch.setattr(subprocess, "run", counted)
    for _ in range(3):
        tried("{{ messages[0]['content'] }} once", ASKED, {})
    assert len(count) == 1


def test_where_no_process_may_start_the_limit_of_time_remains(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise OSError("no more processes")

    monkeypatch.setattr(subprocess, "run", refuse)
    tried(FOREVER + "alone", ASKED, {})
    monkeypatch.setattr(rendering, "WALL_SECONDS", 0.2)
    with pytest.raises(TooMuch), limited_time():
        while True:
            pass
    with limited_time():
        pass
