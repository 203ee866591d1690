"""Several changes in one transaction: all are kept, or none."""

import pytest
from tests.ledger.auditworld import KEY, act, the_end
from tests.ledger.identityworld import Stage, World

from askonce.domain.accounts import KeyWish
from askonce.domain.errors import NotFound
from askonce.ledger.audit import Sealer
from askonce.ledger.audit_verify import verify
from askonce.ledger.engine import together


def test_a_change_and_its_row_of_the_audit_are_kept_together(stage: Stage) -> None:
    async def play(world: World) -> None:
        async with together(world.engine) as connection:
            issued = await world.keys.create(KeyWish("a"))
            await world.keys.rotate(issued.card.id, 1000)
            await Sealer(KEY, world.clock).seal_rows(connection, [act(1)])
        assert len((await world.keys.list()).items) == 2
        assert (await the_end(world.engine)).number == 1

    stage(play)


def test_what_fails_takes_everything_back_and_later_changes_are_their_own(stage: Stage) -> None:
    async def play(world: World) -> None:
        async def fail() -> None:
            async with together(world.engine) as connection:
                await world.keys.create(KeyWish("a"))
                await Sealer(KEY, world.clock).seal_rows(connection, [act(1)])
                await world.keys.revoke("nope")

        with pytest.raises(NotFound):
            await fail()
        assert (await world.keys.list()).items == ()
        assert (await verify(world.engine, (KEY,))).rows == 0
        await world.keys.create(KeyWish("b"))
        assert [card.name for card in (await world.keys.list()).items] == ["b"]

    stage(play)
