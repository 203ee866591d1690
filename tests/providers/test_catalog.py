import pytest

from askonce.providers.catalog import VENDORS, at, custom, normal_base_url, stated, vendor_named, wants_local_model

PROMISED = {
    "openai": ("OPENAI_API_KEY", "OPENAI_BASE_URL"),
    "anthropic": ("ANTHROPIC_API_KEY", "ANTHROPIC_BASE_URL"),
    "gemini": ("GEMINI_API_KEY", "GEMINI_BASE_URL"),
    "xai": ("XAI_API_KEY", "XAI_BASE_URL"),
    "ollama": ("OLLAMA_API_KEY", "OLLAMA_HOST"),
}


@pytest.mark.parametrize(("name", "variables"), PROMISED.items())
def test_the_contracts_variables_are_read(name: str, variables: tuple[str, str]) -> None:
    vendor = vendor_named(name)
    assert vendor is not None
    assert (vendor.key_variables[0], vendor.base_variable) == variables


def test_names_and_variables_are_each_vendors_own() -> None:
    names = [vendor.name for vendor in VENDORS]
    variables = [name for vendor in VENDORS for name in (*vendor.key_variables, vendor.base_variable) if name]
    assert len(set(names)) == len(names)
    assert len(set(variables)) == len(variables)


def test_every_row_is_complete() -> None:
    for vendor in VENDORS:
        assert vendor.title, vendor.name
        assert ":" not in vendor.name
        if vendor.needs_key:
            assert vendor.base_url.startswith("https://") or (vendor.path and vendor.base_variable), vendor.name
            assert vendor.key_variables, vendor.name
            assert vendor.default_model or vendor.name == "azure", vendor.name  # its names are its owner's
            assert not vendor.free, vendor.name
        if vendor.base_url:
            assert normal_base_url("", vendor.base_url) == vendor.base_url


def test_the_cure_names_the_variable() -> None:
    cures = {vendor.name: vendor.cure for vendor in VENDORS}
    assert cures["openai"] == "set OPENAI_API_KEY"
    assert cures["ollama"] == "set OLLAMA_HOST"
    assert cures["azure"] == "set AZURE_OPENAI_API_KEY and AZURE_OPENAI_ENDPOINT"
    assert cures["bedrock"] == "set AWS_BEARER_TOKEN_BEDROCK and AWS_BEDROCK_BASE_URL"
    assert cures["anthropic"] == "set ANTHROPIC_API_KEY"
    assert "providers.scripted" in cures["scripted"]
    assert "ASKONCE_LOCAL_MODEL" in cures["local"]


def test_only_vendors_that_charge_on_are_drained() -> None:
    assert {vendor.name for vendor in VENDORS if vendor.drains} == {"bedrock", "gemini", "groq", "mistral"}


def test_keys_stand_in_the_header_that_the_vendor_names() -> None:
    headers = {
        vendor.name: vendor.key_header for vendor in VENDORS if vendor.key_header and vendor.shape != "anthropic"
    }
    assert headers == {"gemini": "x-goog-api-key", "azure": "api-key"}


@pytest.mark.parametrize(
    ("name", "written", "read"),
    [
        ("ollama", "localhost", "http://localhost:11434/v1"),
        ("ollama", "0.0.0.0", "http://127.0.0.1:11434/v1"),
        ("ollama", "http://10.0.0.5:8000", "http://10.0.0.5:8000/v1"),
        ("ollama", "https://ollama.example", "https://ollama.example:443/v1"),
        ("ollama", "http://h:1/v1/", "http://h:1/v1"),
        ("ollama", "[::1]:11434", "http://[::1]:11434/v1"),
        ("openai", "https://proxy.example/openai/v1/", "https://proxy.example/openai/v1"),
        ("vllm", "gpu:8000/v1", "http://gpu:8000/v1"),
        ("azure", "https://mine.openai.azure.com/", "https://mine.openai.azure.com/openai/v1"),
        ("azure", "https://mine.openai.azure.com/openai/v1/", "https://mine.openai.azure.com/openai/v1"),
        (
            "bedrock",
            "https://bedrock-runtime.eu-west-1.amazonaws.com",
            "https://bedrock-runtime.eu-west-1.amazonaws.com/openai/v1",
        ),
        ("gemini", "http://127.0.0.1:9", "http://127.0.0.1:9/v1beta"),
    ],
)
def test_addresses_are_completed(name: str, written: str, read: str) -> None:
    assert normal_base_url(name, written) == read


