import pytest

from proxy.domain.units import GIB
from proxy.sim.replay.contender import Direct, MachineSpec
from proxy.sim.replay.contenders import CONTENDERS, enter, known
from tests.unit.sim.replay.test_simulator import SETTINGS, workload

MACHINE = MachineSpec(gpu_bytes=16 * GIB, max_models=5)


@pytest.mark.parametrize("name", [name for name in CONTENDERS if name not in {"ollama", "forever", "timer"}])
def test_whom_keepwarm_manages_gets_no_more_than_the_machine_has(name):
    made = enter(name, SETTINGS, MACHINE, workload((0.0, 0, 1.0)))
    assert (made.settings.budget_bytes, made.settings.max_models) == (16 * GIB, 5)
    assert made.settings.price_seconds_per_gib_hour == SETTINGS.price_seconds_per_gib_hour


def test_each_run_gets_a_policy_of_its_own():
    first, second = (enter("gdsf", SETTINGS, MACHINE, workload((0.0, 0, 1.0))) for _ in range(2))
    assert first.policy is not second.policy


def test_ollama_alone_has_its_own_timers():
    timers = [enter(name, SETTINGS, MACHINE, workload()) for name in ("ollama", "forever", "timer")]
    assert timers == [Direct(300), Direct(-1), Direct(3600)]


def test_a_name_may_carry_a_price():
    made = enter("adaptive@50ms", SETTINGS, MACHINE, workload())
    assert made.settings.price_seconds_per_gib_hour == 0.05


@pytest.mark.parametrize(
    ("name", "there"),
    [("lru", True), ("adaptive@0", True), ("adaptive@1h", True), ("nobody", False), ("adaptive@x", False)],
)
def test_names_can_be_checked_beforehand(name, there):
    assert known(name) is there


def test_a_negative_price_is_none():
    assert not known("adaptive@-1s")
