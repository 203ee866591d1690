"""A node's own prompt, filled in."""

from typing import Any

import msgspec

from askonce.domain.errors import Detail, Invalid
from askonce.workflows.crafts import Task
from askonce.workflows.files_of import files_of
from askonce.workflows.templates import Slot, blocks_of, read_template, render, value_at


def filled(task: Task) -> str:
    """Fill a node's template in. Raises `Invalid` where the input has not what it names, or nothing is left to ask.

    A value that is no text stands there as JSON. A node that was skipped, or failed, has no text and no files.
    """
    input: Any = msgspec.json.decode(task.input)

    def fill(slot: Slot) -> str:
        if slot.kind == "input":
            return _text(_value(task, input, slot))
        run = task.runs.get(slot.node)
        if run is None or run.status != "succeeded":
            return ""
        return run.text if slot.kind == "text" else blocks_of(files_of(run))

    prompt = render(read_template(task.node.prompt), fill)
    if not prompt.strip():
        raise _wrong(task, f"The prompt of `{task.node.id}` is empty once it is filled in.", "is empty, filled in")
    return prompt


def _value(task: Task, input: Any, slot: Slot) -> Any:
    try:
        return value_at(input, slot.path)
    except KeyError as missing:
        message = f"The prompt of `{task.node.id}` names {slot}, but the input has no {missing}."
        raise _wrong(task, message, f"names {slot}, which the input does not have") from None


def _wrong(task: Task, message: str, problem: str) -> Invalid:
    return Invalid(message, details=[Detail(f"nodes.{task.node.id}.prompt", problem)])


def _text(value: Any) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()
