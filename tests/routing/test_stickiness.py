from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from askonce.domain.call import Call, Message, Params
from askonce.routing.stickiness import beginning, by_rendezvous

NAMES = st.lists(st.text("abcdefgh", min_size=1, max_size=4), min_size=1, max_size=8, unique=True)


def members(names: list[str], weight: float = 1.0) -> list[tuple[str, float, str]]:
    return [(name, weight, name) for name in names]


@given(st.binary(min_size=1, max_size=32), NAMES, st.data())
def test_a_member_that_goes_moves_nobody_else(start: bytes, names: list[str], data: st.DataObject) -> None:
    whole = by_rendezvous(start, members(names))
    gone = data.draw(st.sampled_from(names))
    rest = by_rendezvous(start, members([name for name in names if name != gone]))
    assert rest == [name for name in whole if name != gone]


@given(st.binary(min_size=1, max_size=32), NAMES, st.randoms())
def test_the_order_in_which_members_are_written_does_not_matter(start: bytes, names: list[str], dice: object) -> None:
    turned = list(reversed(names))
    assert by_rendezvous(start, members(names)) == by_rendezvous(start, members(turned))


def test_members_lead_in_proportion_to_their_weights() -> None:
    shares = [("a", 6.0, "a"), ("b", 3.0, "b"), ("c", 1.0, "c")]
    rounds = 10_000
    led = Counter(by_rendezvous(b"%d" % number, shares)[0] for number in range(rounds))
    for name, weight, _ in shares:
        assert abs(led[name] / rounds - weight / 10) < 0.02  # four standard deviations
    second = Counter(by_rendezvous(b"%d" % number, shares)[1] for number in range(rounds) if number % 2)
    assert set(second) == {"a", "b", "c"}


def say(*messages: tuple[str, str], tenant: str = "t") -> Call:
    return Call(tenant, tuple(Message(role, text) for role, text in messages), Params())  # type: ignore[arg-type]


def test_a_conversation_keeps_its_beginning() -> None:
    first = say(("system", "be brief"), ("user", "hello"))
    later = say(("system", "be brief"), ("user", "hello"), ("assistant", "hi"), ("user", "and now?"))
    assert beginning(first) == beginning(later)
    others = [
        say(("system", "be brief"), ("user", "hello!")),
        say(("system", "be long"), ("user", "hello")),
        say(("system", "be brief"), ("user", "hello"), tenant="u"),
        say(("user", "be brief"), ("user", "hello")),
        say(("system", "be briefhello"), ("user", "")),
    ]
    assert len({beginning(call) for call in [first, *others]}) == len(others) + 1


def test_the_choice_is_the_same_in_every_process_and_version() -> None:
    start = beginning(say(("user", "hello")))
    assert start.hex()[:16] == "e91eb08a205c0236"
    assert by_rendezvous(start, members(list("abcd"))) == list("adbc")
