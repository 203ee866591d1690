"""What a node asks, cut to what its model reads.

    window = system text + request + sections + task + answer

The answer has its share first (what its type needs, at most half of the window). Of the rest the request, its
requirements and constraints are kept whole as long as they take three quarters at most; then come the sections, the
more important ones first, whole where that can be. What went is told to the model, and in the note of the node
("context cut: …"). Where not even that can be done: `ContextExceeded`.

Where the window is large, the answer's length is left to the model's own bound: models that think need far more than
they write, and every vendor refuses a number that is over its model's.
"""

from collections.abc import Callable, Sequence

from askonce.domain.call import Message
from askonce.domain.errors import ContextExceeded
from askonce.domain.graph import NodeType
from askonce.wire.fences import File
from askonce.workflows.crafts import Brief, Task
from askonce.workflows.quality.report import Report
from askonce.workflows.review.opinion import FORMAT
from askonce.workflows.standard.context import findings_text, sections_of
from askonce.workflows.standard.own import filled
from askonce.workflows.standard.room import JOINT, Count, Kept, Section, fit, middle_cut
from askonce.workflows.standard.texts import REPAIR, REPAIR_TASK, SYSTEM, TASKS
from askonce.workflows.standard.wanted import Wanted, complexity_of, wanted_of

# What answers need: simple, moderate, complex.
_SIZES = ("simple", "moderate", "complex")
ANSWER_TOKENS: dict[NodeType, tuple[int, int, int]] = {
    "plan": (800, 1500, 2500),
    "scaffold": (1500, 3000, 6000),
    "build": (3000, 6000, 12_000),
    "validate": (3000, 6000, 12_000),
    "quality": (0, 0, 0),
    "review": (1000, 1500, 2500),
}
# From here on a model's own bound is sooner reached than its window.
ROOMY_TOKENS = 32_768
# The marks of roles around two messages, and those before the answer (`routing.estimate` counts 8 each).
MARKS = 24
# Of what is left beside the answer: with more than this for request and terms, both are cut to their shares.
WHOLE_SHARE, REQUEST_SHARE, TERMS_SHARE = 0.75, 0.5, 0.25
# A corrected file is about as long as it was; it may be counted otherwise.
REPAIR_GROWTH, REPAIR_LEAST = 1.3, 300
# Tokens of joined texts may be more than the sum of theirs: so often less is tried.
TRIES = 6


def brief(task: Task, window: int, count: Count) -> Brief:
    """Say what a node asks. `window` in tokens; a node with `prompt` asks that, behind the words of its type.

    Raises `Invalid` where its template cannot be filled, `ContextExceeded` where the window is too small for anything.
    """
    node = task.node
    wish = node.max_tokens or ANSWER_TOKENS[node.type][_SIZES.index(complexity_of(task.input))]
    write = _own(filled(task), count) if node.prompt else _standard(task, count)
    made = _made(SYSTEM[node.type], write, wish, window, count)
    format = FORMAT if node.type == "review" else None
    return Brief(made.messages, _bound(made, task, window), format, made.note)


def _bound(made: Brief, task: Task, window: int) -> int | None:
    """Return the answer's bound: the node's, that of a small window, or none."""
    return None if task.node.max_tokens is None and window >= ROOMY_TOKENS else made.max_tokens


def repair(task: Task, broken: Sequence[File], report: Report, window: int, count: Count) -> Brief:
    """Say how whoever wrote these files (`task.node`) is asked to correct them; files that do not fit are left out.

    Raises `ContextExceeded` where none fits.
    """
    paths = {file.path for file in broken}
    found = findings_text(tuple(finding for finding in report.findings if finding.path in paths))
    size = sum(count(file.content) for file in broken)
    wanted = wanted_of(task.input)

    def write(room: int) -> Written:
        files = Section("The files", 1, files=tuple(broken))
        asked = Section(
            "What was asked for", 2, "\n\n".join(filter(None, (wanted.prompt, wanted.terms))) or "(not said)"
        )
        kept = fit((asked, Section("What is wrong", 0, found), files), room - count(_task(REPAIR_TASK)), count)
        return _joined(kept, REPAIR_TASK) if any(one.files for one in kept) else NOTHING

    wish = int(size * REPAIR_GROWTH) + REPAIR_LEAST
    most = task.node.max_tokens
    made = _made(REPAIR, write, wish if most is None else min(wish, most), window, count)
    return Brief(made.messages, _bound(made, task, window), None, made.note)


# What was written, "" where there is no room for it, and what it lost of what it should hold.
Written = tuple[str, Sequence[str]]
NOTHING: Written = ("", ())


def _made(system: str, write: Callable[[int], Written], wish: int, window: int, count: Count) -> Brief:
    """Share the window among question and answer; `write` writes the question in so many tokens."""
    answer = min(wish, window // 2)
    room = left = window - answer - MARKS - count(system)
    for _ in range(TRIES):
        text, lost = write(left) if left > 0 else NOTHING
        if not text:
            break
        over = count(text) - room
        if over <= 0:
            note = f"context cut: {'; '.join(lost)}." if lost else ""
            return Brief((Message("system", system), Message("user", text)), answer, None, note)
        left -= over + JOINT
    raise ContextExceeded(
        f"What this node has to say does not fit a model that reads {window:,} tokens. Name one that reads more."
    )


def _own(prompt: str, count: Count) -> Callable[[int], Written]:
    def write(room: int) -> Written:
        text = middle_cut(prompt, room, count)
        return text, () if text == prompt else ("the middle of the prompt left out",)

    return write


def _standard(task: Task, count: Count) -> Callable[[int], Written]:
    wanted, sections, last = wanted_of(task.input), sections_of(task), TASKS[task.node.type]

    def write(room: int) -> Written:
        room -= count(_task(last))
        first = _request(wanted, room, count)
        if not all(one.text for one in first):
            return NOTHING
        kept = fit(sections, room - sum(count(one.text) + JOINT for one in first), count)
        return _joined([*first, *kept], last)

    return write


def _request(wanted: Wanted, room: int, count: Count) -> list[Kept]:
    """Keep the request and its terms; cut to their shares only where they take too much together."""
    shares = (("The request", wanted.prompt, REQUEST_SHARE), ("What belongs to it", wanted.terms, TERMS_SHARE))
    parts = [(Section(heading, 0, text), share) for heading, text, share in shares if text]
    if sum(count(section.text) for section, _ in parts) <= WHOLE_SHARE * room:
        return fit([section for section, _ in parts], room, count)
    return [fit([section], int(share * room), count)[0] for section, share in parts]


def _joined(kept: Sequence[Kept], task: str) -> Written:
    texts = [one.text for one in kept if one.text]
    return "\n\n".join([*texts, _task(task)]), [one.lost for one in kept if one.lost]


def _task(words: str) -> str:
    return f"## Your task\n\n{words}"
