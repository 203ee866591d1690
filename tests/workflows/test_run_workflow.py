"""One round of a workflow, from its beginning to its end."""

from tests.gate.gate_world import play
from tests.workflows.workflow_world import WorkflowWorld, echo, node


def test_a_node_is_told_what_it_depends_on_has_said_and_all_succeed():
    world = WorkflowWorld(echo)
    ended = play(world.do(node("a"), node("b", "a")))
    assert ended.status == "succeeded"
    assert world.node("b").text == "<b(<a()>)>"
    assert world.statuses() == {"a": "succeeded", "b": "succeeded"}
    assert world.road.calls() == 2
