"""Grafana dashboards as code, and what Prometheus is given: rules and alerts. No part of the proxy imports this."""
