"""Checks that everything a runbook quotes exists in the sources, so that a renamed log text or label breaks the build and not a night's work.

Checked are: the patterns after `grep` and all texts in backticks (log texts, label values, reasons, fields of the resource, names of objects, files),
selectors of PromQL, the columns after the word "column", and every CamelCase name. A text of another product must stand in FOREIGN.
"""

import os
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "monitoring/check"))
sys.dont_write_bytecode = True
try:
    import yaml
except ImportError:  # Debian's package python3-yaml belongs to the system's Python.
    if sys.executable == "/usr/bin/python3":
        raise
    os.execv("/usr/bin/python3", ["/usr/bin/python3", *sys.argv])
from queries import MATCHER, SELECTOR, alerts, base, closed, metrics  # noqa: E402

# Names of Kubernetes, Prometheus and storage systems, and texts of their answers.
FOREIGN = set(
    """
    ConfigMap DaemonSet NetworkPolicies NetworkPolicy PersistentVolumeClaim PodMonitor PrometheusRule StatefulSet StorageClass BackupKeyVault ChatD
    cluster-admin forbidden nobarrier
    """.split()
)
COMMANDS = ("bkv ", "chronyc", "helm ", "kubectl ", "timedatectl")
LEVELS = {"WARN", "ERROR"}
LITERAL = re.compile(r'"((?:[^"\\]|\\.)*)"', re.S)
KNOWN = metrics()
VALUES = {v for m in KNOWN.values() for label in m.get("labels", {}) for v in closed(m, label) or []}
LABELS = {label for m in KNOWN.values() for label in m.get("labels", {})}


def sources():
    """The programs' sources without tests and comments."""
    for room in ("services", "operator"):
        for file in sorted((ROOT / room).glob("**/src/**/*.rs")):
            if not re.search(r"_test$|^tests?$", file.stem) and "tests" not in file.parts:
                yield re.sub(r"^\s*//.*$", "", file.read_text(), flags=re.M).split("#[cfg(test)]\nmod tests {")[0]


CODE = "\n".join(sources())
# A backslash at the end of a line continues the literal.
LITERALS = "\n".join(re.sub(r"\\\n\s*", "", found) for found in LITERAL.findall(CODE))
WORDS = set(re.findall(r"\w+", CODE))
CRD = yaml.safe_load((ROOT / "crds/backupkeyvaults.bkv.dev.yaml").read_text())
VERSION = CRD["spec"]["versions"][0]
CHART = yaml.safe_load((ROOT / "charts/bkv/values.yaml").read_text())
COLUMNS = {column["name"] for column in VERSION["additionalPrinterColumns"]} | {"RESTARTS", "AGE"}


def is_field(path):
    """Whether the definition has a field of this path, such as spec.regions[].storage.size."""
    schema = VERSION["schema"]["openAPIV3Schema"]
    for part in re.sub(r"\[[^\]]*\]", "", path).split("."):
        schema = schema.get("items", schema)
        if part not in schema.get("properties", {}):
            return False
        schema = schema["properties"][part]
    return True


def is_chart_value(path):
    """Whether the chart has a value of this path."""
    value = CHART
    for part in path.split("."):
        if not isinstance(value, dict) or part not in value:
            return False
        value = value[part]
    return True


def grep_faults(command):
    """Each alternative of a pattern is part of a literal, or is a log level."""
    for flags, quote, pattern in re.findall(r"grep (?:-(\w+) )?(['\"]?)(.+?)\2(?: *$| *\||\)| *#)", command):
        for one in pattern.split("|") if quote else [pattern]:
            plain = one.removeprefix("^")
            ignore = re.I if "i" in flags else 0
            if plain not in LEVELS and not re.search(re.escape(plain), LITERALS, ignore):
                yield f"no program logs “{plain}” (grep)"


def query_faults(text):
    """Each selector names a metric, labels and values that exist. monitoring/check does the same for alerts and the dashboard."""
    for name, matchers in SELECTOR.findall(text):
        metric = KNOWN.get(base(name, KNOWN))
        if name == "up":
            continue
        if metric is None:
            if name.rstrip("_") != "bkv":
                yield f"there is no metric {name}"
            continue
        for label, operator, value in MATCHER.findall(matchers):
            known = closed(metric, label)
            for one in value.split("|") if "~" in operator else [value]:
                if known is None or one not in known:
                    yield f"{name} never has {label}=“{one}”"


def quote_faults(text):
    """One text in backticks."""
    if text.startswith(COMMANDS):
        yield from grep_faults(text)
    elif SELECTOR.search(text) and not text == "bkv":
        yield from query_faults(text)
    elif text.startswith(("spec.", "status.")):
        if not is_field(text.split(":")[0]):
            yield f"the definition has no field {text}"
    elif re.search(r"\$[NR]\b", text):
        for part in re.findall(r"[a-z]+(?:-[a-z]+)*", re.sub(r"\$\w+", "", text)):
            if part not in LITERALS:
                yield f"the operator makes no object “{text}” ({part})"
    elif re.fullmatch(r"(\w+\.)+\w+", text) and is_chart_value(text):
        pass
    elif "/" in text:
        if not (ROOT / text).exists():
            yield f"there is no file {text}"
    elif text.startswith("--"):
        pass  # An option of kubectl.
    elif text not in FOREIGN | VALUES | LABELS | WORDS and text not in LITERALS:
        yield f"no source contains “{text}”"


def faults(text):
    for block in re.findall(r"^```\n(.*?)^```", text, re.M | re.S):
        for line in block.splitlines():
            yield from grep_faults(line)
        yield from query_faults(re.sub(r"--?[\w-]+|-l \S+|#.*$", "", block, flags=re.M))
        for path in re.findall(r"\{\.((?:spec|status)\.[\w.\[\]]+)", block):
            if not is_field(path):
                yield f"the definition has no field {path}"
    prose = re.sub(r"^```.*?^```", "", text, flags=re.M | re.S)
    for quoted in re.findall(r"`([^`\n]+)`", prose):
        yield from quote_faults(quoted)
    for name in re.findall(r"(?<!\*)\*([a-z_]+)\*(?!\*)", prose):
        yield f"*{name}*: quote names in backticks"
    for names in re.findall(r"\bcolumns? `?(\w+)", text):
        if names not in COLUMNS:
            yield f"kubectl get bkv has no column {names}"
    for name in set(re.findall(r"(?<![\w/$-])(?:[A-Z][a-z]+){2,}[A-Z]?\b", text)):
        if name not in FOREIGN | WORDS | alerts().keys():
            yield f"nothing is called {name}"


def main():
    found = []
    for page in sorted((ROOT / "docs/runbooks").glob("*.md")):
        found += [f"{page.relative_to(ROOT)}: {fault}" for fault in faults(page.read_text())]
    print("\n".join(found) or "runbooks: everything that they quote exists")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
