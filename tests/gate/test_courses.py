"""Those who watch are told when the stages of a paid call were over."""

from askonce.domain.watching import Course


def test_stages_follow_each_other_and_add_up() -> None:
    course = Course(seated_us=10, boarded_us=25, asked_us=30, first_token_us=100, answered_us=400, settled_us=450)
    stages = dict(course.stages())
    assert stages == {
        "admission": 10,
        "boarding": 15,
        "dispatch": 5,
        "first_token": 70,
        "generation": 300,
        "settlement": 50,
    }
    assert sum(stages.values()) == course.settled_us


def test_stages_that_were_not_come_to_are_left_out() -> None:
    assert Course().stages() == ()
    assert dict(Course(seated_us=10, boarded_us=20, settled_us=50).stages()) == {
        "admission": 10,
        "boarding": 10,
        "settlement": 30,
    }


def test_a_clock_that_rounds_makes_no_stage_negative() -> None:
    # A vendor's first token is told in whole milliseconds, and may lie behind the answer's end.
    stages = dict(Course(seated_us=10, asked_us=20, first_token_us=1020, answered_us=900, settled_us=950).stages())
    assert min(stages.values()) == 0
