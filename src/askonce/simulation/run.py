"""Run one log through several plans at once, reading it once."""

import asyncio
from collections.abc import Iterable, Sequence

from askonce.simulation.replay import Outcome, Plan, Simulation
from askonce.simulation.requests import PastRequest


def simulate(requests: Iterable[PastRequest], plans: Sequence[Plan]) -> list[tuple[Plan, Outcome]]:
    """Return what comes of each plan. Requests are in the order of their times."""

    async def play() -> list[tuple[Plan, Outcome]]:
        simulations = [Simulation(plan) for plan in plans]
        for request in requests:
            for simulation in simulations:
                await simulation.take(request)
        return [(plan, await one.end()) for plan, one in zip(plans, simulations, strict=True)]

    return asyncio.run(play())
