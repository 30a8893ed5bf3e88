"""Grafana dashboards and Prometheus rules, for those who run these: generated from the products.

`files.generated` says what there is; `esteira dashboards generate` writes it. The dashboards of
Cloud Monitoring are resources of the stack: `stacks/dashboards`.
"""
