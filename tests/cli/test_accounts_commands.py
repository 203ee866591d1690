"""Keys, tenants, users and providers' keys by the command line, on a real database, with no server running."""

import asyncio
from pathlib import Path

import pytest
from tests.cli.officeworld import Desk
from tests.ledger.postgres import Postgres, postgres

from askonce.config.sealing import Sealer
from askonce.config.secret import KEY_HASHES, PROVIDER_KEYS, find_secret
from askonce.domain.clock import SystemClock
from askonce.domain.credentials import is_sound, key_digest
from askonce.domain.identity import Standing
from askonce.ledger.engine import open_engine
from askonce.ledger.key_feed import SqlFeed, refresh
from askonce.ledger.vault import SqlProviderKeys
from askonce.state.memory_identity import MemoryDirectory

__all__ = ["postgres"]

SECRET = "0123456789abcdef0123456789abcdef"


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Desk:
    return Desk(tmp_path, monkeypatch, capsys)


def in_force(folder: Path, key: str, url: str = "") -> Standing | None:
    """Ask as a gateway would."""

    async def ask() -> Standing | None:
        engine, directory = open_engine(url, folder), MemoryDirectory()
        try:
            await refresh(SqlFeed(engine, SystemClock()), directory)
        finally:
            await engine.dispose()
        return await directory.find(key_digest(find_secret("", folder).subkey(KEY_HASHES), key))

    return asyncio.run(ask())


def test_a_key_that_was_made_is_the_one_that_gateways_know(desk: Desk) -> None:
    done = desk.well(
        "keys", "create", "my bot", "--quiet", "--budget", "10$/day", "--budget", "1M tokens/month@Europe/Berlin",
        "--concurrency", "4", "--model", "gpt-4o*,o3", "--provider", "openai", "--address", "10.0.0.0/8",
        "--scope", "report", "--scope", "use", "--expires", "30d",
    )  # fmt: skip
    key = done.out.strip()
    assert is_sound(key)
    assert done.out == key + "\n"
    assert done.err == ""
    standing = in_force(desk.data, key)
    assert standing is not None
    card = standing.card
    assert (card.name, card.tenant, card.scopes) == ("my bot", "default", ("use", "report"))
    assert (card.models, card.providers, card.addresses) == (("gpt-4o*", "o3"), ("openai",), ("10.0.0.0/8",))
    assert [(b.metric, b.span, b.amount, b.zone) for b in card.bounds.budgets] == [
        ("nano_dollars", "day", 10 * 10**9, "UTC"),
        ("tokens", "month", 10**6, "Europe/Berlin"),
    ]
    assert card.bounds.concurrency == 4
    assert abs(card.expires_ms - card.created_ms - 30 * 86_400_000) < 60_000


def test_a_key_is_shown_once_and_never_again(desk: Desk) -> None:
    key = desk.well("keys", "create", "a").out.split()[0]
    rest = [desk.well("keys", "list"), desk.well("keys", "list", "--json"), desk.well("keys", "show", key)]
    rest += [desk.well("audit", "show", "--json"), desk.well("keys", "revoke", key[:14])]
    assert all(key not in done.out + done.err for done in rest)
    assert key.encode() not in (desk.data / "ledger.db").read_bytes()


def test_a_key_is_changed_in_what_is_named_only(desk: Desk) -> None:
    key = desk.well("keys", "create", "a", "--model", "gpt-4o", "--budget", "$1/day", "--json").json
    changed = desk.well("keys", "change", key["id"], "--concurrency", "2", "--name", "b", "--json").json
    assert (changed["name"], changed["budgets"], changed["concurrency"]) == ("b", ["$1/day"], 2)
    assert changed["models"] == ["gpt-4o"]
    changed = desk.well("keys", "change", key["id"], "--budget", "none", "--model", "any", "--json").json
    assert (changed["budgets"], changed["models"], changed["concurrency"]) == ([], [], 2)
    assert desk("keys", "change", key["id"]).code == 2


