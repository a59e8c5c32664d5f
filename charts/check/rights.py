"""Compares the rights of the operator's account, as the API server reports them, with charts/rbac.yaml (S35)."""

import json
import os
import subprocess
import sys

import yaml

from chart import CHARTS

HOME, PEOPLE = sys.argv[1:]
ACCOUNT = f"system:serviceaccount:{HOME}:bkv-operator"
GROUPS = [f"--as-group={g}" for g in ("system:serviceaccounts", f"system:serviceaccounts:{HOME}", "system:authenticated")]
RBAC = yaml.safe_load((CHARTS / "rbac.yaml").read_text())
# Kubernetes lets every account review its own rights.
EVERYBODY = {"authorization.k8s.io", "authentication.k8s.io"}


def single(rules):
    """(group, resource, name, verb), one each."""
    out = set()
    for rule in rules:
        names = rule.get("resourceNames") or [""]
        for group in rule["apiGroups"]:
            out |= {(group, resource, name, verb) for resource in rule["resources"] for name in names for verb in rule["verbs"]}
    return out


def rights(namespace):
    review = {"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectRulesReview", "spec": {"namespace": namespace}}
    # Raw: kubectl's own validation would ask for definitions, which this account may not read.
    path = "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews"
    command = [os.environ["KUBECTL"], "create", "--raw", path, "-f", "-", f"--as={ACCOUNT}", *GROUPS]
    done = subprocess.run(command, input=json.dumps(review), capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(done.stderr)
    rules = json.loads(done.stdout)["status"]["resourceRules"]
    return single(r for r in rules if not EVERYBODY & set(r["apiGroups"]))


bad = 0
for namespace, wanted in ((PEOPLE, RBAC["rules"]), (HOME, RBAC["lease"]), ("default", [])):
    has, should = rights(namespace), single(wanted)
    for verdict, those in (("may, and should not", has - should), ("may not, and should", should - has)):
        for group, resource, name, verb in sorted(those):
            print(f"in {namespace} the operator {verdict}: {verb} {resource}.{group} {name}", file=sys.stderr)
            bad += 1
print(f"the operator's rights in {PEOPLE}, {HOME} and elsewhere, as the API server reports them: {'bad' if bad else 'those of rbac.yaml'}")
sys.exit(1 if bad else 0)
