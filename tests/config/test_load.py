"""Settings from all three sources: who wins, what is understood, and what is refused in which words."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from askonce.config.load import Loaded, is_loopback, load
from askonce.config.settings import ModelPrice, ProviderSettings, RateLimit, StaticKey
from askonce.config.vendors import VendorVariables
from askonce.domain.errors import ConfigError

VENDORS = (
    VendorVariables("openai", ("OPENAI_API_KEY",), "OPENAI_BASE_URL"),
    VendorVariables("gemini", ("GEMINI_API_KEY", "GOOGLE_API_KEY"), "GEMINI_BASE_URL"),
    VendorVariables("ollama", (), "OLLAMA_HOST"),
)


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def loaded(
    environ: Mapping[str, str] | None = None, toml: str = "", arguments: Mapping[str, str] | None = None
) -> Loaded:
    environ = {"XDG_CONFIG_HOME": "/nonexistent", "XDG_DATA_HOME": str(Path.cwd())} | dict(environ or {})
    path = None
    if toml:
        path = Path("given.toml")
        path.write_text(toml)
    return load(arguments or {}, environ, path, VENDORS)


def refusal(
    environ: Mapping[str, str] | None = None, toml: str = "", arguments: Mapping[str, str] | None = None
) -> str:
    with pytest.raises(ConfigError) as refused:
        loaded(environ, toml, arguments)
    return str(refused.value)


def test_nothing_set_gives_the_promised_defaults() -> None:
    config = loaded().config
    assert (config.host, config.port, config.workers) == ("127.0.0.1", 3001, 1)
    assert (config.cache, config.cache_ttl_s, config.cache_size_bytes) == (True, 3600, 2 << 30)
    assert (config.limit_llm, config.limit_standard) == (RateLimit(20, 60), RateLimit(100, 60))
    assert (config.body_limit_bytes, config.local_model) == (16 << 20, "auto")
    assert config.data_dir == str(Path.cwd() / "askonce")


def test_command_line_over_environment_over_file_and_each_origin_is_kept() -> None:
    found = loaded({"ASKONCE_PORT": "2", "ASKONCE_WORKERS": "2"}, "port = 1\nworkers = 1\ncache = false", {"port": "3"})
    assert (found.config.port, found.config.workers, found.config.cache) == (3, 2, False)
    assert found.origins["port"] == "command line"
    assert found.origins["workers"] == "environment ASKONCE_WORKERS"
    assert found.origins["cache"].endswith("given.toml")
    assert found.origins["host"] == "default"


@pytest.mark.parametrize(
    ("key", "written", "field", "meant"),
    [
        ("cache_ttl", "3600", "cache_ttl_s", 3600),
        ("cache_ttl", "1h", "cache_ttl_s", 3600),
        ("cache_ttl", "7d", "cache_ttl_s", 604800),
        ("drain", "250ms", "drain_s", 0.25),
        ("drain", "1.5", "drain_s", 1.5),
        ("cache_size", "2GiB", "cache_size_bytes", 2 << 30),
        ("cache_size", "512MB", "cache_size_bytes", 512_000_000),
        ("cache_size", "512 mib", "cache_size_bytes", 512 << 20),
        ("cache_size", "4194304", "cache_size_bytes", 4 << 20),
        ("body_limit", "64k", "body_limit_bytes", 64000),
        ("limit_llm", "20/60s", "limit_llm", RateLimit(20, 60)),
        ("limit_llm", "5/m", "limit_llm", RateLimit(5, 60)),
        ("limit_llm", "1000 / 1h", "limit_llm", RateLimit(1000, 3600)),
        ("limit_llm", "off", "limit_llm", None),
        ("cache", "OFF", "cache", False),
        ("cache", "yes", "cache", True),
        ("open", "1", "open", True),
        ("log_level", "DEBUG", "log_level", "debug"),
        ("local_model", "Off", "local_model", "off"),
        ("local_model", "qwen2.5-coder-1.5b", "local_model", "qwen2.5-coder-1.5b"),
        ("trusted_proxies", "10.0.0.0/8, 192.168.1.7", "trusted_proxies", ("10.0.0.0/8", "192.168.1.7/32")),
        ("keys", "team:sk-12345678", "keys", (StaticKey("sk-12345678", "team"),)),
    ],
)
def test_a_value_is_understood(key: str, written: str, field: str, meant: object) -> None:
    assert getattr(loaded({f"ASKONCE_{key.upper()}": written}).config, field) == meant
    assert getattr(loaded(arguments={key: written}).config, field) == meant
    assert getattr(loaded(toml=f'{key} = "{written}"').config, field) == meant


@pytest.mark.parametrize(
    ("toml", "field", "meant"),
    [
        ("cache = true", "cache", True),
        ("limit_llm = false", "limit_llm", None),
        ("local_model = false", "local_model", "off"),
        ("cache_ttl = 60", "cache_ttl_s", 60),
        ("drain = 0.5", "drain_s", 0.5),
        ('keys = ["a:12345678", "a:87654321"]', "keys", (StaticKey("12345678", "a"), StaticKey("87654321", "a"))),
        ('trusted_proxies = ["::1"]', "trusted_proxies", ("::1/128",)),
        ('[aliases]\nfast = "openai:gpt-4o-mini"', "aliases", {"fast": "openai:gpt-4o-mini"}),
    ],
)
def test_toml_may_use_its_own_types(toml: str, field: str, meant: object) -> None:
    assert getattr(loaded(toml=toml).config, field) == meant


def test_timeouts_reach_the_deadlines() -> None:
    deadlines = loaded({"ASKONCE_FIRST_BYTE_TIMEOUT": "2m"}, arguments={"total_timeout": "90"}).config.deadlines
    assert (deadlines.first_byte_s, deadlines.total_s, deadlines.connect_s) == (120.0, 90.0, 5.0)


def test_a_bare_key_is_a_tenant_of_its_own_and_the_same_one_every_time() -> None:
    first, second = loaded({"ASKONCE_KEYS": "sk-aaaaaaaa,sk-bbbbbbbb"}).config.keys
    assert first.tenant != second.tenant
    assert first.tenant == "key-961b15a4201d"  # of SHA-256("sk-aaaaaaaa")
    assert "aaaa" not in first.tenant


@pytest.mark.parametrize(
    ("key", "written", "says"),
    [
        ("port", "70000", "from 0 to 65535"),
        ("port", "http", "from 0 to 65535"),
        ("port", "-1", "from 0 to 65535"),
        ("workers", "0", "from 1 to 256"),
        ("cache", "maybe", "on or off"),
        ("cache_ttl", "soon", "such as 90, 10m or 1h"),
        ("cache_ttl", "0", "such as 90, 10m or 1h"),
        ("cache_ttl", "1.5", "whole seconds"),
        ("cache_size", "2 TB per day", "512MB or 2GiB"),
        ("cache_size", "10kB", "512MB or 2GiB"),
        ("limit_llm", "20", "20/60s"),
        ("limit_llm", "0/60s", "20/60s"),
        ("limit_llm", "20/0s", "90, 10m or 1h"),
        ("log_level", "loud", "one of debug, info"),
        ("trusted_proxies", "my-proxy", "10.0.0.0/8"),
        ("host", "   ", "is empty"),
    ],
)
def test_a_value_that_makes_no_sense_is_refused_with_key_value_origin_and_cure(
    key: str, written: str, says: str
) -> None:
    message = refusal(arguments={key: written})
    assert says in message
    assert message.startswith(key)
    if key != "host":
        assert written in message
        assert "command line" in message


@pytest.mark.parametrize(
    "keys",
    ["short", "sk-1234567 8", "sk-1234567é", "a b:12345678", "anonymous:12345678", "key-1:12345678", ":12345678"],
)
def test_a_bad_key_is_refused_without_being_told(keys: str) -> None:
    message = refusal({"ASKONCE_KEYS": keys})
    assert keys not in message
    assert "environment ASKONCE_KEYS" in message


def test_the_same_key_for_two_tenants_is_refused() -> None:
    assert "twice" in refusal({"ASKONCE_KEYS": "a:12345678,b:12345678"})


@pytest.mark.parametrize(
    ("environ", "says"),
    [
        ({"ASKONCE_PROT": "1"}, "ASKONCE_PROT (did you mean ASKONCE_PORT?)"),
        ({"ASKONCE_XYZZY": "1"}, "There is no setting ASKONCE_XYZZY;"),
    ],
)
def test_a_variable_that_would_be_ignored_is_refused(environ: dict[str, str], says: str) -> None:
    assert says in refusal(environ)


def test_other_programs_variables_are_only_remarked_on() -> None:
    found = loaded({"OTEL_EXPORTER_OTLP_PROTOCOL": "secret", "PATH": "/bin"})
    assert [remark.split()[0] for remark in found.remarks] == ["OTEL_EXPORTER_OTLP_PROTOCOL"]
    assert "secret" not in "".join(found.remarks)


def test_the_database_is_named_as_other_programs_name_it() -> None:
    found = loaded({"DATABASE_URL": "postgres://u:p@x/y"})
    assert found.config.database_url == "postgres://u:p@x/y"
    assert found.origins["database_url"] == "environment DATABASE_URL"
    assert "ASKONCE_DATABASE_URL" in refusal({"ASKONCE_DATABASE_URL": "x"})


def test_an_empty_variable_counts_as_absent() -> None:
    found = loaded({"ASKONCE_PORT": " ", "ASKONCE_KEYS": "", "OPENAI_API_KEY": "", "STATE_URL": ""})
    assert found.origins["port"] == "default"
    assert found.config.providers == ()


@pytest.mark.parametrize(
    ("toml", "says"),
    [
        ("prot = 1", "there is no setting prot (did you mean port?)"),
        ("port = 1\nport = = 2", "line 2"),
        ("[port]\nx = 1", "port must be a plain value"),
        ("providers = 3", "providers must be a table"),
        ('sentry_dsn = "https://x"', "https://key@o1.ingest.sentry.io/42"),
        ('sentry_dsn = "https://k@x/project"', "a DSN as Sentry shows it"),
        ('[providers.openai]\nbaseurl = "x"', "no setting baseurl (did you mean base_url?)"),
        ("[providers.openai]\napi_key = 3", "api_key: must be text in quotes, not a whole number"),
        ('[providers.opnai]\napi_key = "x"', "not in the catalog"),
        ('[providers.OpenAI]\nbase_url = "http://x"', "lower-case"),
        ('[providers.local]\nbase_url = "http://x"', "local_model"),
        ('[providers.x]\nbase_url = "ftp://x"', "https://host/v1"),
        ('[providers.x]\nbase_url = "http://me:pw@host"', "put the key in its api_key"),
        ('[providers.x]\nbase_url = "http://:pw@host:99999"', "https://host/v1"),
        ('[providers.x]\nbase_url = "http://:pw@host/v1"', "put the key in its api_key"),
        ('[providers.x]\nbase_url = "http://@host/v1"', "put the key in its api_key"),
        ('[providers.x]\nbase_url = "http://host:99999"', "https://host/v1"),
        ("[providers.scripted]", "needs `script`"),
        ('[providers.openai]\nscript = "x"', "only [providers.scripted]"),
        ('[providers.openai.prices.m]\ninput = "1"', "prices.…: `output` is missing"),
        ('[providers.openai.prices.m]\ninput = "cheap"\noutput = 1', "dollars per million"),
        ("[providers.openai.prices.m]\ninput = -1\noutput = 1", "dollars per million"),
        ("[aliases]\nfast = 3", "another model's name"),
        ('[aliases]\nfast = "fast"', "another model's name"),
    ],
)
def test_a_file_that_makes_no_sense_is_refused_by_its_name(toml: str, says: str) -> None:
    message = refusal(toml=toml)
    assert says in message
    assert "given.toml" in message
    assert "pw@" not in message


def test_a_file_that_is_not_utf8_or_not_there_is_refused(tmp_path: Path) -> None:
    (tmp_path / "latin").write_bytes(b'host = "\xe9"')
    with pytest.raises(ConfigError, match="not UTF-8"):
        load({}, {}, tmp_path / "latin")
    with pytest.raises(ConfigError, match="no configuration file"):
        load({}, {"ASKONCE_CONFIG": str(tmp_path / "none")}, None)


def test_the_file_is_found_where_it_is_promised(tmp_path: Path) -> None:
    home = tmp_path / "home" / "askonce"
    home.mkdir(parents=True)
    (home / "askonce.toml").write_text("port = 1")
    environ = {"XDG_CONFIG_HOME": str(tmp_path / "home"), "XDG_DATA_HOME": str(tmp_path)}
    assert load({}, environ, None).config.port == 1
    (tmp_path / "askonce.toml").write_text("port = 2")
    assert load({}, environ, None).config.port == 2
    (tmp_path / "third.toml").write_text("port = 3")
    assert load({}, environ | {"ASKONCE_CONFIG": str(tmp_path / "third.toml")}, None).config.port == 3
    (tmp_path / "fourth.toml").write_text("port = 4")
    given = load({}, environ | {"ASKONCE_CONFIG": str(tmp_path / "third.toml")}, tmp_path / "fourth.toml")
    assert given.config.port == 4


def test_relative_paths_start_from_the_file_or_the_working_folder(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "a.toml").write_text('data_dir = "data"')
    assert load({}, {}, tmp_path / "etc" / "a.toml").config.data_dir == str(tmp_path / "etc" / "data")
    assert loaded({"ASKONCE_DATA_DIR": "data"}).config.data_dir == str(tmp_path / "data")
    (tmp_path / "etc" / "a.toml").write_text('[providers.scripted]\nscript = "s.toml"')
    assert load({}, {}, tmp_path / "etc" / "a.toml").config.providers[0].script == str(tmp_path / "etc" / "s.toml")


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.2", "example.com"])
def test_beyond_loopback_needs_keys_or_open(host: str) -> None:
    assert "set ASKONCE_KEYS" in refusal({"ASKONCE_HOST": host})
    assert loaded({"ASKONCE_HOST": host, "ASKONCE_KEYS": "sk-12345678"}).config.host == host
    assert loaded({"ASKONCE_HOST": host, "ASKONCE_OPEN": "on"}).config.open


TWO_KEYS = {"ASKONCE_KEYS": "team:sk-12345678,sk-abcdefgh"}


@pytest.mark.parametrize(
    ("written", "doors"),
    [
        ("/v1/messages", ("/v1/messages",)),
        ("/v1", ("/v1/chat/completions", "/v1/responses", "/v1/messages", "/v1/embeddings")),
        ("/v1/", ("/v1/chat/completions", "/v1/responses", "/v1/messages", "/v1/embeddings")),
        ("/llm/generate, /v1/messages/ ,/llm/generate", ("/llm/generate", "/v1/messages")),
        ("", ()),
    ],
)
def test_doors_may_have_the_cache_off_unless_asked_for(written: str, doors: tuple[str, ...]) -> None:
    assert loaded({"ASKONCE_CACHE_OFF_DOORS": written}).config.cache_off_doors == doors


@pytest.mark.parametrize("written", ["/v2", "v1", "/v1/models", "/llm", "messages", "/v1/messages/count_tokens"])
def test_what_is_no_asking_door_is_refused_by_name(written: str) -> None:
    message = refusal({"ASKONCE_CACHE_OFF_DOORS": f"/llm/generate,{written}"})
    assert "cache_off_doors" in message
    assert written in message
    assert "/v1 for all of its doors" in message


def test_keys_may_have_the_cache_off_by_tenant_or_one_by_one() -> None:
    named, bare = loaded(TWO_KEYS).config.keys
    assert bare.name == bare.tenant
    names = ("team", named.name, bare.name)
    assert loaded(TWO_KEYS | {"ASKONCE_CACHE_OFF_KEYS": ",".join(names)}).config.cache_off_keys == names


def test_keys_that_are_not_there_are_refused_by_name_with_those_that_are() -> None:
    message = refusal(TWO_KEYS | {"ASKONCE_CACHE_OFF_KEYS": "team,teem"})
    assert "cache_off_keys = 'teem' (environment ASKONCE_CACHE_OFF_KEYS)" in message
    assert "known are key-" in message
    assert "sk-12345678" not in message
    assert "use cache_off_doors" in refusal({"ASKONCE_CACHE_OFF_KEYS": "team"})


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "[::1]", "localhost"])
def test_loopback_needs_nothing(host: str) -> None:
    assert is_loopback(host)
    assert loaded({"ASKONCE_HOST": host}).config.keys == ()


def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert "is not a folder" in refusal({"ASKONCE_DATA_DIR": str(tmp_path / "file" / "data")})


@pytest.mark.parametrize(
    ("environ", "toml", "meant"),
    [
        (
            {"OPENAI_API_KEY": "sk-1"},
            "",
            ProviderSettings("openai", api_key="sk-1", source="environment OPENAI_API_KEY"),
        ),
        ({"GOOGLE_API_KEY": "g"}, "", ProviderSettings("gemini", api_key="g", source="environment GOOGLE_API_KEY")),
        (
            {"GEMINI_API_KEY": "a", "GOOGLE_API_KEY": "b"},
            "",
            ProviderSettings("gemini", api_key="a", source="environment GEMINI_API_KEY"),
        ),
        (
            {"OLLAMA_HOST": "10.0.0.1:11434"},
            "",
            ProviderSettings("ollama", "http://10.0.0.1:11434", source="environment OLLAMA_HOST"),
        ),
        (
            {},
            '[providers.mine]\nbase_url = "http://x/v1"\nmodels = ["m"]',
            ProviderSettings("mine", "http://x/v1", models=("m",), source="given.toml"),
        ),
        (
            {"OPENAI_API_KEY": "sk-env"},
            '[providers.openai]\napi_key = "sk-file"\ndefault_model = "m"\nprices.m = {input = 2.5, output = "10"}',
            ProviderSettings(
                "openai",
                api_key="sk-env",
                default_model="m",
                prices={"m": ModelPrice("2.5", "10")},
                source="environment OPENAI_API_KEY, given.toml",
            ),
        ),
        ({}, '[providers.scripted]\nscript = "/s"', ProviderSettings("scripted", script="/s", source="given.toml")),
    ],
)
def test_a_provider_is_configured(environ: dict[str, str], toml: str, meant: ProviderSettings) -> None:
    (found,) = loaded(environ, toml).config.providers
    assert found.source.replace(f"{Path.cwd()}/", "") == meant.source
    assert [getattr(found, field) for field in found.__struct_fields__ if field != "source"] == [
        getattr(meant, field) for field in meant.__struct_fields__ if field != "source"
    ]


def test_providers_keep_the_catalogs_order_and_the_files_own_come_last() -> None:
    found = loaded(
        {"GEMINI_API_KEY": "g", "OPENAI_API_KEY": "o"}, '[providers.mine]\nbase_url = "http://x"\n[providers.ollama]\n'
    )
    assert [provider.name for provider in found.config.providers] == ["openai", "gemini", "ollama", "mine"]


def test_a_provider_may_say_its_models_windows_and_whose_machine_it_is(tmp_path: Path) -> None:
    file = tmp_path / "askonce.toml"
    head = '[providers.lab]\nbase_url = "http://lab/v1"\n'
    file.write_text(head + 'context_windows = { "big" = 1000000 }\nown_machine = false\n')
    (lab,) = load({}, {"HOME": str(tmp_path)}, file, ()).config.providers
    assert (lab.context_windows, lab.own_machine) == ({"big": 1_000_000}, False)
    file.write_text(head + "context_windows = { big = 0 }\n")
    with pytest.raises(ConfigError, match="context_windows big = 0"):
        load({}, {"HOME": str(tmp_path)}, file, ())


def test_redis_url_counts_where_state_url_is_not_set() -> None:
    assert loaded({"REDIS_URL": "redis://a"}).config.state_url == "redis://a"
    found = loaded({"REDIS_URL": "redis://a", "STATE_URL": "redis://b"})
    assert found.config.state_url == "redis://b"
    assert found.origins["state_url"] == "environment STATE_URL"
    assert loaded({"REDIS_URL": "redis://a"}).origins["state_url"] == "environment REDIS_URL"
