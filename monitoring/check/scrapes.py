"""metrics.yaml against what a running fleet exposed: files `<program>*.prom` in a folder, in Prometheus' text format."""

import re
import sys
from pathlib import Path

from queries import base, closed, metrics

SAMPLE = re.compile(r"^(bkv_[a-z0-9_]+)(?:\{(.*)\})? \S+", re.MULTILINE)
LABEL = re.compile(r'(\w+)="([^"]*)"')
PROGRAMS = ("vault", "chatd", "operator")
KNOWN = metrics()


def faults(folder):
    for program in PROGRAMS:
        files = sorted(folder.glob(f"{program}*.prom"))
        if not files:
            print(f"skipped: {program}, of which there is no scrape in {folder}")
            continue
        seen = set()
        for file in files:
            samples = SAMPLE.findall(file.read_text())
            if not samples:
                yield f"{file.name}: nothing of ours in it"
            for name, labels in samples:
                stem = base(name, KNOWN)
                seen.add(stem)
                metric = KNOWN.get(stem, {})
                if program not in metric.get("of", []):
                    yield f"{file.name}: {name} is not in metrics.yaml for {program}"
                    continue
                for label, value in LABEL.findall(labels):
                    if label == "le" and metric["type"] == "histogram":
                        continue
                    allowed = closed(metric, label, program)
                    if label not in metric.get("labels", {}):
                        yield f"{file.name}: {name} has the label {label}, which metrics.yaml does not know"
                    elif allowed is not None and value not in allowed:
                        yield f"{file.name}: {name}{{{label}=\"{value}\"}} is outside the closed set"
        for name, metric in KNOWN.items():
            if program in metric["of"] and name not in seen and not metric.get("lazy"):
                yield f"{program}: {name} is in none of {len(files)} scrapes"


folder = Path(sys.argv[1])
found = sorted(set(faults(folder)))
for fault in found:
    print(fault, file=sys.stderr)
print(f"scrapes in {folder}: {'bad' if found else 'good'}")
sys.exit(1 if found else 0)
