"""The report page as one self-contained HTML file, rendered from template.html with Jinja."""

import platform
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from stages.page.charts.interactive import SCRIPT, bundle, packed, policy_hash
from stages.page.data.changed import SHOWN
from stages.page.data.labels import percent
from stages.page.data.report_files import CleanReport, Shortcut, Validation
from stages.page.data.source_table import source_table
from stages.page.sections import Figure, ModelSection, SweepSection
from stages.stats.versions import version_of

FOLDER = Path(__file__).parent

PACKAGES = ("jax", "flax", "optax", "orbax-checkpoint", "dvc", "datasets", "polars", "tokenizers", "altair")


@dataclass(frozen=True)
class Project:
    """What the page shows about the project as a whole: data counts, params and versions."""

    counts: CleanReport
    validation: Validation
    shortcuts: Mapping[str, Shortcut]
    params: Mapping[str, Any]
    versions: Mapping[str, str]


def page(
    sections: Sequence[ModelSection], overview: Figure | None, sweeps: Sequence[SweepSection], project: Project
) -> str:
    """The complete page as HTML; every text from data and every model name is escaped.

    `overview` is the figure that compares the models; it is None if there is only one.
    """
    style, script = ((FOLDER / name).read_text(encoding="utf-8") for name in ("style.css", SCRIPT.name))
    environment = Environment(
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.from_string(_without_indents((FOLDER / "template.html").read_text(encoding="utf-8"))).render(
        style=Markup(style),
        script=Markup(script),
        vega=packed(bundle()),
        # The content-security policy allows this style sheet and these scripts by their hashes, and nothing else.
        style_hash=Markup(policy_hash(style)),
        script_hashes=Markup(" ".join(policy_hash(text) for text in (bundle(), script))),
        sections=sections,
        overview=overview,
        sweeps=sweeps,
        most_shown=SHOWN,
        sources=source_table(project.validation.datasets),
        total=project.validation.total,
        rows=_count_table(project.counts.rows),
        instructions=_count_table(project.counts.instructions),
        shortcuts=_shortcut_table(project.shortcuts),
        params=dict(_flatten(project.params)),
        versions=project.versions,
    )


def _without_indents(template: str) -> str:
    """The template without the white space between tags, which would be a fifth of a page with many answers."""
    lines = re.sub(r"^[ \t]+", "", template, flags=re.MULTILINE)
    return re.sub(r"(?<=>)\n(?=<|{%)|(?<=%})\n(?=<)", "", lines)


def versions() -> dict[str, str]:
    """The versions of Python and of the packages that the numbers depend on."""
    return {"Python": platform.python_version()} | {name: version_of(name) or "not installed" for name in PACKAGES}


def _flatten(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Every key in dotted form (`finetune.steps`) with its value as text."""
    for name, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from _flatten(value, f"{prefix}{name}.")
        elif isinstance(value, list | tuple):
            yield f"{prefix}{name}", ", ".join(map(str, value)) or "–"
        else:
            yield f"{prefix}{name}", str(value) if value or value == 0 else "–"


def _count_table(counts: Mapping[str, Mapping[str, int]]) -> dict[str, Any]:
    columns = list(dict.fromkeys(column for row in counts.values() for column in row))
    texts = {name: [f"{row[column]:,}" if column in row else "–" for column in columns] for name, row in counts.items()}
    return {"columns": [column.replace("_", " ") for column in columns], "rows": texts}


def _shortcut_table(shortcuts: Mapping[str, Shortcut]) -> dict[str, Any]:
    rows = {
        name.replace("_", " "): [
            "–" if share is None else percent(share) for share in (rule.training_prompts, rule.held_out_claims)
        ]
        for name, rule in shortcuts.items()
    }
    return {"columns": ["training prompts", "held-out claims"], "rows": rows}
