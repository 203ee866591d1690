"""The only file that knows xllamacpp, which is llama.cpp with its own HTTP server, built for a few platforms.

Import it late: where there is no build for the platform the import fails, and that is an answer too.
"""

from pathlib import Path

import xllamacpp  # type: ignore[import-untyped]
from msgspec import Struct

PROMPT_CACHE_MIB = 256  # the engine's own default is 8 GiB of earlier prompts
ERRORS_ONLY = 1  # llama.cpp's verbosity: 1 errors, 2 warnings, 3 a line per request
# Without `max_tokens` a small model that has begun to repeat itself would do so to the end of its context.
ANSWER_TOKENS = 4096
# Small models write better code with little chance in it; llama.cpp's own default is 0.8. A caller's word wins.
TEMPERATURE = 0.2


# Held for ever: who drops the last reference waits up to 30 s for open streams, in the destructor.
_serving: list[xllamacpp.Server] = []


class EngineSettings(Struct, frozen=True):
    """Hold what the engine is started with. `context_tokens` is per slot; `slots` calls run side by side."""

    path: Path
    alias: str
    host: str
    token: str
    threads: int
    slots: int
    context_tokens: int


class EngineFailed(Exception):
    """Report that the engine refused to start; it wrote its reasons to stderr."""


class Engine:
    """Serve the OpenAI shape until the process ends.

    Constructing it blocks, interpreter lock held, while the weights are loaded (0.5 to 3 s). `address` is
    `http://host:port` with a free port. There is no stop; leave the process by `os._exit`.
    """

    def __init__(self, settings: EngineSettings) -> None:
        try:
            server = xllamacpp.Server(_params(settings))
        except RuntimeError as error:
            raise EngineFailed(str(error)) from error
        _serving.append(server)
        self.address: str = server.listening_address


def _params(settings: EngineSettings) -> xllamacpp.CommonParams:
    params = xllamacpp.CommonParams()
    params.model.path = str(settings.path)
    params.model_alias = {settings.alias}
    params.hostnames = [settings.host]
    params.port = 0
    params.api_keys = [settings.token]
    params.n_parallel = settings.slots
    params.n_ctx = settings.context_tokens * settings.slots  # the engine divides it among the slots
    params.n_predict = min(ANSWER_TOKENS, settings.context_tokens)
    params.sampling.temp = TEMPERATURE
    params.cpuparams.n_threads = settings.threads
    params.cpuparams_batch.n_threads = settings.threads
    params.cache_ram_mib = PROMPT_CACHE_MIB
    params.use_jinja = True
    params.fit_params = False  # the context is given, and guessing costs a second load
    params.ui = False
    params.endpoint_slots = False  # shows prompts
    params.cors_origins = ""  # no web page has any business here
    params.offline = True
    params.verbosity = ERRORS_ONLY
    return params
