"""Names of models in the settings that no request could use."""

from askonce.routing.roster import Member, Roster
from askonce.routing.wishes import unanswered


def member(name: str, configured: bool, *models: str) -> Member:
    return Member(name, name.title(), configured, f"set {name.upper()}_API_KEY", models[0], models, open_ended=True)


def test_names_that_nobody_answers_to_are_told_with_their_setting_and_reason() -> None:
    members = (member("openai", True, "gpt-4o"), member("groq", False, "llama"))
    aliases = {"good": "gpt-4o", "newer": "openai:gpt-9", "typo": "gpt-4i", "off": "groq:llama", "head": "opnai:gpt-4o"}
    found = {key: (name, why) for key, name, why in unanswered(Roster(members, aliases, "gpt-5o"))}
    assert set(found) == {"default_model", "[aliases] typo", "[aliases] off", "[aliases] head"}
    assert found["default_model"][0] == "gpt-5o"
    assert "'gpt-4o'" in found["default_model"][1]
    assert "not configured" in found["[aliases] off"][1]
    assert list(unanswered(Roster(members, {}, ""))) == []
