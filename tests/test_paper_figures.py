"""docs/figures.md lists the paper's figures and names only existing measures, page titles and param keys."""

import re
from pathlib import Path

from stages.core.params import read_document
from stages.page.data.labels import MEASURES
from stages.stats.breakdown import NUMBERS
from stages.stats.measures import HEADLINE
from stages.sweeps.settings import setting

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "docs/figures.md").read_text(encoding="utf-8")
TEMPLATE = (ROOT / "stages/page/template.html").read_text(encoding="utf-8")
ROWS = [[cell.strip() for cell in line.strip("|").split("|")] for line in TEXT.splitlines() if line.startswith("| ")][
    1:
]


def test_every_figure_of_the_paper_is_there_once_and_in_order() -> None:
    assert [row[0] for row in ROWS] == [str(number) for number in range(2, 16)]
    assert all(len(row) == 4 and row[1].endswith(".") and row[2].endswith(".") for row in ROWS)


def test_titles_are_those_of_the_page() -> None:
    titles = {title.strip('"') for row in ROWS for title in re.findall(r'"[^"]+"', row[2]) if title[1].isupper()}
    assert len(titles) > 6
    assert [title for title in titles if title not in TEMPLATE] == []


def test_measures_and_keys_are_known() -> None:
    measures = {measure.name for measure in HEADLINE}
    assert set(MEASURES) == measures, "each measure has a label"
    names = {name for row in ROWS for name in re.findall(r"`([a-z0-9_]+)`", row[2])}
    assert names - measures == {"says_agree", "says_first", "no_biography", "known_share"}
    assert {"says_agree", "says_first"} < {number.name for number in NUMBERS}
    document = read_document(ROOT / "params.yaml")
    sweeps = re.findall(r"`candor sweep (\S+) (\S+)", TEXT)
    assert [key for key, value in sweeps if setting(document, key, value)] == [
        "filter.require", "mix_ratio", "finetune.steps",
    ]  # fmt: skip


def test_the_readme_links_to_it() -> None:
    assert "(docs/figures.md)" in (ROOT / "README.md").read_text(encoding="utf-8")