@pytest.mark.parametrize("written", ["", "ftp://x", "http://", "http://h:99999", "http://h:x", "http://h/v1?a=b"])
def test_what_is_no_address_is_refused(written: str) -> None:
    with pytest.raises(ValueError, match="is not a base URL"):
        normal_base_url("openai", written)


@pytest.mark.parametrize("written", ["http://u:hunter2@h", "http://:hunter2@h/v1", "u:hunter2@h", "https://@h"])
def test_an_address_with_a_password_is_refused_and_not_repeated(written: str) -> None:
    with pytest.raises(ValueError, match="put the key in its api_key") as refused:
        normal_base_url("ollama", written)
    assert "hunter2" not in str(refused.value)


def test_a_row_at_another_address_needs_no_key() -> None:
    openai = vendor_named("openai")
    assert openai is not None
    moved = at(openai, "http://127.0.0.1:9/v1")
    assert (moved.base_url, moved.needs_key) == ("http://127.0.0.1:9/v1", False)
    assert at(openai, openai.base_url + "/") is openai


def test_an_address_that_only_its_owner_knows_is_still_that_vendors() -> None:
    azure = vendor_named("azure")
    assert azure is not None
    mine = at(azure, "https://mine.openai.azure.com")
    assert (mine.needs_key, mine.drains_plain, mine.key_header) == (True, True, "api-key")


def test_an_endpoint_of_ones_own_is_a_row_too() -> None:
    mine = custom("mine.lab-1", "gpu:8000/v1")
    assert (mine.name, mine.base_url, mine.needs_key, mine.open_ended) == (
        "mine.lab-1",
        "http://gpu:8000/v1",
        False,
        True,
    )
    for bad in ("", "Mine", "a:b", "-a", "a" * 41):
        with pytest.raises(ValueError, match="cannot name a provider"):
            custom(bad, "gpu:8000/v1")


@pytest.mark.parametrize(
    ("setting", "configured", "runs"),
    [
        ("auto", (), True),
        ("auto", ("openai",), False),
        ("auto", ("workshop",), False),
        ("auto", ("anthropic",), False),
        ("on", ("openai",), True),
        ("smollm2-135m", ("openai",), True),
        ("/models/x.gguf", ("openai",), True),
        ("off", (), False),
    ],
)
def test_the_embedded_model_runs_where_asked_for_or_where_nobody_else_could_answer(
    setting: str, configured: tuple[str, ...], runs: bool
) -> None:
    assert wants_local_model(setting, configured) is runs


@pytest.mark.parametrize(
    ("url", "own"),
    [
        ("http://127.0.0.1:9/v1", True),
        ("http://localhost:9/v1", True),
        ("http://gpu:8000/v1", True),
        ("http://10.1.2.3/v1", True),
        ("http://[fd00::1]/v1", True),
        ("https://llm.corp.internal/v1", True),
        ("https://proxy.example.com/v1", False),
        ("https://8.8.8.8/v1", False),
    ],
)
def test_who_is_near_is_ones_own_and_a_moved_address_alone_is_not(url: str, own: bool) -> None:
    mistral, llamacpp = vendor_named("mistral"), vendor_named("llamacpp")
    assert mistral is not None
    assert llamacpp is not None
    moved = at(mistral, url)
    assert (moved.needs_key, moved.drains, moved.drains_plain) == (False, not own, not own)
    assert custom("new", url).drains_plain is not own
    for row in (moved, custom("new", url)):
        assert stated(row, None) is row
        assert [stated(row, word).drains_plain for word in (True, False)] == [False, True]
    assert [stated(moved, word).drains for word in (True, False)] == [False, True]
    assert at(llamacpp, url).drains_plain is False  # its program charges nobody, wherever it runs
