"""Whether anybody could be asked, before anything is written: so a name that nobody answers to costs nothing.

What passes by itself (a breaker that is open, a model that is loading) is no reason to refuse: the work waits for it.
"""

from collections.abc import Callable

from askonce.domain.call import Ask, CacheWish, Call, Message, Params
from askonce.domain.caller import Caller
from askonce.domain.errors import AskonceError, Detail, ProviderNotConfigured
from askonce.domain.graph import Graph, Node
from askonce.wire.strict import PROBLEMS_MAX, invalid
from askonce.workflows.making import routing_of

# Says who might answer a caller. Raises the routing errors of `domain.errors`, and `Forbidden`.
Choose = Callable[[Ask, Caller], object]


def check_question(ask: Ask, caller: Caller, choose: Choose) -> None:
    """Raise what is wrong with a question and stays wrong."""
    try:
        choose(ask, caller)
    except AskonceError as error:
        if error.status < 500 or isinstance(error, ProviderNotConfigured):
            raise


def check_nodes(graph: Graph, caller: Caller, choose: Choose) -> None:
    """Raise `Invalid`, which names each node whose model nobody has, or its key may not ask.

    Raises `ProviderNotConfigured` where nobody could be asked at all.
    """
    problems: list[Detail] = []
    seen: dict[tuple[str, ...], str] = {}
    for number, node in enumerate(graph.nodes):
        who = (node.provider, node.model, "" if node.model or node.provider else node.type)
        if who not in seen:
            seen[who] = _problem(node, caller, choose)
        if seen[who]:
            problems.append(Detail(f"graph.nodes[{number}].{'model' if node.model else 'provider'}", seen[who]))
    if problems:
        raise invalid(problems[:PROBLEMS_MAX])


def _problem(node: Node, caller: Caller, choose: Choose) -> str:
    """Say what is wrong with whom a node names, "" for nothing. Raises where it names nobody."""
    call = Call(caller.tenant, (Message("user", "?"),), Params(), stream=True)
    try:
        check_question(Ask(call, routing_of(node), CacheWish()), caller, choose)
    except AskonceError as error:
        if not node.model and not node.provider:
            raise
        return f"cannot be asked: {error.message.rstrip('.')}"
    return ""
