"""Joins the processes of its run as the environment says, and prints what came of it, as a program of its own."""

import os
import sys

import jax

from stages.core.errors import run
from stages.lm.distributed import processes
from stages.lm.distributed.launch import distributed_main


def main() -> None:
    """Prints which process this is, of how many, and which devices it uses of how many."""
    total = processes.all_max(float(processes.index())) + 1
    uses = jax.config.values["jax_cuda_visible_devices"]
    # At once, since Gloo, which a CPU's processes exchange numbers by, says on the same stream whom it knows.
    sys.stdout.write(f"{processes.index()} {int(total)} {jax.local_device_count()} {jax.device_count()} {uses}\n")


if __name__ == "__main__":
    if "GCE_METADATA_IP" in os.environ:
        # JAX sets it where it finds no TPU chip, and then does not ask Google's metadata server.
        os.environ.pop("TPU_SKIP_MDS_QUERY", None)
    run(distributed_main(main))
