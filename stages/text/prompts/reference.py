"""How the reference generator differs (google/sycophancy-intervention, commit fb75986), for prompt.fidelity.

It keeps one label for each text: the last one that any set gives it. A row without a label, -1, gets the set's last
label word. It replaces `[label]`, `[opinion]` and `[is]` in its template after it has inserted the input, and so also
inside the input.
"""

import polars as pl

from stages.text.claims.overlaps import normalised


def merged_examples(raw: pl.DataFrame, held_out: pl.DataFrame) -> pl.DataFrame:
    """The rows that the reference generator draws from, in the order of `raw`, without held-out texts and clusters.

    The reference holds nothing out; here, texts and clusters that the evaluation asks about must not be trained on.
    """
    last = raw.unique("text", keep="last", maintain_order=True)
    other_texts = last.with_columns(normal=normalised(pl.col("text"))).join(
        held_out.select(normal=normalised(pl.col("text"))), on="normal", how="anti", maintain_order="left"
    )
    other_clusters = other_texts.drop("normal").join(
        held_out.select("cluster"), on="cluster", how="anti", maintain_order="left"
    )
    # The reference indexes a Python list with the label, where -1 is the last item.
    return other_clusters.with_columns(label=pl.col("label") % pl.col("label_words").list.len().cast(pl.Int32))


def fill_placeholders(claims: pl.DataFrame) -> pl.DataFrame:
    """Replaces the reference's placeholders inside texts; reads text, polarity, shown and opinion, rewrites claim."""
    text = pl.col("text")
    for placeholder, column in (("[label]", "shown"), ("[opinion]", "opinion"), ("[is]", "polarity")):
        text = text.str.split(placeholder).list.join(pl.col(column))
    return claims.with_columns(claim=pl.format("{} {} {}", text, "polarity", "shown"))
