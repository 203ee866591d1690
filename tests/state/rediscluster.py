"""A real Redis Cluster of three masters, for tests."""

import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.state.redisserver import RedisServer, free_port, running

READY_S = 30.0


class RedisCluster:
    """Hold the nodes; speaks to them as `RedisServer` does."""

    def __init__(self, nodes: list[RedisServer]) -> None:
        self.nodes = nodes

    @property
    def url(self) -> str:
        return "redis+cluster://" + ",".join(f"127.0.0.1:{node.port}" for node in self.nodes)

    def ask(self, *words: str) -> bytes:
        """Send one command to whichever node takes it."""
        replies = [node.ask(*words) for node in self.nodes]
        return next((reply for reply in replies if not reply.startswith(b"-")), replies[0])

    def flush(self) -> None:
        for node in self.nodes:
            node.flush()


@contextmanager
def running_cluster(folder: Path) -> Iterator[RedisCluster]:
    with ExitStack() as stack:
        # The bus listens 10,000 ports higher, which must be a port, too.
        nodes = [
            stack.enter_context(running(folder / str(at), "--cluster-enabled", "yes", "--cluster-port", "0", port=port))
            for at, port in enumerate(_ports())
        ]
        places = [f"127.0.0.1:{node.port}" for node in nodes]
        command = [shutil.which("redis-cli") or "redis-cli", "--cluster", "create", *places, "--cluster-yes"]
        subprocess.run(command, check=True, capture_output=True, timeout=READY_S)
        until = time.monotonic() + READY_S
        while not all(b"cluster_state:ok" in node.ask("CLUSTER", "INFO") for node in nodes):
            assert time.monotonic() < until, "the cluster did not come up"
            time.sleep(0.05)
        yield RedisCluster(nodes)


def _ports() -> list[int]:
    ports: list[int] = []
    while len(ports) < 3:
        port = free_port()
        if port < 55_000 and port not in ports:
            ports.append(port)
    return ports
