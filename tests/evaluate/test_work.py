"""Whatever is there already, each task gets each of its utterances once more, or not at all."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from asr_ray.evaluate.conditions import Condition
from asr_ray.evaluate.work import Task, pieces

TASKS = [
    Task(model, Condition(data="test", att_context_size=(56, right), mode="offline", prompt="locale"))
    for model in ("base", "tuned")
    for right in (0, 13)
]
rows = st.dictionaries(st.integers(0, 40), st.floats(0.1, 40.0), min_size=1)
some_done = st.dictionaries(st.sampled_from(TASKS), st.sets(st.integers(0, 40)), min_size=1)


@given(durations_s=rows, done=some_done, piece_s=st.floats(1.0, 200.0))
def test_each_task_gets_what_it_lacks(
    durations_s: dict[int, float], done: dict[Task, set[int]], piece_s: float
) -> None:
    left = list(pieces(durations_s, data="test", done=done, piece_s=piece_s))
    decoded = Counter((task, row) for piece in left for task in piece.tasks for row in piece.rows)
    assert decoded == Counter((task, row) for task in done for row in durations_s if row not in done[task])
    for piece in left:
        lengths = [durations_s[row] for row in piece.rows]
        assert lengths == sorted(lengths, reverse=True)
        assert len(lengths) == 1 or sum(lengths) <= piece_s


def test_no_utterance_is_read_twice_for_tasks_that_need_the_same() -> None:
    left = list(pieces({1: 2.0, 2: 3.0}, data="test", done=dict.fromkeys(TASKS, ()), piece_s=9.0))
    assert [(piece.rows, piece.tasks) for piece in left] == [((2, 1), tuple(TASKS))]


def test_the_longest_come_first() -> None:
    durations_s = {row: float(1 + row % 7) for row in range(50)}
    left = pieces(durations_s, data="test", done={TASKS[0]: ()}, piece_s=20.0)
    order = [durations_s[row] for piece in left for row in piece.rows]
    assert order == sorted(order, reverse=True)
