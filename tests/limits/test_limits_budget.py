"""Reserving and settling, without a store around: tables of cases, and what a stored meter says."""

from collections.abc import Sequence

import msgspec
import pytest

from askonce.domain.budget import NOTHING, Account, Alert, Amounts, Refusal
from askonce.domain.identity import Budget
from askonce.limits import budget as rule
from askonce.limits.meters import PLANS_MAX, Planner, is_over, make_plan, row_of, sums
from askonce.state.memory_budgets import Vault

NOON = 1_772_366_400_000  # 2026-03-01T12:00Z
MINUTE, DAY = 60_000, 86_400_000
MIDNIGHT = NOON + DAY // 2


def requests(amount: int, soft: float = 0.0) -> Budget:
    return Budget("requests", "minute", amount, soft=soft)


def dollars(amount: int, soft: float = 0.0) -> Budget:
    return Budget("nano_dollars", "day", amount, soft=soft)


def an_account(*budgets: Budget, name: str = "key:a", concurrency: int = 0) -> Account:
    return Account(name, budgets, concurrency, tenant="team")


class Desk:
    """Reserve and settle by number."""

    def __init__(self, *accounts: Account) -> None:
        self.vault = Vault()
        self.accounts = accounts
        self.at: dict[int, int] = {}

    def reserve(self, number: int, estimate: Amounts, at_ms: int = NOON) -> Refusal | None:
        self.at[number] = at_ms
        return rule.reserve(self.vault, make_plan(self.accounts, at_ms), estimate, b"qr%d" % number, 10)

    def settle(self, number: int, actual: Amounts) -> list[Alert]:
        return rule.settle(self.vault, make_plan(self.accounts, self.at[number]), b"qr%d" % number, actual)

    def balances(self, at_ms: int = NOON) -> list[tuple[int, int]]:
        told = rule.tell(self.vault, make_plan(self.accounts, at_ms))
        return [(balance.used, balance.reserved) for one in told for balance in one.balances]

    def in_flight(self) -> list[int]:
        return [one.in_flight for one in rule.tell(self.vault, make_plan(self.accounts, NOON))]


# (budgets, concurrency, what calls reserve in turn, which of them are let in)
LET_IN: list[tuple[Sequence[Budget], int, list[Amounts], list[bool]]] = [
    ([requests(2)], 0, [Amounts(1)] * 3, [True, True, False]),
    ([requests(0)], 0, [Amounts(1), NOTHING], [False, True]),
    ([dollars(10)], 0, [Amounts(1, 9, 10), Amounts(1, 9, 1)], [True, False]),
    ([dollars(10)], 0, [Amounts(1, 9, 11), Amounts(1, 9, 8), Amounts(1, 9, 3)], [False, True, False]),
    ([dollars(10)], 0, [Amounts(1, 9, 8), Amounts(1, 9, 3), Amounts(1, 9, 2)], [True, False, True]),
    ([dollars(10)], 0, [Amounts(1, 9, 10), Amounts(1, 9, 0)], [True, True]),
    ([dollars(10), requests(1)], 0, [Amounts(1, 0, 1), Amounts(1, 0, 1)], [True, False]),
    ([dollars(10), dollars(4)], 0, [Amounts(1, 0, 5), Amounts(1, 0, 4), Amounts(1, 0, 1)], [False, True, False]),
    ([Budget("tokens", "month", 100)], 0, [Amounts(1, 60), Amounts(1, 60), Amounts(1, 40)], [True, False, True]),
    ([], 2, [Amounts(1)] * 3, [True, True, False]),
    ([], 0, [Amounts(1, 10**9, 10**9)] * 3, [True] * 3),
    ([dollars(10**20)], 0, [Amounts(1, 0, 10**30), Amounts(1, 0, 10**19)], [False, True]),
]  # fmt: skip


@pytest.mark.parametrize(("budgets", "concurrency", "calls", "expected"), LET_IN)
def test_a_call_is_let_in_where_all_budgets_have_room(
    budgets: Sequence[Budget], concurrency: int, calls: list[Amounts], expected: list[bool]
) -> None:
    desk = Desk(an_account(*budgets, concurrency=concurrency))
    assert [desk.reserve(number, call) is None for number, call in enumerate(calls)] == expected


