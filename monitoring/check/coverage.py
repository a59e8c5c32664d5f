"""Every alert has a severity, a runbook with the anchor that links use, a test in which it fires and one in which it does not. Every runbook has an alert."""

import re
import sys

import yaml

from queries import HERE, ROOT, alerts

sys.path.append(str(ROOT / "scripts"))
from check_docs import anchors  # noqa: E402

SECTIONS = ["## Look", "## Mend", "## Never", "## Escalate"]


def kebab(name):
    return re.sub(r"(?<!^)(?=[A-Z])", "-", name).lower()


def tested():
    """(fires, silent): the alerts that some test sees firing, and those that some test sees silent."""
    fires, silent = set(), set()
    for path in sorted((HERE / "tests").glob("*.yaml")):
        for test in yaml.safe_load(path.read_text())["tests"]:
            for case in test["alert_rule_test"]:
                (fires if case["exp_alerts"] else silent).add(case["alertname"])
    return fires, silent


def faults():
    fires, silent = tested()
    known = alerts()
    for name, rule in known.items():
        path = f"docs/runbooks/{kebab(name)}.md"
        if rule["annotations"].get("runbook_url") != path:
            yield f"{name}: runbook_url should be {path}"
        if not (ROOT / path).is_file():
            yield f"{name}: no {path}"
            continue
        text = (ROOT / path).read_text()
        if not text.startswith(f"# {name}\n"):
            yield f"{path}: should begin with “# {name}”"
        # The chart's value monitoring.runbookBase makes links to this anchor of the published book.
        if name.lower() not in anchors(text):
            yield f"{path}: no heading has the anchor #{name.lower()}"
        places = [text.find(f"\n{section}\n") for section in SECTIONS]
        if -1 in places or places != sorted(places):
            yield f"{path}: should have, in this order: {', '.join(SECTIONS)}"
        for link in re.findall(r"\]\(([^)#]+\.md)\)", text):
            if not (ROOT / "docs/runbooks" / link).is_file():
                yield f"{path}: {link} is not there"
        if rule["labels"].get("severity") not in ("critical", "warning"):
            yield f"{name}: severity should be critical or warning"
        for wanted in ("summary", "description"):
            if not rule["annotations"].get(wanted):
                yield f"{name}: no {wanted}"
        if name not in fires:
            yield f"{name}: no test in which it fires"
        if name not in silent:
            yield f"{name}: no test in which it does not fire"
    for name in sorted((fires | silent) - known.keys()):
        yield f"tests: {name} is no alert"
    books = {path.stem for path in (ROOT / "docs/runbooks").glob("bkv-*.md")}
    for stem in sorted(books - {kebab(name) for name in known}):
        yield f"docs/runbooks/{stem}.md: no such alert"


found = list(faults())
for fault in found:
    print(fault, file=sys.stderr)
print(f"{len(alerts())} alerts: runbooks, tests that fire, tests that do not: {'bad' if found else 'good'}")
sys.exit(1 if found else 0)
