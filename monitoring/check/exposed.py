"""metrics.yaml against the sources of the programs, and what alerts and dashboard ask for against metrics.yaml."""

import re
import sys

from queries import GROUPING, MATCHER, ROOT, SELECTOR, TARGET_LABELS, base, closed, metrics, queries

SOURCES = {
    "vault": ["services/vault/src"],
    "chatd": ["services/chatd/src"],
    "operator": ["operator/src"],
}
KNOWN = metrics()


def text_of(folders):
    # Comments may name metrics and values that no program exposes.
    files = [f for folder in folders for f in sorted((ROOT / folder).rglob("*.rs")) if "test" not in f.stem]
    text = "\n".join(re.sub(r"^\s*//.*$", "", f.read_text(), flags=re.MULTILINE) for f in files)
    # strum derives the names of enum variants: they are values that no literal contains.
    enums = re.findall(r"derive\([^)]*IntoStaticStr[^)]*\)\][^{]*enum \w+ \{(.*?)\n\}", text, flags=re.DOTALL)
    names = [name for body in enums for name in re.findall(r"^\s*(\w+),$", body, flags=re.MULTILINE)]
    return text + "".join(f'\n"{name}"' for name in names)


def sources():
    """Each metric is written by its programs, with each of its label values; and they write no other."""
    for program, folders in SOURCES.items():
        if not all((ROOT / f).is_dir() for f in folders):
            print(f"skipped: metrics of {program}, whose sources are not here ({', '.join(folders)})")
            continue
        text = text_of(folders)
        mine = {n: m for n, m in KNOWN.items() if program in m["of"]}
        for name, metric in mine.items():
            if f'"{name}"' not in text:
                yield f"{program}: {name} is not written in {', '.join(folders)}"
            where = text + text_of(metric.get("sources", []))
            for label in metric.get("labels", {}):
                for value in closed(metric, label, program) or []:
                    if f'"{value}"' not in where:
                        yield f'{program}: nothing writes {name}{{{label}="{value}"}}'
        for name in sorted(set(re.findall(r'"(bkv_[a-z0-9_]+)"', text)) - mine.keys()):
            # Only what looks like a metric's name; Rust names crates and modules in the same way.
            if re.match(r"bkv_(vault|chatd|operator|fleet|certificate|jwks)_\w+", name):
                yield f"{program}: {name} is not in metrics.yaml"


def asked():
    """Each selector and grouping names metrics, labels and values that there are."""
    for where, query in queries():
        used = set()
        for name, matchers in SELECTOR.findall(query):
            if name == "bkv":  # the label
                continue
            if name == "up":
                metric, stem = {"type": "gauge"}, "up"
            else:
                stem = base(name, KNOWN)
                metric = KNOWN.get(stem)
            if metric is None:
                yield f"{where}: {name} is not in metrics.yaml"
                continue
            if metric["type"] == "histogram" and name == stem:
                yield f"{where}: {name} is a histogram: ask for _bucket, _sum or _count"
            labels = metric.get("labels", {})
            used |= labels.keys() | ({"le"} if metric["type"] == "histogram" else set())
            for label, operator, value in MATCHER.findall(matchers):
                if label not in labels.keys() | TARGET_LABELS:
                    yield f"{where}: {name} has no label {label}"
                known = closed(metric, label)
                values = value.split("|") if "~" in operator else [value]
                for one in values if known is not None else []:
                    if one not in known:
                        yield f"{where}: {name}{{{label}}} is never “{one}”"
        for names in GROUPING.findall(query):
            for label in filter(None, (n.strip() for n in names.split(","))):
                if label not in used | TARGET_LABELS:
                    yield f"{where}: nothing in it has the label {label}"


found = [*sources(), *asked()]
for fault in found:
    print(fault, file=sys.stderr)
print(f"{len(KNOWN)} metrics, {len(list(queries()))} queries: {'bad' if found else 'good'}")
sys.exit(1 if found else 0)
