"""What must hold within one section, and what a model's section becomes."""

import pytest
from pydantic import ValidationError

from proxy.domain.settings import ClientKeepAlive, ModelRule
from proxy.settings.sections import KeepAlive, Memory, Model


@pytest.mark.parametrize(
    ("section", "data", "message"),
    [
        (KeepAlive, {"min": "2h", "max": "1h"}, "expected min to be at most max (got min 2h and max 1h)"),
        (KeepAlive, {"max": "1m"}, "expected min to be at most max (got min 5m and max 1m)"),
        (Model, {"min": "2h", "max": "1h"}, "expected min to be at most max (got min 2h and max 1h)"),
        (Model, {"pin": True, "never_keep": True}, "expected pin or never_keep, not both (got true for both)"),
    ],
)
def test_keys_that_contradict_each_other_are_refused(section, data, message):
    with pytest.raises(ValidationError) as caught:
        section.model_validate(data)
    assert [error["msg"] for error in caught.value.errors()] == [message]


def test_min_may_equal_max():
    assert KeepAlive.model_validate({"min": "1h", "max": "1h"}).min == 3600


def test_an_unknown_key_is_refused():
    with pytest.raises(ValidationError) as caught:
        Memory.model_validate({"buget": "22GiB"})
    assert [error["type"] for error in caught.value.errors()] == ["extra_forbidden"]


def test_nothing_stands_for_the_defaults():
    assert Memory.model_validate(None) == Memory()


def test_a_model_becomes_a_rule_that_says_only_what_was_written():
    model = Model.model_validate({"never_keep": True, "max": 0, "client_keep_alive": "respect", "pin": None})
    assert model.rule() == ModelRule(never_keep=True, max_seconds=0, client_keep_alive=ClientKeepAlive.RESPECT)
    assert model.model_dump(mode="json") == {"never_keep": True, "max": "0s", "client_keep_alive": "respect"}
