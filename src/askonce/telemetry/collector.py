"""Where OpenTelemetry's signals go, and as whose."""

import os
from collections.abc import Mapping

from msgspec import Struct
from opentelemetry.sdk.resources import Resource

from askonce import __version__

TIMEOUT_S = 2.0  # for one batch, and for the last ones at the end


class Collector(Struct, frozen=True):
    """Say where signals go: the collector's base address, its headers, and which share of the traces that begin here.

    `service` and `node` name us there, besides what OTEL_RESOURCE_ATTRIBUTES says.
    """

    endpoint: str
    headers: Mapping[str, str]
    share: float
    service: str
    node: str
    process: str


def resource(to: Collector) -> Resource:
    """Describe this process."""
    return Resource.create(
        {
            "service.name": to.service,
            "service.version": __version__,
            "service.instance.id": f"{to.node}/{to.process}",
            "process.pid": os.getpid(),
        }
    )