def test_what_is_refused_by_one_account_reserves_nothing_in_the_others() -> None:
    desk = Desk(
        an_account(dollars(100)), an_account(dollars(5), name="user:u"), an_account(name="tenant:t", concurrency=9)
    )
    assert desk.reserve(1, Amounts(1, 1, 6)) == Refusal("user:u", dollars(5), 6, 5, MIDNIGHT, held=False)
    assert desk.vault == {}
    assert desk.reserve(2, Amounts(1, 1, 5)) is None
    assert desk.balances() == [(0, 5), (0, 5)]
    assert desk.in_flight() == [0, 0, 1]


def test_a_refusal_names_what_resets_last_and_whether_only_calls_in_flight_hold_it() -> None:
    desk = Desk(an_account(requests(1), dollars(10), concurrency=1))
    desk.reserve(1, Amounts(1, 0, 8))
    assert desk.reserve(2, Amounts(1, 0, 8)) == Refusal("key:a", dollars(10), 8, 2, MIDNIGHT, held=True)
    assert desk.reserve(3, Amounts(1, 0, 1)) == Refusal("key:a", requests(1), 1, 0, NOON + MINUTE, held=True)
    desk.settle(1, Amounts(1, 0, 12))
    assert desk.reserve(4, Amounts(1, 0, 8)) == Refusal("key:a", dollars(10), 8, 0, MIDNIGHT, held=False)
    only = Desk(an_account(concurrency=1))
    only.reserve(1, Amounts(1))
    assert only.reserve(2, Amounts(1)) == Refusal("key:a", None, 1, 0, 0, held=True)


def test_settling_puts_what_was_taken_in_place_of_the_estimate_once() -> None:
    desk = Desk(an_account(requests(9), dollars(100), concurrency=2))
    desk.reserve(1, Amounts(1, 50, 60))
    desk.reserve(2, Amounts(1, 5, 7))
    assert (desk.balances(), desk.in_flight()) == ([(0, 2), (0, 67)], [2])
    for _ in range(3):
        desk.settle(1, Amounts(1, 40, 80))
        assert (desk.balances(), desk.in_flight()) == ([(1, 1), (80, 7)], [1])
    desk.settle(2, NOTHING)
    desk.settle(2, Amounts(1, 1, 1))
    assert (desk.balances(), desk.in_flight()) == ([(1, 0), (80, 0)], [0])


def test_concurrency_is_about_calls_in_flight_however_many_there_were() -> None:
    desk = Desk(an_account(concurrency=1))
    for number in range(5):
        assert desk.reserve(number, Amounts(1)) is None
        assert desk.reserve(99, Amounts(1)) is not None
        desk.settle(number, Amounts(1))


def test_a_call_counts_into_the_periods_in_which_it_was_reserved() -> None:
    desk = Desk(an_account(requests(9), dollars(100)))
    desk.reserve(1, Amounts(1, 0, 60), MIDNIGHT - 1)
    assert desk.balances(MIDNIGHT) == [(0, 0), (0, 0)]
    desk.settle(1, Amounts(1, 0, 70))
    assert desk.balances(MIDNIGHT) == [(0, 0), (0, 0)]
    assert desk.balances(MIDNIGHT - 1) == [(1, 0), (70, 0)], "also for a clock that is put back"


def test_a_limit_that_was_changed_is_in_force_with_the_next_call() -> None:
    desk = Desk(an_account(dollars(100)))
    desk.reserve(1, Amounts(1, 0, 50))
    desk.settle(1, Amounts(1, 0, 50))
    desk.accounts = (an_account(dollars(40)),)
    assert desk.reserve(2, Amounts(1, 0, 1)) == Refusal("key:a", dollars(40), 1, 0, MIDNIGHT, held=False)
    desk.accounts = (an_account(dollars(60)),)
    assert desk.reserve(2, Amounts(1, 0, 10)) is None
    desk.accounts = (an_account(dollars(60), Budget("tokens", "day", 9)),)
    assert desk.balances() == [(50, 10), (0, 0)]


def test_budgets_of_one_span_and_zone_share_a_meter_and_minutes_are_the_same_everywhere() -> None:
    zurich = [Budget("requests", span, 9, "Europe/Zurich") for span in ("minute", "hour", "day", "month")]
    utc = [Budget("tokens", span, 9) for span in ("minute", "hour", "day", "month")]
    plan = make_plan((an_account(*zurich, *utc, *utc),), NOON)
    assert len(plan.meters) == 6
    assert len({meter.key for meter in plan.meters}) == 6
    assert len(make_plan((an_account(utc[0]), an_account(utc[0], name="key:b")), NOON).meters) == 2


