"""Writes the dashboard's queries as recording rules, so that promtool can read them as PromQL."""

import sys

import yaml

from queries import queries

# What Grafana puts in.
FILLED = {"$__rate_interval": "5m", "$namespace": "n", "$bkv": "b"}


def filled(query):
    for name, value in FILLED.items():
        query = query.replace(name, value)
    return query


panels = [filled(q) for where, q in queries() if where.startswith("panel ")]
rules = [{"record": f"panel:{i}", "expr": q} for i, q in enumerate(panels)]
yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}, sys.stdout, width=1000)
