"""Instruction sets of the hub; `mix.phases` sets the share of each. Licences are those stated on the hub's pages."""

from stages.datasets.kinds import TRAIN, HubPairs
from stages.sources.locations import RepoFiles, split_of

HUB_PAIRS = (
    # The first of many files: its 300,000 pairs are more than any training here uses.
    HubPairs(
        "flan2021",
        RepoFiles("flan2021", "DataProvenanceInitiative/flan2021_submix_original", ("data/train-00000-of-*.parquet",)),
        ("inputs",),
        "targets",
        "NOASSERTION",
    ),
    HubPairs(
        "alpaca",
        split_of("alpaca", "tatsu-lab/alpaca", "", TRAIN),
        ("instruction", "input"),
        "output",
        "CC-BY-NC-4.0",
    ),
    HubPairs(
        "dolly",
        RepoFiles("dolly", "databricks/databricks-dolly-15k", ("databricks-dolly-15k.jsonl", "train-*.parquet")),
        ("instruction", "context"),
        "response",
        "CC-BY-SA-3.0",
    ),
    # Pairs from the train splits of public NLP sets, like Flan's. The hub does not have them; a folder in the hub's
    # layout (params.yaml: hub) can provide them.
    HubPairs(
        "metaicl_pools",
        split_of("metaicl_pools", "local/metaicl_pools", "", TRAIN),
        ("inputs",),
        "targets",
        "CC-BY-NC-4.0",
        options="options",
    ),
)
