"""Questions and answers of `powercut init`."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

import pytest

from powercut.commands.init.questions import QUESTIONS, answered
from powercut.errors import UsageError

from .answers import BOARD, DEVICE, QEMU


def types(*answers: str) -> Callable[[str], str]:
    """Somebody who types these answers, and then nothing but Enter, but not for ever."""
    said: Iterator[str] = itertools.chain(answers, itertools.repeat("", len(QUESTIONS)))
    return lambda _question: next(said)


def asked(given: dict[str, str], *answers: str) -> tuple[dict[str, str], list[str], list[str]]:
    """The answers, what was asked, and what was said to wrong ones."""
    questions: list[str] = []
    told: list[str] = []
    typed = types(*answers)

    def ask(question: str) -> str:
        questions.append(question)
        return typed(question)

    return answered(given, ask, told.append), questions, told


def test_what_is_given_is_not_asked() -> None:
    _, questions, _ = asked(BOARD | {"speed": "9600"})
    assert "its speed in baud [115200]: " not in questions
    assert "number of the outlet or port [1]: " in questions


def test_enter_takes_the_default() -> None:
    answers, _, told = asked(BOARD)
    assert (answers["user"], answers["speed"], answers["may_cut_power"]) == ("root", "115200", "no")
    assert told == []


def test_without_asking_the_defaults_are_taken() -> None:
    assert answered(QEMU, None, print)["memory"] == "512M"


def test_a_wrong_answer_is_told_why_and_asked_again() -> None:
    given = {name: value for name, value in BOARD.items() if name != "power_model"}
    answers, questions, told = asked(given, "", "", "", "", "bogus", "gude")
    assert answers["power_model"] == "gude"
    assert questions[4] == questions[5] == "the PDU's model, as labgrid calls it: "
    assert len(told) == 1 and told[0].startswith("  one of apc, ")


def test_a_question_of_another_rig_is_not_asked() -> None:
    _, questions, _ = asked(QEMU)
    assert [question for question in questions if "console is reached" in question or "power" in question] == []


@pytest.mark.parametrize(
    ("name", "answer", "why"),
    [
        ("device", "toaster", "one of board, qemu"),
        ("speed", "fast", "a number from 50"),
        ("speed", "1²", "a number from 50"),
        ("port", "ttyUSB0", "a device"),
        ("prompt", "root@[", "a regular expression: unterminated"),
        ("confirmed", "(", "a regular expression: "),
        ("ref", "no ref", "64 hexadecimal digits, or a ref"),
        ("update", "", "it can't be empty"),
        ("update", "a\nb", "printable characters only"),
        ("may_cut_power", "maybe", "one of yes, no"),
        ("power", "place", "the console is at this host"),
    ],
)
def test_an_option_that_will_not_do_is_named_with_the_reason(name: str, answer: str, why: str) -> None:
    with pytest.raises(UsageError, match=f"won't do: {why}") as fault:
        answered(BOARD | {name: answer}, None, print)
    assert f"--{name.replace('_', '-')}" in str(fault.value)


def test_an_option_that_is_no_question_here_is_refused() -> None:
    with pytest.raises(UsageError, match="--image makes no sense with the other answers"):
        answered(BOARD | {"image": "disk.img"}, None, print)


@pytest.mark.parametrize("name", sorted(DEVICE))
def test_without_asking_what_has_no_default_has_to_be_given(name: str) -> None:
    with pytest.raises(UsageError, match="no answer to") as fault:
        answered({key: value for key, value in QEMU.items() if key != name}, None, print)
    assert f"give --{name.replace('_', '-')}" in str(fault.value)


def test_every_question_has_an_option_of_its_own() -> None:
    assert len({question.option for question in QUESTIONS}) == len(QUESTIONS)
