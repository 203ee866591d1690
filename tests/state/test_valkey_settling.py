"""A booking and its settlement on a real Redis are one act; and a Cluster takes all acts of accounts."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.state.redisserver import RedisServer, running
from tests.state.rows import paid
from tests.state.statefakes import HandClock
from tests.state.test_budgets_conformance import BOTH, HALF, KEY, TENANT, stand
from tests.state.test_identity_conformance import NOW, a_card, a_session, digest
from tests.state.test_valkey_budgets import DEADLINE_S, back, frozen
from tests.state.valkeyaccounts import DEADLINE_S as PATIENT_S
from tests.state.valkeyaccounts import budgets_of, connected, run

from askonce.domain.budget import Amounts, Settled
from askonce.domain.errors import StoreUnavailable
from askonce.domain.identity import Edition, Holder
from askonce.domain.ledger import Anchor, AuditRow, CallRow
from askonce.state.valkey import books as module
from askonce.state.valkey.address import parse
from askonce.state.valkey.anchors import ValkeyAnchors
from askonce.state.valkey.answers import ValkeyAnswers
from askonce.state.valkey.books import ValkeyBooks
from askonce.state.valkey.budgets import ValkeyBudgets
from askonce.state.valkey.directory import ValkeyDirectory
from askonce.state.valkey.glance import ValkeyGlance
from askonce.state.valkey.library import LibraryServer
from askonce.state.valkey.outbox import ValkeyOutbox
from askonce.state.valkey.server import BOOKS, Hour
from askonce.state.valkey.sessions import ValkeySessions
from askonce.state.valkey.single import SingleServer
from askonce.state.valkey.vendor_keys import ValkeyVendorKeys

READY_S = 10.0
LEASE_S = 3.0


def books_of(server: SingleServer, budgets: ValkeyBudgets) -> tuple[ValkeyBooks, ValkeyOutbox]:
    answers, outbox = ValkeyAnswers(server, Hour(), HandClock(), 1 << 20), ValkeyOutbox(server)
    return ValkeyBooks(server, answers, outbox, budgets, lambda ending, _: pytest.fail(f"{ending} was lost")), outbox


def test_an_ending_is_booked_settled_and_told_in_one_act(redis: RedisServer) -> None:
    redis.flush()
    with connected(redis) as server:
        owner = budgets_of(server, HandClock(), "n/0:1")
        books, outbox = books_of(server, owner)
        held = run(owner.reserve(BOTH, HALF))
        for _ in range(2):
            run(books.book(paid(), Settled(held, Amounts(1, 5, 90))))
        assert stand(owner) == ([(90, 0)], 0)
        assert [type(record) for record in run(outbox.head(9)).records] == [CallRow, AuditRow, CallRow]


def test_what_a_frozen_server_did_not_answer_is_booked_and_settled_once(redis: RedisServer) -> None:
    redis.flush()
    with connected(redis, DEADLINE_S) as server:
        owner = budgets_of(server, HandClock(), "n/0:1")
        books, outbox = books_of(server, owner)
        held = [run(owner.reserve(BOTH, Amounts(1, 5, 20))) for _ in range(2)]
        with frozen(redis):
            for reservation in held:
                run(books.book(paid(), Settled(reservation, Amounts(1, 5, 30))))
            run(books.beat())
            assert books.late == 2
        run(back(server))
        run(books.beat())
        assert books.late == 0
        assert stand(owner) == ([(60, 0)], 0)
        assert len(run(outbox.head(9)).records) == 2


def test_where_too_much_waits_to_be_booked_it_is_settled_all_the_same(
    redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LATE_MAX", 0)
    redis.flush()
    with connected(redis, DEADLINE_S) as server:
        owner = budgets_of(server, HandClock(), "n/0:1")
        books, _ = books_of(server, owner)
        held = run(owner.reserve(BOTH, HALF))
        with frozen(redis), pytest.raises(StoreUnavailable):
            run(books.book(paid(), Settled(held, Amounts(1, 5, 30))))
        run(back(server))
        run(owner.renew())
        assert stand(owner) == ([(30, 0)], 0)


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[LibraryServer]:
    with running(tmp_path / "redis", "--cluster-enabled", "yes") as redis:
        redis.ask("CLUSTER", "ADDSLOTSRANGE", "0", "16383")
        until = time.monotonic() + READY_S
        while b"cluster_state:ok" not in redis.ask("CLUSTER", "INFO"):
            assert time.monotonic() < until
            time.sleep(0.01)
        server = LibraryServer(parse(f"redis+cluster://127.0.0.1:{redis.port}"), PATIENT_S)
        yield server
        run(server.close())


def test_a_cluster_takes_all_acts(cluster: LibraryServer) -> None:
    clock = HandClock()
    dead, owner = (ValkeyBudgets(cluster, Hour(clock), clock, f"n/{slot}:1") for slot in range(2))
    held = [run(dead.reserve(BOTH, HALF)) for _ in range(2)]
    run(dead.settle(held[0], Amounts(1, 7, 85)))
    clock.pass_s(LEASE_S)
    assert run(owner.renew()) == 1
    assert stand(owner) == ([(85, 0)], 0)
    assert stand(owner, TENANT) == ([(7, 0)], 0)
    assert run(owner.reserve((KEY,), HALF)).held is False
    clock.pass_s(3 * 86_400)
    assert run(owner.sweep(100)) == 3

    directory, sessions = ValkeyDirectory(cluster, Hour(), clock), ValkeySessions(cluster)
    run(directory.replace([a_card(1, user_id="u1"), Holder("user:u1", version=1)], Edition("db", 1)))
    run(directory.catch_up([a_card(2)], Edition("db", 2)))
    assert run(directory.find(digest(1))).user == Holder("user:u1", version=1)
    assert run(directory.holders("user:u1")) == (Holder("user:u1", version=1),)
    run(sessions.open(a_session(1)))
    assert run(sessions.prolong(digest(1), NOW, NOW + 99))
    assert run(sessions.describe(digest(1), "curl", NOW))
    assert len(run(sessions.of_user("u1", NOW))) == run(sessions.close_all("u1")) == 1
    keys, anchors = ValkeyVendorKeys(cluster, Hour()), ValkeyAnchors(cluster)
    run(keys.put(b"sealed"))
    assert run(keys.read())[1] == b"sealed"
    run(anchors.note(Anchor(1, b"seal")))
    assert run(anchors.read()) == Anchor(1, b"seal")


def test_commands_see_and_note_what_all_nodes_share(redis: RedisServer) -> None:
    redis.flush()
    clock = HandClock()
    glance = ValkeyGlance(redis.url, clock)
    assert run(glance.read()) is None
    run(glance.note(Anchor(1, b"seal")))
    with connected(redis) as server:
        assert run(ValkeyAnchors(server).read()) == Anchor(1, b"seal")
        run(budgets_of(server, clock, "n/0:1").reserve(BOTH, HALF))
        assert run(glance.statement(KEY)).in_flight == 1
        assert run(server.call("ZCARD", BOOKS + b"qo")) == 1, "who looks is no owner"


def test_a_glance_at_a_server_that_is_away_says_so(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable):
        run(ValkeyGlance(f"redis+unix://{tmp_path}/none", HandClock()).read())
