"""One self-contained page about a run, for people: it opens in any browser, offline, and can be mailed."""

from __future__ import annotations

import base64
import html
import logging
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

__all__ = ["html_report", "read_scalars"]

Curve = Sequence[tuple[int, float]]

STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; color: #1d2733; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; }
h1 { margin-bottom: 0; } .lead { color: #5a6b7d; margin-top: .2rem; }
table { border-collapse: collapse; margin: .6rem 0; } td, th { padding: .2rem .9rem .2rem 0; text-align: left;
vertical-align: top; border-bottom: 1px solid #e3e8ee; } td.n { text-align: right; font-variant-numeric: tabular-nums; }
.curves, .pictures { display: flex; flex-wrap: wrap; gap: 1.2rem; } figure { margin: 0; } img { max-width: 100%; }
figcaption { color: #5a6b7d; } svg text { font: 11px system-ui, sans-serif; fill: #5a6b7d; }
footer { margin-top: 2rem; color: #5a6b7d; border-top: 1px solid #e3e8ee; padding-top: .6rem; }
"""


def read_scalars(folder: str | Path) -> dict[str, Curve]:
    """Scalars of all TensorBoard files in a folder: tag -> (step, value) in order of steps.

    A resumed run has several files; when two hold the same step, the later file counts.
    """
    if not any(Path(folder).glob("events.*")):
        return {}
    logging.getLogger("tensorboard").setLevel(logging.WARNING)
    events = EventAccumulator(str(folder), size_guidance={"scalars": 2000})
    events.Reload()
    curves = {}
    for tag in events.Tags()["scalars"]:
        latest: dict[int, float] = {}
        for event in sorted(events.Scalars(tag), key=lambda event: event.wall_time):
            latest[event.step] = event.value
        curves[tag] = sorted((step, value) for step, value in latest.items() if math.isfinite(value))
    return {tag: curve for tag, curve in curves.items() if len(curve) > 1}


def _svg(curve: Curve, width: int = 400, height: int = 190, margin: int = 46) -> str:
    steps, values = [s for s, _ in curve], [v for _, v in curve]
    low, high = min(values), max(values)
    high = high if high > low else low + (abs(low) or 1.0)

    def place(step: int, value: float) -> str:
        x = margin + (width - margin - 8) * (step - steps[0]) / max(steps[-1] - steps[0], 1)
        y = 8 + (height - 30) * (high - value) / (high - low)
        return f"{x:.1f},{y:.1f}"

    points = " ".join(place(step, value) for step, value in curve)
    bottom = height - 22
    return (
        f'<svg width="{width}" height="{height}" role="img">'
        f'<path d="M{margin} 8V{bottom}H{width - 8}" fill="none" stroke="#b9c4d0"/>'
        f'<polyline points="{points}" fill="none" stroke="#1f6feb" stroke-width="1.6"/>'
        f'<text x="{margin - 5}" y="16" text-anchor="end">{high:.4g}</text>'
        f'<text x="{margin - 5}" y="{bottom}" text-anchor="end">{low:.4g}</text>'
        f'<text x="{margin}" y="{height - 5}">{steps[0]}</text>'
        f'<text x="{width - 8}" y="{height - 5}" text-anchor="end">{steps[-1]}</text></svg>'
    )


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_text(v)}" for key, v in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(map(_text, value))
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


def html_report(
    report: Mapping[str, Any],
    curves: Mapping[str, Curve],
    pictures: Sequence[Path],
    bundle: str = "",
    metadata: Mapping[str, Any] | None = None,
) -> str:
    """The page.

    Args:
        report: content of ``report.json``.
        curves: training curves from :func:`read_scalars`.
        pictures: PNG files to embed in the page.
        bundle: name of the bundle.
        metadata: content of the bundle's ``metadata.json``.
    """
    metadata = metadata or {}
    title = html.escape(" · ".join(filter(None, (bundle, str(report["phase"])))))
    parts = [f"<h1>{title}</h1>"]
    if "name" in metadata:
        parts.append(
            f'<p class="lead">{html.escape(str(metadata["name"]))}, {html.escape(str(metadata["version"]))}</p>'
        )
    if "metrics" in report:
        rows = [
            (name, row.get("mean"), f"{_text(row.get('ci_low'))} to {_text(row.get('ci_high'))}", row.get("n"))
            for name, row in report["metrics"].items()
        ]
        parts += ["<h2>Metrics</h2>", _table(rows, ("metric", "mean", "95 % interval", "n"))]
    if curves:
        drawn = [
            f"<figure>{_svg(curve)}<figcaption>{html.escape(tag)}</figcaption></figure>"
            for tag, curve in curves.items()
        ]
        parts += ["<h2>Curves</h2>", f'<div class="curves">{"".join(drawn)}</div>']
    if pictures:
        shown = [
            f'<figure><img alt="{html.escape(path.stem)}" src="data:image/png;base64,'
            f'{base64.b64encode(path.read_bytes()).decode()}"><figcaption>{html.escape(path.stem)}</figcaption></figure>'
            for path in pictures
        ]
        parts += ["<h2>Pictures</h2>", f'<div class="pictures">{"".join(shown)}</div>']
    facts = [(key, value) for key, value in report.items() if key not in ("metrics", "phase")]
    facts = [(key.replace("_", " "), _text(value)) for key, value in facts]
    parts += ["<h2>The run</h2>", _table(facts)]
    parts.append(f"<footer>{html.escape(str(metadata.get('intended_use', 'For research only.')))}</footer>")
    head = f'<meta charset="utf-8"><title>{title}</title><style>{STYLE}</style>'
    return f'<!doctype html><html lang="en"><head>{head}</head><body>{"".join(parts)}</body></html>\n'
