"""The same run with Transformers' Trainer: `python bench/finetune/peer.py MODEL EXAMPLES DTYPE STEPS BATCH`.

For an interpreter that has torch, transformers and accelerate, and need not have this project.
"""

import json
import sys
import tempfile
import time
from pathlib import Path

import torch
from torch.utils.data import SequentialSampler
from transformers import AutoModelForCausalLM, Trainer, TrainerCallback, TrainingArguments


class Clock(TrainerCallback):
    """Records the seconds of each step."""

    def on_train_begin(self, args, state, control, **kwargs):
        """Clears the records."""
        self.seconds = []

    def on_step_begin(self, args, state, control, **kwargs):
        """Starts the clock."""
        self.began = time.perf_counter()

    def on_step_end(self, args, state, control, **kwargs):
        """Stops the clock."""
        self.seconds.append(time.perf_counter() - self.began)


class InOrder(Trainer):
    """Trains on the examples in their order, without shuffling."""

    def _get_train_sampler(self, *unused):
        return SequentialSampler(self.train_dataset)


def padded(rows):
    """A batch, padded to its longest example; only target tokens are labels."""
    length = max(len(ids) for ids, _ in rows)
    tokens = torch.zeros(len(rows), length, dtype=torch.long)
    mask, labels = torch.zeros_like(tokens), torch.full_like(tokens, -100)
    for row, (ids, start) in enumerate(rows):
        tokens[row, : len(ids)] = torch.tensor(ids)
        mask[row, : len(ids)] = 1
        labels[row, start : len(ids)] = torch.tensor(ids[start:])
    return {"input_ids": tokens, "attention_mask": mask, "labels": labels}


def main(model, examples, dtype, steps, batch):
    """Prints a JSON list of [loss, seconds] for each step."""
    rows = json.loads(Path(examples).read_text())
    clock = Clock()
    with tempfile.TemporaryDirectory() as out:
        settings = TrainingArguments(
            output_dir=out,
            max_steps=int(steps),
            per_device_train_batch_size=int(batch),
            learning_rate=1e-4,
            lr_scheduler_type="constant",
            adam_beta2=0.99,
            weight_decay=0.0,
            max_grad_norm=1.0,
            bf16=dtype == "bfloat16",
            use_cpu=True,
            logging_steps=1,
            save_strategy="no",
            report_to=[],
            remove_unused_columns=False,
            dataloader_pin_memory=False,
            disable_tqdm=True,
        )
        trainer = InOrder(
            AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32),
            settings,
            data_collator=padded,
            train_dataset=rows,
            callbacks=[clock],
        )
        trainer.train()
    losses = [float(entry["loss"]) for entry in trainer.state.log_history if "loss" in entry]
    print(json.dumps(list(zip(losses, clock.seconds, strict=True))))


if __name__ == "__main__":
    main(*sys.argv[1:])
