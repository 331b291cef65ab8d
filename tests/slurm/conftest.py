"""A SLURM cluster of one node on the loopback address, in a folder of its own, for the tests of this folder."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from src.apps.overrides import CONF

ROOT = CONF.parent
PROGRAMS = ("slurmctld", "slurmd", "sbatch", "srun", "scontrol", "squeue", "scancel", "sinfo")
SYSTEM_PATH = "/usr/local/sbin:/usr/sbin:/sbin"
SETTINGS = """
ClusterName=privface
SlurmctldHost={host}(127.0.0.1)
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/none
CredType=cred/none
SlurmctldPort={controller_port}
SlurmdPort={node_port}
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=sched_interval=1,batch_sched_delay=0,bf_interval=1
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
ReturnToService=2
KillWait=3
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} RealMemory=1000 State=UNKNOWN
PartitionName=test Nodes={host} Default=YES MaxTime=INFINITE State=UP OverSubscribe=FORCE:4
"""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip where there is no SLURM, and say how to get it."""
    path = f"{os.environ['PATH']}:{SYSTEM_PATH}"
    missing = [name for name in PROGRAMS if shutil.which(name, path=path) is None]
    if missing:
        reason = f"SLURM is not installed ({', '.join(missing)} missing); make test-slurm installs it"
        for item in items:
            if Path(__file__).parent in item.path.parents:
                item.add_marker(pytest.mark.skip(reason=reason))


class Cluster:
    """A running cluster.

    Attributes:
        environment: In which its commands find it.
    """

    def __init__(self, folder: Path) -> None:
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("SLURM_")},
            "SLURM_CONF": str(folder / "slurm.conf"),
            "PATH": f"{ROOT / 'scripts' / 'slurm'}:{os.environ['PATH']}:{SYSTEM_PATH}",
        }

    def ask(self, *command: str) -> str:
        """What a command of SLURM prints."""
        return subprocess.run(command, env=self.environment, capture_output=True, text=True, check=True).stdout.strip()


def wait_until(condition: Callable[[], object], what: str, seconds: float = 120) -> None:
    """Wait until ``condition()`` is true; fails the test after ``seconds``."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"{what}: not within {seconds:.0f} s"
        time.sleep(0.2)


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """Starts the daemons, and stops them and all jobs whatever happens."""
    folder = Path(tempfile.mkdtemp(prefix="slurm-"))
    (folder / "state").mkdir()
    (folder / "spool").mkdir()
    host = socket.gethostname().partition(".")[0]
    controller_port, node_port = free_ports(2)
    (folder / "slurm.conf").write_text(
        SETTINGS.format(
            host=host,
            user=subprocess.run(["id", "-un"], capture_output=True, text=True, check=True).stdout.strip(),
            controller_port=controller_port,
            node_port=node_port,
            folder=folder,
            cpus=os.cpu_count(),
        )
    )
    started = Cluster(folder)
    daemons: list[subprocess.Popen[bytes]] = []
    try:
        for command in (["slurmctld", "-D"], ["slurmd", "-D", "-N", host]):
            with open(folder / f"{command[0]}.out", "wb") as output:
                daemons.append(subprocess.Popen(command, env=started.environment, stdout=output, stderr=output))
        wait_until(lambda: is_idle(started), f"idle node; see {folder}", seconds=60)
        yield started
    finally:
        stop(started, daemons)
    shutil.rmtree(folder)


def is_idle(cluster: Cluster) -> bool:
    """Whether the node waits for work."""
    answer = subprocess.run(["sinfo", "-h", "-o", "%T"], env=cluster.environment, capture_output=True, text=True)
    return answer.stdout.strip() == "idle"


def stop(cluster: Cluster, daemons: list[subprocess.Popen[bytes]]) -> None:
    """End all jobs, then the daemons."""
    try:
        cluster.ask("scancel", "--me")
        wait_until(lambda: not cluster.ask("squeue", "-h"), "the end of the jobs", seconds=30)
    except (OSError, subprocess.CalledProcessError, AssertionError):
        pass  # the daemons end all the same
    for daemon in reversed(daemons):
        daemon.send_signal(signal.SIGTERM)
    for daemon in daemons:
        try:
            daemon.wait(15)
        except subprocess.TimeoutExpired:
            daemon.kill()
            daemon.wait()


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports
