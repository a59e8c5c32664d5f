"""What rules.yaml, dashboard.json and metrics.yaml hold, as plain values."""

import json
import re
from pathlib import Path

import yaml

HERE = Path(__file__).resolve().parents[1]
ROOT = HERE.parent
# Put onto every series by scraping (relabelings.yaml, Prometheus itself).
TARGET_LABELS = {"namespace", "pod", "bkv", "region", "component", "job", "instance"}
# One selector: a metric with, perhaps, matchers.
SELECTOR = re.compile(r"\b(bkv_[a-z0-9_]+|up)\b(?:\{([^}]*)\})?")
MATCHER = re.compile(r'(\w+)\s*(=~|!~|!=|=)\s*"([^"]*)"')
GROUPING = re.compile(r"\b(?:by|without|on|ignoring)\s*\(([^)]*)\)")


def requests():
    """The names of the requests inside the channel, by which the vault's metrics are labelled."""
    text = (ROOT / "services/wire/src/bounds.rs").read_text()
    names = re.findall(r'\("([a-z_]+)", ', text.split("const fn of(")[1].split("};")[0])
    assert names, "services/wire/src/bounds.rs names no request"
    return names


def metrics():
    known = yaml.safe_load((HERE / "metrics.yaml").read_text())
    for metric in known.values():
        for label, values in metric.get("labels", {}).items():
            if "<requests>" in values:
                metric["labels"][label] = [*requests(), *(v for v in values if v != "<requests>")]
    return known


def alerts():
    """Alert name → its rule."""
    groups = yaml.safe_load((HERE / "rules.yaml").read_text())["groups"]
    return {rule["alert"]: rule for group in groups for rule in group["rules"]}


def queries():
    """(where, PromQL) of all alerts, panels and variables."""
    for name, rule in alerts().items():
        yield f"alert {name}", rule["expr"]
    board = json.loads((HERE / "dashboard.json").read_text())
    for panel in board["panels"]:
        for target in panel.get("targets", []):
            yield f"panel “{panel['title']}”", target["expr"]
    for variable in board["templating"]["list"]:
        if variable["type"] == "query":
            yield f"variable {variable['name']}", variable["query"]["query"]


def base(name, known):
    """The metric that a series belongs to: histograms have three."""
    for suffix in ("_bucket", "_sum", "_count"):
        stem = name.removesuffix(suffix)
        if stem != name and known.get(stem, {}).get("type") == "histogram":
            return stem
    return name


def closed(metric, label, program=None):
    """The values that a label may have, written by one program or by any of them; None if it may have any, or there is no such label."""
    values = metric.get("labels", {}).get(label, "any")
    if values == "any":
        return None
    if isinstance(values, dict):
        lists = [values.get(program, [])] if program else values.values()
        return sorted({value for one in lists for value in one})
    return values