def test_a_revoked_key_ends_and_leaves_the_list(desk: Desk) -> None:
    key = desk.well("keys", "create", "a", "--quiet").out.strip()
    desk.well("keys", "revoke", key[:14])
    standing = in_force(desk.data, key)
    assert standing is not None
    assert standing.card.revoked_ms
    assert desk.well("keys", "list", "--json").json == []
    assert desk.well("keys", "list", "--all", "--json").json[0]["state"] == "revoked"
    assert desk("keys", "change", key[:14], "--name", "x").code == 2


def test_a_rotated_key_has_a_successor_that_may_do_the_same(desk: Desk) -> None:
    former = desk.well("keys", "create", "a", "--budget", "$1/day", "--json").json
    key = desk.well("keys", "rotate", former["id"], "--grace", "1h", "--quiet").out.strip()
    standing, old = in_force(desk.data, key), in_force(desk.data, former["key"])
    assert standing is not None
    assert old is not None
    assert standing.card.bounds == old.card.bounds
    assert standing.card.name == "a"
    assert 0 < old.card.expires_ms - standing.card.created_ms <= 3_600_000
    assert desk("keys", "rotate", former["id"]).code == 2


def test_users_belong_to_tenants_and_keys_to_users(desk: Desk) -> None:
    desk.well("tenants", "create", "acme", "--name", "Acme Ltd", "--budget", "$100/month")
    user = desk.well("users", "create", "Ada@example.org", "--tenant", "acme", "--scope", "admin", "--json").json
    assert (user["email"], user["scopes"]) == ("ada@example.org", ["admin"])
    key = desk.well("keys", "create", "hers", "--user", "ada@example.org", "--json").json
    assert (key["tenant"], key["userId"]) == ("acme", user["id"])
    assert [one["id"] for one in desk.well("users", "list", "--tenant", "acme", "--json").json] == [user["id"]]
    assert desk.well("users", "list", "--tenant", "other", "--json").json == []
    refused = desk("keys", "create", "x", "--user", user["id"], "--tenant", "default")
    assert refused.code == 2
    assert "belongs to the tenant acme" in refused.err


def test_who_is_disabled_is_refused_and_can_be_let_in_again(desk: Desk) -> None:
    desk.well("tenants", "create", "acme")
    user = desk.well("users", "create", "ada@example.org", "--tenant", "acme", "--json").json
    key = desk.well("keys", "create", "hers", "--user", user["id"], "--quiet").out.strip()
    desk.well("users", "disable", user["id"])
    desk.well("tenants", "change", "acme", "--disable")
    standing = in_force(desk.data, key)
    assert standing is not None
    assert standing.user is not None
    assert standing.tenant is not None
    assert standing.user.disabled_ms
    assert standing.tenant.disabled_ms
    assert desk("users", "link", user["id"]).code == 2
    desk.well("users", "change", user["id"], "--enable")
    desk.well("tenants", "change", "acme", "--enable", "--budget", "$5/day")
    standing = in_force(desk.data, key)
    assert standing is not None
    assert standing.user is not None
    assert standing.tenant is not None
    assert not standing.user.disabled_ms
    assert not standing.tenant.disabled_ms
    assert standing.tenant.bounds.budgets[0].amount == 5 * 10**9


def test_a_login_link_names_the_server_and_is_recorded_without_its_word(desk: Desk) -> None:
    desk.well("tenants", "create", "acme")
    desk.well("users", "create", "ada@example.org", "--tenant", "acme")
    link = desk.well("users", "link", "ada@example.org", "--url", "https://ask.example.org/").out.strip()
    assert link.startswith("https://ask.example.org/login?word=")
    word = link.rpartition("=")[2]
    told = desk.well("audit", "show", "--action", "link.issued", "--json").out
    assert len(word) == 43
    assert "expires" in told
    assert word not in told
    assert desk("users", "link", "ada@example.org", "--valid", "8d").code == 2