# (soft, amount, what calls take in turn, the number of alerts after each)
ALERTS: list[tuple[float, int, list[int], list[int]]] = [
    (0.8, 100, [79, 1, 1, 19], [0, 1, 1, 1]),
    (0.8, 100, [100, 50], [1, 1]),
    (0.0, 100, [100], [0]),
    (1.0, 100, [99, 1], [0, 1]),
    (0.07, 100, [6, 1], [0, 1]),
    (0.5, 0, [0], [0]),
    (0.001, 1, [0, 1], [0, 1]),
    (1.5, 100, [100, 49, 1], [0, 0, 1]),
]


@pytest.mark.parametrize(("soft", "amount", "takes", "expected"), ALERTS)
def test_a_soft_threshold_alerts_once_in_a_period(
    soft: float, amount: int, takes: list[int], expected: list[int]
) -> None:
    desk = Desk(an_account(dollars(amount, soft)))
    for day in (0, DAY):
        alerts: list[Alert] = []
        for number, (take, count) in enumerate(zip(takes, expected, strict=True)):
            assert desk.reserve(number, Amounts(1), NOON + day) is None
            alerts += desk.settle(number, Amounts(1, 0, take))
            assert len(alerts) == count
        for alert in alerts:
            assert alert == Alert(
                desk.accounts[0], dollars(amount, soft), alert.used, MIDNIGHT - DAY + day, MIDNIGHT + day
            )


def test_each_budget_alerts_at_its_own_threshold() -> None:
    low, high, other = dollars(100, 0.5), dollars(100, 0.9), Budget("tokens", "day", 10, soft=0.9)
    desk = Desk(an_account(low, high, other))
    for number, (took, alerted) in enumerate([(Amounts(1, 8, 60), [low]), (Amounts(1, 1, 40), [high, other])]):
        desk.reserve(number, Amounts(1))
        assert [alert.budget for alert in desk.settle(number, took)] == alerted
    desk.accounts = (an_account(dollars(200, 0.9), other),)
    desk.reserve(9, Amounts(1))
    assert [alert.budget for alert in desk.settle(9, Amounts(1, 0, 80))] == [dollars(200, 0.9)], "another budget"


def test_an_alert_is_written_down_for_the_tenant_without_secrets() -> None:
    alert = Alert(an_account(dollars(9)), dollars(9, 0.8), 8, 1, 2)
    row = rule.as_audit(alert, 77)
    assert (row.at_ms, row.action, row.subject, row.tenant) == (77, "budget.soft_limit", "key:a", "team")
    assert msgspec.json.decode(row.details) == {
        "metric": "nano_dollars", "span": "day", "zone": "UTC", "amount": 9, "soft": 0.8, "used": 8,
        "startMs": 1, "resetsMs": 2,
    }  # fmt: skip


def test_sums_stop_at_what_can_be_stored() -> None:
    desk = Desk(an_account(dollars(2**70)))
    for number in range(3):
        assert desk.reserve(number, Amounts(1, 2**70, 2**62)) is None
        desk.settle(number, Amounts(1, 2**62, 2**62))
    assert desk.balances() == [(2**63 - 1, 0)]


def test_a_lapsed_reservation_holds_nothing_and_its_call_is_counted_all_the_same() -> None:
    desk = Desk(an_account(dollars(10), concurrency=1))
    desk.reserve(1, Amounts(1, 0, 10))
    assert rule.lapse(desk.vault, b"qr1", 5)
    assert not rule.lapse(desk.vault, b"qr1", 6)
    assert (desk.balances(), desk.in_flight()) == ([(0, 0)], [0])
    desk.reserve(2, Amounts(1, 0, 10))
    desk.settle(1, Amounts(1, 0, 9))
    desk.settle(1, Amounts(1, 0, 9))
    assert (desk.balances(), desk.in_flight()) == ([(9, 10)], [1])


