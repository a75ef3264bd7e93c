"""One self-contained page about a run, for people: it opens in any browser, offline, and can be mailed."""

from __future__ import annotations

import base64
import html
import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from monai_ext.handlers.learning_curves import Curve, draw_learning, telling
from monai_ext.handlers.metric_names import higher_is_worse, metric_label

__all__ = ["html_report", "worst_first"]

THUMBNAIL = (240, 120)  # pixels, at most
LONG = 8  # entries of a list that are shown

STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; color: #1d2733; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; }
h1 { margin-bottom: 0; } .lead { color: #5a6b7d; margin-top: .2rem; }
table { border-collapse: collapse; margin: .6rem 0; } td, th { padding: .2rem .9rem .2rem 0; text-align: left;
vertical-align: top; border-bottom: 1px solid #e3e8ee; } td.n { text-align: right; font-variant-numeric: tabular-nums; }
.pictures { display: flex; flex-wrap: wrap; gap: 1.2rem; } figure { margin: 0; } img, svg { max-width: 100%; }
figcaption { color: #5a6b7d; } .wide { overflow-x: auto; } .cases td { vertical-align: middle; }
.cases img { display: block; }
footer { margin-top: 2rem; color: #5a6b7d; border-top: 1px solid #e3e8ee; padding-top: .6rem; }
"""


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_text(v)}" for key, v in value.items())
    if isinstance(value, (list, tuple)):
        more = [f"and {len(value) - LONG} more"] if len(value) > LONG + 1 else []
        return ", ".join([*map(_text, value[: LONG if more else None]), *more])
    return "-" if value is None else str(value)


def _table(rows: Sequence[Sequence[Any]], head: Sequence[str] = ()) -> str:
    lines = ["<tr>" + "".join(f"<th>{html.escape(name)}</th>" for name in head) + "</tr>"] if head else []
    for row in rows:
        cells = "".join(
            f'<td class="n">{_text(v)}</td>' if isinstance(v, (int, float)) else f"<td>{html.escape(_text(v))}</td>"
            for v in row
        )
        lines.append(f"<tr>{cells}</tr>")
    return f"<table>{''.join(lines)}</table>"


def _cases(cases: Sequence[Mapping[str, str]], drawn: Mapping[str, Path], shown: set[str]) -> str:
    """A line of each case: a thumbnail that leads to its picture, its id and its values."""
    names = [name for name in cases[0] if name not in ("case", "patient")]
    head = "".join(f"<th>{html.escape(metric_label(name))}</th>" for name in names)
    lines = [f"<tr><th></th><th>case</th>{head}</tr>"]
    for case in cases:
        name = case["case"]
        image = f'<img alt="" src="{_thumbnail(drawn[name])}">' if name in drawn else ""
        anchor = html.escape(name, quote=True)
        linked = f'<a href="#{anchor}">{image}</a>' if name in shown else image
        values = "".join(f'<td class="n">{html.escape(_value(case[key]))}</td>' for key in names)
        lines.append(f"<tr><td>{linked}</td><td>{html.escape(name)}</td>{values}</tr>")
    return f'<div class="wide"><table class="cases">{"".join(lines)}</table></div>'


def _value(text: str) -> str:
    """A cell of a table as text, with four digits of a fraction."""
    return f"{float(text):.4g}" if "." in text else text or "-"


def _figure(path: Path) -> str:
    """A picture with its name."""
    name, content = html.escape(path.stem, quote=True), base64.b64encode(path.read_bytes()).decode()
    image = f'<img alt="{name}" src="data:image/png;base64,{content}">'
    return f'<figure id="{name}">{image}<figcaption>{name}</figcaption></figure>'


def _thumbnail(path: Path) -> str:
    """A small picture as a link that holds it."""
    content = io.BytesIO()
    with Image.open(path) as image:
        image.thumbnail(THUMBNAIL)
        image.convert("RGB").save(content, "JPEG", quality=80)
    return f"data:image/jpeg;base64,{base64.b64encode(content.getvalue()).decode()}"


def _metric(name: str, row: Mapping[str, Any]) -> tuple[Any, ...]:
    ends = [row.get("ci_low"), row.get("ci_high")]
    return metric_label(name), row.get("mean"), "" if None in ends else " to ".join(map(_text, ends)), row.get("n")


def worst_first(cases: Sequence[Mapping[str, str]]) -> tuple[list[Mapping[str, str]], str]:
    """Cases by their first metric, those without a value last; and what the order is, in words.

    Example:
        >>> from monai_ext.handlers.html_report import worst_first
        >>> rows = [{"case": "a", "dice": "0.9"}, {"case": "b", "dice": ""}, {"case": "c", "dice": "0.2"}]
        >>> cases, order = worst_first(rows)
        >>> [case["case"] for case in cases], order
        (['c', 'a', 'b'], 'worst Dice first')
    """
    key = next((key for key in (cases[0] if cases else ()) if key not in ("case", "patient")), None)
    if key is None:
        return list(cases), ""
    sign = -1 if higher_is_worse(key) else 1
    found = sorted(cases, key=lambda case: sign * float(case[key] or sign * math.inf))
    return found, f"worst {metric_label(key)} first"


def html_report(
    report: Mapping[str, Any],
    curves: Mapping[str, Curve],
    pictures: Sequence[Path],
    bundle: str = "",
    metadata: Mapping[str, Any] | None = None,
    cases: Sequence[Mapping[str, str]] = (),
    order: str = "",
    drawn: Mapping[str, Path] | None = None,
) -> str:
    """The page.

    Args:
        report: content of ``report.json``.
        curves: training curves from :func:`~monai_ext.handlers.learning_curves.read_scalars`.
        pictures: PNG files to embed in the page.
        bundle: name of the bundle.
        metadata: content of the bundle's ``metadata.json``.
        cases: ``case`` and its values as text, in the order in which they are listed.
        order: that order in words.
        drawn: the pictures of cases, for thumbnails.
    """
    metadata = metadata or {}
    title = html.escape(" · ".join(filter(None, (bundle, str(report["phase"])))))
    parts = [f"<h1>{title}</h1>"]
    if "name" in metadata:
        parts.append(
            f'<p class="lead">{html.escape(str(metadata["name"]))}, {html.escape(str(metadata["version"]))}</p>'
        )
    if "metrics" in report:
        rows = [_metric(name, row) for name, row in report["metrics"].items()]
        parts += ["<h2>Metrics</h2>", _table(rows, ("metric", "mean", "95 % interval", "n"))]
    if kept := telling(curves):
        parts += ["<h2>Curves</h2>", draw_learning(kept)]
    if cases:
        head = f"{len(cases)} case{'s' * (len(cases) > 1)}{', ' * bool(order)}{order}"
        parts += [f"<h2>{html.escape(head)}</h2>", _cases(cases, drawn or {}, {path.stem for path in pictures})]
    if pictures:
        shown = "".join(map(_figure, pictures))
        parts += ["<h2>Pictures</h2>", f'<div class="pictures">{shown}</div>']
    facts = [(key, value) for key, value in report.items() if key not in ("metrics", "phase")]
    facts = [(key.replace("_", " "), _text(value)) for key, value in facts if value not in (None, [], {}, "")]
    parts += ["<h2>The run</h2>", _table(facts)]
    parts.append(f"<footer>{html.escape(str(metadata.get('intended_use', 'For research only.')))}</footer>")
    head = f'<meta charset="utf-8"><title>{title}</title><style>{STYLE}</style>'
    return f'<!doctype html><html lang="en"><head>{head}</head><body>{"".join(parts)}</body></html>\n'
