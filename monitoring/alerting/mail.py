"""Turns facts into mails: all that are sent, previewed or shown are rendered here."""

import logging
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import css_inline
from django.template import Context, Engine
from django.template.loader import render_to_string
from django.utils import timezone

from monitoring.alerting.digest import digest_context
from monitoring.alerting.variables import template_context
from monitoring.alerting.words import zone_of
from monitoring.values.evidence import NOTHING, Evidence
from monitoring.values.facts import Facts
from monitoring.values.text import head, one_line, said, storable

logger = logging.getLogger("monitoring")

ALERT_TEMPLATE = "emails/task_status_alert"
DIGEST_TEMPLATE = "emails/task_status_digest"

NESTED_MAX = 1_000  # elements: the inliner overflows its stack, which ends the process, at some ten thousand

_TAG = re.compile(r"<!--(?:-?>|.*?(?:--!?>|\Z))|<(/?)([a-z][^\s/>]*)", re.IGNORECASE | re.DOTALL)
_NEVER_OPEN = {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"}
_ENDED_BY_THE_NEXT = {"li", "p", "td", "th", "tr"}  # these may lack an end tag, and nest only within others
_BUILT_IN = Path(__file__).resolve().parent.parent / "templates"
_inliner = css_inline.CSSInliner(load_remote_stylesheets=False, keep_at_rules=True, keep_style_tags=True)


@dataclass(frozen=True, slots=True)
class Mail:
    """A mail's words: a one-line subject, and a text part and an HTML part with the same facts."""

    subject: str
    text: str
    html: str


def render(facts: Facts, evidence: Evidence = NOTHING, notice: str = "") -> Mail:
    """The mail for these facts, with the notice above them.

    A broken template never raises: the built-in one replaces it and says so.
    """
    return _render(ALERT_TEMPLATE, template_context(facts, evidence) | {"notice": notice}, zone_of(facts))


def render_digest(alerts: Sequence[Facts], evidence: Sequence[Evidence] = (), notice: str = "") -> Mail:
    """One mail for many alerts, failures before recoveries. `evidence` has an entry for each alert, or none."""
    context = digest_context(alerts, evidence or [NOTHING] * len(alerts)) | {"notice": notice}
    return _render(DIGEST_TEMPLATE, context, timezone.get_default_timezone())


def _render(template: str, context: dict[str, Any], zone: ZoneInfo) -> Mail:
    with timezone.override(zone):
        text = _render_part(f"{template}.txt", context)
        html = _render_part(f"{template}.html", context)
    return Mail(context["subject"], storable(text).strip() + "\n", _inlined(storable(html)).strip() + "\n")


def _render_part(template: str, context: dict[str, Any]) -> str:
    try:
        rendered = render_to_string(template, context)
        if template.endswith(".html") and _nested(rendered) > NESTED_MAX:
            raise ValueError(f"more than {NESTED_MAX:,} elements are open at once; are end tags missing?")
        return rendered
    except Exception as error:  # whatever a project's own template does, the alert goes out
        logger.exception("The template %s could not be rendered; the built-in one takes its place", template)
        notice = head(one_line(f"{template} could not be rendered: {type(error).__name__}: {said(error)}"), 300)
        return _built_in_engine().get_template(template).render(Context({**context, "template_error": notice}))


def _nested(html: str) -> int:
    """How many elements are open at once, at most."""
    nested = 0
    still_open: Counter[str] = Counter()
    for tag in _TAG.finditer(html):
        name = (tag[2] or "").lower()
        if not name or name in _NEVER_OPEN or name in _ENDED_BY_THE_NEXT:
            continue
        still_open[name] = max(0, still_open[name] + (-1 if tag[1] else 1))
        nested = max(nested, still_open.total())
    return nested


@cache
def _built_in_engine() -> Engine:
    return Engine(dirs=[str(_BUILT_IN)], libraries={"monitoring_text": "monitoring.templatetags.monitoring_text"})


def _inlined(html: str) -> str:
    try:
        return _inliner.inline(html)
    except css_inline.InlineError:
        return html  # leaves a style sheet that cannot be parsed to the mail program
