"""What the reference generator does otherwise (google/sycophancy-intervention, commit fb75986), for prompt.fidelity.

It keeps one label for each text, the last one that any set gives it; a row without a label, -1, gets the set's last
label word; and it fills its template by replacing `[label]`, `[opinion]` and `[is]` after the input stands in it.
"""

import polars as pl

from stages.text.claims.overlaps import normalised


def merged_examples(raw: pl.DataFrame, held_out: pl.DataFrame) -> pl.DataFrame:
    """The rows that the reference generator draws from, in the order of `raw`, away from held-out ones.

    The reference holds nothing out; here a text or cluster that evaluation asks about must not be trained on.
    """
    last = raw.unique("text", keep="last", maintain_order=True)
    apart = last.with_columns(normal=normalised(pl.col("text"))).join(
        held_out.select(normal=normalised(pl.col("text"))), on="normal", how="anti", maintain_order="left"
    )
    kept = apart.drop("normal").join(held_out.select("cluster"), on="cluster", how="anti", maintain_order="left")
    # A list's item -1 is its last one, in the reference's language too.
    return kept.with_columns(label=pl.col("label") % pl.col("label_words").list.len().cast(pl.Int32))


def filled(claims: pl.DataFrame) -> pl.DataFrame:
    """The claims with the reference's placeholders inside texts replaced; reads text, polarity, shown and opinion."""
    text = pl.col("text")
    for placeholder, column in (("[label]", "shown"), ("[opinion]", "opinion"), ("[is]", "polarity")):
        text = text.str.split(placeholder).list.join(pl.col(column))
    return claims.with_columns(claim=pl.format("{} {} {}", text, "polarity", "shown"))
