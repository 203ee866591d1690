"""The line to a single server: many calls at once, what is late, what was lost, what makes no sense."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from tests.state.redisserver import RedisServer, running

from askonce.domain.errors import StoreUnavailable
from askonce.state.valkey.address import parse
from askonce.state.valkey.server import Script, Unsent
from askonce.state.valkey.single import SingleServer

DEADLINE_S = 0.08


def play(url: str, scene: Callable[[SingleServer], Awaitable[None]], deadline_s: float = DEADLINE_S) -> None:
    async def main() -> None:
        server = SingleServer(parse(url), deadline_s)
        await server.open()
        try:
            await scene(server)
        finally:
            await server.close()

    asyncio.run(main())


async def back(server: SingleServer) -> None:
    """Wait until it answers."""
    async with asyncio.timeout(10):
        while True:
            try:
                await server.call("PING")
            except StoreUnavailable:
                await asyncio.sleep(0.02)
            else:
                return


def test_each_of_many_calls_gets_its_own_reply(redis: RedisServer) -> None:
    redis.flush()

    async def scene(server: SingleServer) -> None:
        echo = Script("return {ARGV[1], redis.call('INCR', KEYS[1])}")
        replies = await asyncio.gather(*(server.act(echo, [b"n"], [number]) for number in range(500)))
        assert [int(reply[0]) for reply in replies] == list(range(500))
        assert sorted(reply[1] for reply in replies) == list(range(1, 501))

    play(redis.url, scene, 5)


def test_a_script_that_was_flushed_is_loaded_again(redis: RedisServer) -> None:
    async def scene(server: SingleServer) -> None:
        script = Script("return 7")
        assert await server.act(script, [b"k"]) == 7
        await server.call("SCRIPT", "FLUSH")
        assert await server.act(script, [b"k"]) == 7

    play(redis.url, scene, 5)


def test_a_call_that_was_given_up_leaves_the_others_their_replies(redis: RedisServer) -> None:
    async def scene(server: SingleServer) -> None:
        tasks = [asyncio.ensure_future(server.call("ECHO", number)) for number in range(10)]
        await asyncio.sleep(0)
        tasks[3].cancel()
        replies = await asyncio.gather(*tasks, return_exceptions=True)
        assert [reply for reply in replies if isinstance(reply, bytes)] == [b"%d" % n for n in range(10) if n != 3]

    play(redis.url, scene, 5)


def test_a_frozen_server_costs_one_deadline_and_then_nothing(redis: RedisServer) -> None:
    async def scene(server: SingleServer) -> None:
        redis.freeze()
        try:
            begun = time.monotonic()
            results = await asyncio.gather(*(server.call("PING") for _ in range(50)), return_exceptions=True)
            assert all(isinstance(result, StoreUnavailable) for result in results)
            assert time.monotonic() - begun < 2
            begun = time.monotonic()
            for _ in range(50):
                with pytest.raises(Unsent):
                    await server.call("PING")
            assert time.monotonic() - begun < DEADLINE_S
        finally:
            redis.thaw()
        await back(server)

    play(redis.url, scene)


def test_a_killed_server_is_found_again(tmp_path: Path) -> None:
    with running(tmp_path / "redis") as redis:

        async def scene(server: SingleServer) -> None:
            await server.call("PING")
            redis.kill()
            with pytest.raises(StoreUnavailable):
                await server.call("PING")
            redis.start()
            await back(server)

        play(redis.url, scene, 2)


def test_a_wrong_password_is_told_as_such(tmp_path: Path) -> None:
    with running(tmp_path / "redis", "--requirepass", "right") as redis:

        async def scene(server: SingleServer) -> None:
            with pytest.raises(Unsent, match="refuses the user or the password"):
                await server.call("PING")

        async def welcome(server: SingleServer) -> None:
            assert await server.call("ECHO", "x") == b"x"

        play(redis.url.replace("127", ":wrong@127"), scene, 2)
        play(redis.url.replace("127", ":right@127"), welcome, 2)


def test_an_acl_that_forbids_is_told(tmp_path: Path) -> None:
    with running(tmp_path / "redis", "--user", "askonce", "on", ">pw", "~askonce:*", "+@all") as redis:

        async def scene(server: SingleServer) -> None:
            await server.call("SET", "askonce:1:x", 1)
            with pytest.raises(StoreUnavailable, match="ACL"):
                await server.call("SET", "foreign", 1)

        play(redis.url.replace("127", "askonce:pw@127"), scene, 2)


def test_a_full_server_is_told(tmp_path: Path) -> None:
    with running(tmp_path / "redis", "--maxmemory", "1mb", "--maxmemory-policy", "noeviction") as redis:

        async def scene(server: SingleServer) -> None:
            writes = [server.call("SET", f"k{number}", "x" * 100_000) for number in range(100)]
            refused = [str(reply) for reply in await asyncio.gather(*writes, return_exceptions=True)]
            assert "no memory left" in refused[-1]
            redis.ask("CONFIG", "SET", "maxmemory", "1")
            with pytest.raises(StoreUnavailable, match="no memory left"):
                await server.act(Script("return redis.call('SET', KEYS[1], 'x')"), [b"k"])

        play(redis.url, scene, 2)


def test_who_speaks_something_else_is_hung_up_on() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await reader.read(1000)
        writer.close()

    async def main() -> None:
        other = await asyncio.start_server(talk, "127.0.0.1", 0)
        port = other.sockets[0].getsockname()[1]
        server = SingleServer(parse(f"redis://127.0.0.1:{port}"), 1)
        await server.open()
        with pytest.raises(Unsent, match="does not speak the protocol"):
            await server.call("PING")
        await server.close()
        other.close()
        await other.wait_closed()

    asyncio.run(main())


def test_nobody_there_is_told_at_once() -> None:
    async def scene(server: SingleServer) -> None:
        with pytest.raises(Unsent, match="Connect call failed"):
            await server.call("PING")

    play("redis://127.0.0.1:1", scene)
