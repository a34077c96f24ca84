"""The section of a tuned model's card with its measures, in Markdown."""

from stages.page.sections import ModelSection

_COLUMNS = ("label", "base", "tuned", "delta", "interval", "n", "verdict")


def card(section: ModelSection) -> str:
    """The measures of one model in Markdown; shares are in percent, their differences in percentage points."""
    rows = "".join(f"| {' | '.join(row[column] for column in _COLUMNS)} |\n" for row in section.rows)
    warnings = "".join(f"- {warning}\n" for warning in section.warnings)
    return (
        f"## Measured before and after\n\nThe tuned model {section.sentence} {section.tally}\n\n{section.filter}\n\n"
        f"{warnings}\n| measure | base | tuned | difference | 95% interval | n | |\n"
        f"|---|---:|---:|---:|---|---:|---|\n{rows}"
    )
