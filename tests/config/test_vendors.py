"""What is refused of a vendor's key and address, by which name, and without repeating a secret."""

import pytest

from askonce.config.sources import Document
from askonce.config.vendors import VendorVariables, configured
from askonce.domain.errors import ConfigError

VENDORS = (
    VendorVariables("openai", ("OPENAI_API_KEY",), "OPENAI_BASE_URL"),
    VendorVariables("ollama", (), "OLLAMA_HOST"),
)


def refusal(environ: dict[str, str], tables: dict[str, object] | None = None) -> str:
    document = Document("/etc/askonce.toml", {"providers": tables} if tables else {})
    with pytest.raises(ConfigError) as refused:
        configured(VENDORS, environ, document)
    return str(refused.value)


@pytest.mark.parametrize("key", ["sk-12 345678", "sk-123\n45678", "sk-\x00secret", "sk-sécret", "sk-“12345678”"])
def test_a_key_that_no_header_can_carry_is_refused_by_its_variable_and_not_shown(key: str) -> None:
    message = refusal({"OPENAI_API_KEY": key})
    assert message.startswith("OPENAI_API_KEY (api_key of openai) = (hidden): must be")
    assert key not in message
    message = refusal({}, {"openai": {"api_key": key}})
    assert message.startswith("/etc/askonce.toml: [providers.openai] api_key = (hidden): must be")


def test_white_space_around_a_key_is_the_files_it_came_from() -> None:
    assert configured(VENDORS, {"OPENAI_API_KEY": " sk-1\n"}, Document())[0].api_key == "sk-1"


@pytest.mark.parametrize("key", [{}, {"OPENAI_API_KEY": "sk-12345678"}])
@pytest.mark.parametrize(
    "url",
    [
        "notaurl",
        "localhost",
        "ftp://example.com",
        "://x",
        "http://",
        "http://x:99999",
        "http://x:0",
        "http://x/?a=b",
        "http://a b",
        "http://a\nb",
        "http://[::1",
    ],
)
def test_an_address_that_is_none_is_refused_with_and_without_a_key(url: str, key: dict[str, str]) -> None:
    message = refusal(key | {"OPENAI_BASE_URL": url})
    assert message.startswith(f"OPENAI_BASE_URL (base_url of openai) = {url!r}: must be an address such as https://")


def test_credentials_in_an_address_are_named_as_such_and_hidden() -> None:
    message = refusal({"OPENAI_BASE_URL": "http://user:pass@x/v1"})
    assert "OPENAI_BASE_URL" in message
    assert "credentials" in message
    assert "pass" not in message
    assert "pw" not in refusal({"OPENAI_BASE_URL": "http://user:pw@x:99999/v1"})


@pytest.mark.parametrize(
    ("variable", "written", "meant"),
    [
        ("OPENAI_BASE_URL", "https://host/v1", "https://host/v1"),
        ("OPENAI_BASE_URL", "http://gateway/v1", "http://gateway/v1"),
        ("OPENAI_BASE_URL", "gateway.local/v1", "http://gateway.local/v1"),
        ("OPENAI_BASE_URL", "localhost:8000", "http://localhost:8000"),
        ("OLLAMA_HOST", "box", "http://box"),
        ("OLLAMA_HOST", "0.0.0.0", "http://0.0.0.0"),
    ],
)
def test_an_address_is_completed(variable: str, written: str, meant: str) -> None:
    assert configured(VENDORS, {variable: written}, Document())[0].base_url == meant


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ({"api_key": 3}, "[providers.openai] api_key: must be text in quotes, not a whole number."),
        ({"models": "m"}, "[providers.openai] models: must be a list, not text in quotes."),
        ({"models": ["m", 1]}, "[providers.openai] models[1]: must be text in quotes, not a whole number."),
        ({"prices": {"m": {"input": "1"}}}, "[providers.openai] prices.…: `output` is missing."),
        ({"prices": {"m": 1}}, "[providers.openai] prices.…: must be a table, not a whole number."),
        (3, "[providers.openai] must be a table, not a whole number."),
    ],
)
def test_a_value_of_the_wrong_type_is_told_in_words(table: object, says: str) -> None:
    message = refusal({}, {"openai": table})
    assert message == f"/etc/askonce.toml: {says}"
    assert "$" not in message
