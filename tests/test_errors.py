"""The tree of errors: what a shell sees as exit code, and what a person reads."""

from __future__ import annotations

import pickle

import pytest

from asr_ray import errors
from asr_ray.errors import AsrRayError

EXIT_CODES = {
    errors.ConfigError: 2,
    errors.DataError: 3,
    errors.EnvironmentFault: 4,
    errors.TrainingError: 5,
    errors.Interrupted: 6,
    errors.RegressionError: 7,
}

KINDS = pytest.mark.parametrize("kind", EXIT_CODES, ids=lambda kind: kind.__name__)


def test_the_tree_is_complete_and_its_exit_codes_are_those_documented() -> None:
    assert {kind: kind.exit_code for kind in AsrRayError.__subclasses__()} == EXIT_CODES


@KINDS
def test_the_docstring_of_the_module_states_the_exit_code(kind: type[AsrRayError]) -> None:
    lines = [line for line in (errors.__doc__ or "").splitlines() if kind.__name__ in line]
    assert f"({kind.exit_code})" in lines[0]


@KINDS
@pytest.mark.parametrize("fix", ["", "lower it"])
def test_pickling_keeps_message_and_fix(kind: type[AsrRayError], fix: str) -> None:
    error = kind("rate is 7: too high", fix=fix)
    copy = pickle.loads(pickle.dumps(error))

    assert type(copy) is kind
    assert (copy.message, copy.fix, str(copy)) == (error.message, error.fix, str(error))


def test_the_fix_is_shown_after_the_message_and_left_out_when_there_is_none() -> None:
    assert str(errors.ConfigError("bad key", fix="remove it")) == "bad key\n  fix: remove it"
    assert str(errors.ConfigError("bad key")) == "bad key"
