"""One real Redis for all tests of the state; each test that wants it empties it first."""

from collections.abc import Iterator

import pytest
from tests.state.rediscluster import RedisCluster, running_cluster
from tests.state.redisserver import RedisServer, running


@pytest.fixture(scope="session")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with running(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisCluster]:
    with running_cluster(tmp_path_factory.mktemp("cluster")) as nodes:
        yield nodes