def test_providers_keys_are_read_from_stdin_and_kept_encrypted(desk: Desk) -> None:
    secret = "sk-proj-abcdefghijklmnopqrstuvwxyz"
    kept = desk.well("provider-keys", "add", "openai", "--name", "main", "--json", stdin=secret + "\n").json
    assert kept["hint"] == "sk-p…wxyz"
    assert revealed(desk.data) == [secret]
    assert secret.encode() not in (desk.data / "ledger.db").read_bytes()
    desk.well("provider-keys", "rotate", kept["id"], stdin="sk-proj-another-secret-of-that-provider")
    assert revealed(desk.data) == ["sk-proj-another-secret-of-that-provider"]
    desk.well("provider-keys", "retire", kept["id"])
    assert revealed(desk.data) == []
    assert desk.well("provider-keys", "list", "--json").json == []
    assert len(desk.well("provider-keys", "list", "--all", "--json").json) == 1
    assert desk("provider-keys", "add", "openai", stdin="").code == 2
    assert "sk-proj" not in desk.well("audit", "show", "--json").out


def revealed(folder: Path) -> list[str]:
    async def reveal() -> list[str]:
        engine = open_engine("", folder)
        try:
            sealer = Sealer(find_secret("", folder).subkeys(PROVIDER_KEYS))
            return [key.secret for key in await SqlProviderKeys(engine, sealer, SystemClock()).reveal()]
        finally:
            await engine.dispose()

    return asyncio.run(reveal())


def test_after_a_change_of_the_secret_stored_keys_are_sealed_anew(desk: Desk) -> None:
    desk.well("provider-keys", "add", "openai", stdin="sk-proj-abcdefghijklmnopqrstuvwxyz")
    former = (desk.data / "secret").read_text().strip()
    (desk.data / "secret").unlink()
    desk.set("ASKONCE_SECRET", f"{SECRET},{former}")
    assert desk.well("provider-keys", "reseal").out == "1 keys were sealed anew.\n"
    assert desk.well("audit", "verify").code == 0
    desk.set("ASKONCE_SECRET", SECRET)
    desk.well("provider-keys", "add", "openai", stdin="sk-proj-second-abcdefghijklmnopqr")


@pytest.mark.parametrize(
    ("arguments", "code", "cure"),
    [
        (("keys", "show", "nope"), 4, "There is no key 'nope'"),
        (("keys", "revoke", "ask_0123456789"), 4, "There is no key '0123456789'"),
        (("users", "disable", "nobody@example.org"), 4, "There is no user"),
        (("tenants", "change", "nowhere", "--name", "x"), 4, "There is no tenant"),
        (("provider-keys", "retire", "nope"), 4, "There is no provider key"),
        (("budgets", "show", "tenant:nowhere"), 4, "There is no tenant"),
        (("keys", "create", "a", "--budget", "a lot"), 2, "write it as $10/day"),
        (("keys", "create", "a", "--budget", "$1/day@Mars/Olympus"), 2, "there is no time zone"),
        (("keys", "create", "a", "--scope", "everything"), 2, "there are use, report, admin, root"),
        (("keys", "create", "a", "--tenant", "nowhere"), 2, "make it first"),
        (("keys", "create", "a", "--expires", "soon"), 2, "such as 15m, 12h or 30d"),
        (("keys", "create", "a", "--expires", "2020-01-01"), 2, "lies in the past"),
        (("keys", "create", "a", "--address", "home"), 2, "10.0.0.0/8"),
        (("tenants", "create", "key-x"), 2, "key-…"),
        (("users", "create"), 2, "a user needs an address or a name"),
        (("usage", "--by", "colour"), 2, "there are hour, day"),
        (("usage", "--by", "day,month"), 2, "one of hour, day and month"),
        (("usage", "--from", "yesterday"), 2, "such as 2026-11-01"),
        (("requests", "--kind", "odd"), 2, "there is no such kind"),
    ],
)
def test_what_cannot_be_done_is_said_with_the_cure(
    desk: Desk, arguments: tuple[str, ...], code: int, cure: str
) -> None:
    done = desk(*arguments)
    assert done.code == code, done
    assert cure in done.err
    assert done.err.startswith("askonce: ")
    assert done.out == ""


