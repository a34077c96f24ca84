"""What was measured of a tuned model, as the part of its card that only comes after finetune."""

from stages.page.sections import ModelPart

_COLUMNS = ("label", "base", "tuned", "delta", "interval", "n", "verdict")


def card(part: ModelPart) -> str:
    """The measures of one model in Markdown; shares are in percent, their differences in percentage points."""
    rows = "".join(f"| {' | '.join(row[column] for column in _COLUMNS)} |\n" for row in part.rows)
    warnings = "".join(f"- {warning}\n" for warning in part.warnings)
    return (
        f"## Measured before and after\n\nThe tuned model {part.sentence} {part.tally}\n\n{part.filter}\n\n"
        f"{warnings}\n| measure | base | tuned | difference | 95% interval | n | |\n"
        f"|---|---:|---:|---:|---|---:|---|\n{rows}"
    )
