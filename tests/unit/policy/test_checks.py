import math

import pytest

from proxy.policy.checks import check_number


def test_a_number_within_its_range_passes():
    check_number("ttl", 0, "seconds")
    check_number("chance", 1.0, "(a chance)", at_most=1.0)


@pytest.mark.parametrize("value", [-3, math.nan, math.inf])
def test_a_number_out_of_range_is_refused_with_its_name_and_what_came(value):
    with pytest.raises(ValueError, match=rf"ttl must be finite and >= 0 seconds, got {value}"):
        check_number("ttl", value, "seconds")


def test_an_upper_bound_is_named():
    with pytest.raises(ValueError, match=r"chance must be finite and >= 0 and <= 1 \(a chance\), got 1.5"):
        check_number("chance", 1.5, "(a chance)", at_most=1.0)
