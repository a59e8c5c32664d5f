"""Sends every object of every case to an API server as a dry run, which stores nothing. Skips kinds that the server does not know, and names them."""

import os
import subprocess
import sys

import yaml

from chart import CASES, objects


def kubectl(*arguments, stdin=None):
    return subprocess.run([os.environ["KUBECTL"], *arguments], input=stdin, capture_output=True, text=True, check=False)


def kinds():
    done = kubectl("api-resources", "--no-headers")
    if done.returncode != 0:
        raise SystemExit(f"the API server does not answer: {done.stderr.strip()}")
    rows = [line.split() for line in done.stdout.splitlines()]
    return {(row[-3], row[-1]) for row in rows}


def moved(one):
    """The same object in the namespace `default`: those of the cases are not there in a dry run."""
    if "namespace" in one["metadata"]:
        one["metadata"]["namespace"] = "default"
    return one


known = kinds()
skipped, warned, bad, judged = set(), set(), [], 0
for case in CASES:
    for one in map(moved, objects(case)):
        if (one["apiVersion"], one["kind"]) not in known:
            skipped.add(one["kind"])
            continue
        done = kubectl("apply", "--server-side", "--dry-run=server", "--field-manager=chart-check", "--force-conflicts", "--validate=strict", "-f", "-", stdin=yaml.safe_dump(one))
        judged += 1
        if done.returncode != 0:
            bad.append(f"{case.stem}: {one['kind']} {one['metadata']['name']}: {done.stderr.strip()}")
        warned |= {f"{one['kind']}: {line}" for line in done.stderr.splitlines() if line.startswith("Warning")}
if skipped:
    print(f"skipped: {', '.join(sorted(skipped))}, which this API server does not know")
for line in sorted(warned):
    # People see these warnings at each install. They do not stop it.
    print(line)
for fault in bad:
    print(fault, file=sys.stderr)
print(f"{judged} objects judged by the API server: {'bad' if bad else 'good'}")
sys.exit(1 if bad else 0)
