"""One measured run with lm-evaluation-harness: `python bench/scoring/peer.py MODEL QUESTIONS DTYPE BATCH`.

For an interpreter that has lm-eval, torch and transformers, and need not have this project.
"""

import json
import sys
import time
from pathlib import Path

from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM


def main(model, questions, dtype, batch):
    """Prints JSON: seconds after loading, and log-probabilities."""
    items = json.loads(Path(questions).read_text(encoding="utf-8"))
    peer = HFLM(pretrained=model, dtype=dtype, device="cpu", batch_size=int(batch), add_bos_token=False)
    requests = [
        Instance("loglikelihood", {}, (item["prompt"], choice), index)
        for item in items
        for index, choice in enumerate(item["choices"])
    ]
    started = time.perf_counter()
    scores = iter(peer.loglikelihood(requests, disable_tqdm=True))
    seconds = time.perf_counter() - started
    logprobs = [[next(scores)[0] for _ in item["choices"]] for item in items]
    print(json.dumps({"seconds": seconds, "logprobs": logprobs}))


if __name__ == "__main__":
    main(*sys.argv[1:])
