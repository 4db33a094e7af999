"""What holds for all tests."""

from hypothesis import HealthCheck, settings

# How fast examples are made and tried says something about the machine, not about keepwarm.
settings.register_profile("keepwarm", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("keepwarm")
