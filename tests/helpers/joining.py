"""A program that joins the processes of its run, as the environment says, and prints which one it is."""

import os
import sys

import jax

from stages.core.errors import run
from stages.lm.distributed import processes
from stages.lm.distributed.launch import distributed_main


def main() -> None:
    """Prints which process this is, of how many, and which devices it uses of how many."""
    total = processes.all_max(float(processes.index())) + 1
    visible = jax.config.values["jax_cuda_visible_devices"]
    # In one write, since Gloo, the collectives library of CPUs, prints to the same stream.
    sys.stdout.write(f"{processes.index()} {int(total)} {jax.local_device_count()} {jax.device_count()} {visible}\n")


if __name__ == "__main__":
    if "GCE_METADATA_IP" in os.environ:
        # JAX sets it if it finds no TPU chip, and then does not query Google's metadata server.
        os.environ.pop("TPU_SKIP_MDS_QUERY", None)
    run(distributed_main(main))
