"""Processes find each other by the variables of a cluster's launcher, and each uses all devices of its host."""

import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from stages.core.errors import UserError
from stages.lm.distributed import environment, processes
from tests.helpers.programs import CHECKOUT, cleared, free_port

Variables = dict[str, str]
AUTO = {"CANDOR_PROCESSES": "auto"}


def by_hand(index: int, port: int) -> Variables:
    return {"CANDOR_PROCESSES": "2", "CANDOR_COORDINATOR": f"localhost:{port}", "CANDOR_PROCESS": str(index)}


def slurm(index: int, port: int) -> Variables:
    """One task per node, as `srun` sets them; the first node comes first in the list."""
    node = {"SLURM_JOB_ID": "4711", "SLURM_STEP_NODELIST": "localhost,localhost", "SLURM_LOCALID": "0"}
    return AUTO | node | {"SLURM_NTASKS": "2", "SLURM_PROCID": str(index), "JAX_COORDINATOR_PORT": str(port)}


def open_mpi(index: int, port: int) -> Variables:
    """As `mpirun` of Open MPI 4 sets them."""
    world = {"OMPI_COMM_WORLD_SIZE": "2", "OMPI_COMM_WORLD_RANK": str(index), "OMPI_COMM_WORLD_LOCAL_RANK": "0"}
    launcher = {"OMPI_MCA_orte_hnp_uri": "1531576320.0;tcp://127.0.0.1,10.148.0.1:34911"}
    return AUTO | launcher | world | {"JAX_COORDINATOR_PORT": str(port)}


def tpu_in_kubernetes(index: int, port: int) -> Variables:
    """As Google's Kubernetes Engine sets them; `JAX_FORCE_TPU_INIT` replaces the chips."""
    hosts = {"TPU_WORKER_HOSTNAMES": "localhost,localhost", "TPU_WORKER_ID": str(index), "MEGASCALE_NUM_SLICES": "1"}
    alone = {"MEGASCALE_COORDINATOR_ADDRESS": "localhost", "MEGASCALE_SLICE_ID": "0"}
    return AUTO | hosts | alone | {"JAX_FORCE_TPU_INIT": "1", "JAX_COORDINATOR_PORT": str(port)}


BY_VARIABLES = [by_hand, slurm, open_mpi, tpu_in_kubernetes]


@pytest.mark.processes
@pytest.mark.parametrize("cluster", BY_VARIABLES)
def test_processes_find_each_other(cluster: Callable[[int, int], Variables]) -> None:
    port = free_port()
    assert joined(cluster(0, port), cluster(1, port)) == ["0 2 2 4 all", "1 2 2 4 all"]


@pytest.mark.processes
def test_hosts_of_a_tpu_slice_find_each_other() -> None:
    """By the attributes that Google's metadata server gives each of them."""
    with ExitStack() as stack:
        port = {"JAX_COORDINATOR_PORT": str(free_port()), "JAX_FORCE_TPU_INIT": "1"}
        servers = [stack.enter_context(metadata_server(index)) for index in range(2)]
        lines = joined(*(AUTO | port | {"GCE_METADATA_IP": server} for server in servers))
    assert lines == ["0 2 2 4 all", "1 2 2 4 all"]


@contextmanager
def metadata_server(index: int) -> Iterator[str]:
    """The address of a server with the attributes of one host in a slice of two."""
    attributes = {
        "agent-worker-number": str(index),
        "worker-network-endpoints": "unknown:unknown:127.0.0.1,unknown:unknown:127.0.0.1",
        "tpu-env": "ACCELERATOR_TYPE: 'v4-16'\n",
    }

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            content = attributes.get(self.path.rpartition("/")[2])
            self.send_response(200 if content else 404)
            self.end_headers()
            self.wfile.write((content or "").encode())

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()


def joined(*variables: Variables) -> list[str]:
    """What the processes with these variables print, each its line."""
    with ExitStack() as stack:
        running = [
            stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-m", "tests.helpers.joining"],
                    cwd=CHECKOUT,
                    env=cleared() | {"JAX_PLATFORMS": "cpu", "JAX_NUM_CPU_DEVICES": "2"} | own,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    text=True,
                )
            )
            for own in variables
        ]
        for process in running:
            stack.callback(process.kill)  # it would wait for the other one if that failed
        ended = [(process.communicate(timeout=120), process.returncode) for process in running]
    for (_, stderr), status in ended:
        assert status == 0, stderr
    # Gloo prints lines of its own.
    return [line for (stdout, _), _ in ended for line in re.findall(r"\d+ \d+ \d+ \d+ all", stdout)]


def test_no_cluster_is_one_line() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.helpers.joining"],
        cwd=CHECKOUT,
        env=cleared() | {"JAX_PLATFORMS": "cpu"} | AUTO,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("error: the processes of this run did not find each other (")
    assert done.stderr.endswith("see CANDOR_PROCESSES in docs/environment.md\n") and done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        (
            {"CANDOR_PROCESSES": "two"},
            "CANDOR_PROCESSES is 'two'; auto, or a number of processes, 1 or more, is expected",
        ),
        (
            {"CANDOR_PROCESSES": "2", "CANDOR_COORDINATOR": "10.0.0.1"},
            "CANDOR_COORDINATOR is '10.0.0.1'; with several processes the first one's host:port is expected",
        ),
        (
            {"CANDOR_PROCESSES": "2", "CANDOR_COORDINATOR": "10.0.0.1:8476", "CANDOR_PROCESS": "2"},
            "CANDOR_PROCESS is '2'; a number from 0 to 1, another one for each process, is expected",
        ),
    ],
)
def test_invalid_variables_are_refused(monkeypatch: pytest.MonkeyPatch, variables: Variables, message: str) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UserError) as refused:
        environment.cluster_spec()
    assert str(refused.value) == message


def test_jax_still_has_the_private_names_that_the_heartbeat_uses() -> None:
    """`processes.coordinator` and heartbeat.py depend on them; an update of jax may move them."""
    from jax._src.distributed import global_state
    from jaxlib._jax import DistributedRuntimeClient  # type: ignore[import-not-found]

    assert hasattr(global_state, "client") and hasattr(global_state, "coordinator_address")
    assert processes.coordinator() == (None, "None"), "no coordinator in a single process"
    for method in ("key_value_set", "key_value_dir_get", "blocking_key_value_get", "wait_at_barrier"):
        assert callable(getattr(DistributedRuntimeClient, method))