def test_what_an_erased_process_held_is_given_back_and_never_settled() -> None:
    desk = Desk(an_account(dollars(10)))
    for number in (1, 2):
        desk.reserve(number, Amounts(1, 0, 5))
    rule.lapse(desk.vault, b"qr2", 5)
    assert [rule.erase(desk.vault, b"qr%d" % number) for number in (1, 2)] == [True, False]
    for number in (1, 2):
        desk.settle(number, Amounts(1, 0, 9))
    assert desk.balances() == [(0, 0)]


def test_forgotten_reservations_lapse_and_marks_go() -> None:
    desk = Desk(an_account(dollars(10)))
    desk.reserve(1, Amounts(1, 0, 5))  # until 10
    assert [rule.end_due(desk.vault, b"qr1", now) for now in (9, 10, 11)] == [False, True, False]
    assert desk.balances() == [(0, 0)]
    assert [rule.end_due(desk.vault, b"qr1", now + rule.MARK_NS) for now in (9, 10, 11)] == [False, True, False]
    assert b"qr1" not in desk.vault


def test_books_that_began_anew_know_no_reservation_and_take_nothing_back() -> None:
    desk = Desk(an_account(dollars(10)))
    desk.reserve(1, Amounts(1, 0, 5))
    (meter,) = [key for key in desk.vault if key.startswith(b"qm")]
    del desk.vault[meter]
    desk.settle(1, Amounts(1, 0, 4))
    assert desk.balances() == [(4, 0)]
    desk.reserve(2, Amounts(1, 0, 5))
    del desk.vault[meter]
    assert rule.lapse(desk.vault, b"qr2", 5)
    assert desk.balances() == [(0, 0)]


def test_a_meter_goes_when_its_period_ended_as_long_ago_as_it_took_and_nothing_is_reserved() -> None:
    desk = Desk(an_account(requests(9)))
    desk.reserve(1, Amounts(1))
    (meter,) = make_plan(desk.accounts, NOON).meters
    late = NOON + 2 * MINUTE
    assert not is_over(meter.key, desk.vault[meter.key], late)
    desk.settle(1, Amounts(1))
    assert [is_over(meter.key, desk.vault[meter.key], at) for at in (NOON, late - 1, late)] == [False, False, True]
    live = Desk(an_account(concurrency=1))
    live.reserve(1, Amounts(1))
    (meter,) = make_plan(live.accounts, NOON).meters
    assert not is_over(meter.key, live.vault[meter.key], late)
    live.settle(1, Amounts(1))
    assert is_over(meter.key, live.vault[meter.key], late)


def test_of_a_meter_the_sums_and_alerts_outlive_the_books() -> None:
    desk = Desk(an_account(dollars(10, 0.5), concurrency=5))
    desk.reserve(1, Amounts(1, 0, 6))
    desk.settle(1, Amounts(1, 0, 6))
    desk.reserve(2, Amounts(1, 0, 3))
    day, live = make_plan(desk.accounts, NOON).meters
    assert sums(desk.vault[live.key]) == ()
    desk.vault = Vault({day.key: row_of(sums(desk.vault[day.key]))})
    assert desk.balances() == [(6, 0)]
    desk.reserve(3, Amounts(1, 0, 1))
    assert desk.settle(3, Amounts(1, 0, 1)) == []


def test_an_account_may_be_presented_once() -> None:
    with pytest.raises(ValueError, match="twice"):
        make_plan((an_account(dollars(1)), an_account(dollars(2))), NOON)


def test_plans_are_remembered_until_a_period_or_the_accounts_change() -> None:
    planner, accounts = Planner(), (an_account(requests(5), dollars(5)),)
    plan = planner.plan(accounts, NOON)
    assert planner.plan((an_account(requests(5), dollars(5)),), NOON + MINUTE - 1) is plan
    later = planner.plan(accounts, NOON + MINUTE)
    assert later.meters[0].key != plan.meters[0].key
    assert later.meters[1].key == plan.meters[1].key
    assert planner.plan(accounts, NOON) == plan
    assert planner.plan(accounts, NOON + MINUTE) is later, "what ends late displaces nothing"
    assert planner.plan((an_account(requests(6)),), NOON).meters[0].caps[0].amount == 6
    for number in range(PLANS_MAX):
        planner.plan((an_account(concurrency=1, name=f"key:{number}"),), NOON)
    assert len(planner._plans) <= PLANS_MAX