def test_a_database_that_is_away_is_told_from_a_wrong_address(desk: Desk) -> None:
    desk.set("DATABASE_URL", "postgresql://x:hidden-word@127.0.0.1:1/x")
    away = desk("keys", "list")
    assert away.code == 3
    assert "The database is away" in away.err
    assert "hidden-word" not in away.err
    desk.set("DATABASE_URL", "mysql://x:hidden-word@h/x")
    wrong = desk("keys", "list")
    assert wrong.code == 2
    assert "DATABASE_URL" in wrong.err
    assert "hidden-word" not in wrong.err


def test_a_strangers_folder_cannot_choose_where_secrets_go(desk: Desk) -> None:
    for url in ("postgresql://x@192.0.2.1/x", "postgresql:///x?host=192.0.2.1", "postgresql://127.0.0.1,192.0.2.1/x"):
        (desk.folder / "askonce.toml").write_text(f'database_url = "{url}"\n')
        refused = desk("provider-keys", "add", "openai", stdin="sk-proj-abcdefghijklmnopqrstuvwxyz")
        assert refused.code == 2
        assert "names a database on another machine" in refused.err
    (desk.folder / "askonce.toml").write_text('database_url = "sqlite:///mine.db"\n')
    desk.well("keys", "list")
    assert (desk.data / "mine.db").exists()


def test_with_another_secret_nothing_is_made_that_nobody_could_check(desk: Desk) -> None:
    desk.well("keys", "create", "a")
    (desk.data / "secret").unlink()
    desk.set("ASKONCE_SECRET", SECRET)
    for arguments in (("keys", "create", "b"), ("tenants", "create", "acme"), ("users", "create", "a@b")):
        done = desk(*arguments)
        assert done.code == 2, done
        assert "ASKONCE_SECRET" in done.err
        assert "another secret" in done.err
    assert len(desk.well("keys", "list", "--json").json) == 1
    assert desk.well("tenants", "list", "--json").json[0]["id"] == "default"


def test_the_folder_is_one_that_a_server_accepts(desk: Desk) -> None:
    desk.well("keys", "create", "a")
    assert {entry.name for entry in desk.data.iterdir()} >= {"askonce.json", "secret", "ledger.db"}
    assert desk.data.stat().st_mode & 0o77 == 0
    (desk.folder / "other").mkdir()
    (desk.folder / "other" / "letter").touch()
    desk.set("ASKONCE_DATA_DIR", str(desk.folder / "other"))
    assert desk("keys", "list").code == 2
    assert [entry.name for entry in (desk.folder / "other").iterdir()] == ["letter"]


def test_a_database_user_who_may_make_nothing_is_told_so(desk: Desk, postgres: Postgres) -> None:
    url = postgres.database()
    asyncio.run(postgres._execute("CREATE ROLE poor LOGIN"))
    desk.set("DATABASE_URL", url.replace("askonce@", "poor@"))
    done = desk("keys", "list")
    assert done.code == 1
    assert "may this user make tables there?" in done.err
    postgres.drop(url)


def test_postgresql_is_a_matter_of_the_address(desk: Desk, postgres: Postgres) -> None:
    url = postgres.database()
    desk.set("DATABASE_URL", url)
    desk.well("tenants", "create", "acme")
    desk.well("users", "create", "ada@example.org", "--tenant", "acme")
    key = desk.well("keys", "create", "a", "--user", "ada@example.org", "--quiet").out.strip()
    rotated = desk.well("keys", "rotate", key, "--quiet").out.strip()
    desk.well("keys", "revoke", key)
    assert in_force(desk.data, rotated, url) is not None
    assert desk("keys", "create", "a", "--tenant", "nowhere").code == 2
    desk.well("provider-keys", "add", "openai", stdin="sk-proj-abcdefghijklmnopqrstuvwxyz")
    assert [row["action"] for row in desk.well("audit", "show", "--json").json] == [
        "tenant.created", "user.created", "key.created", "key.rotated", "key.revoked", "provider_key.added",
    ]  # fmt: skip
    assert desk.well("audit", "verify", "--json").json["sound"]
    assert not (desk.data / "ledger.db").exists()
    postgres.drop(url)
