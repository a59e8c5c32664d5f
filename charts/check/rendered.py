"""What the chart renders: golden files, roles against rbac.yaml, the copies inside it, the restricted pod standard, names and labels."""

import json
import sys

import yaml

from chart import CASES, CHARTS, NAMESPACE, ROOT, objects

RBAC = yaml.safe_load((CHARTS / "rbac.yaml").read_text())


def only(all_, kind, name=None):
    return [o for o in all_ if o["kind"] == kind and name in (None, o["metadata"]["name"])]


def roles(values, all_):
    """The roles contain exactly the rules of rbac.yaml, and only the operator's account has them."""
    wanted = RBAC["rules"] + [rule for name, rules in RBAC["integrations"].items() if values.get("integrations", {}).get(name) for rule in rules]
    cluster = values.get("scope") == "cluster"
    main = only(all_, "ClusterRole" if cluster else "Role", "bkv-operator")
    where = [r["metadata"].get("namespace") for r in main]
    expected = [None] if cluster else sorted(values.get("namespaces") or [NAMESPACE])
    if where != expected:
        yield f"roles in {where}, not in {expected}"
    for role in main:
        if role["rules"] != wanted:
            yield f"the rules of {role['kind']} bkv-operator are not those of rbac.yaml"
    lease = only(all_, "Role", "bkv-operator-lease")
    if [(r["metadata"]["namespace"], r["rules"]) for r in lease] != [(NAMESPACE, RBAC["lease"])]:
        yield "the lease's role is not that of rbac.yaml"
    every = only(all_, "Role") + only(all_, "ClusterRole")
    if len(every) != len(main) + len(lease):
        yield f"more roles than expected: {[r['metadata']['name'] for r in every]}"
    bindings = only(all_, "RoleBinding") + only(all_, "ClusterRoleBinding")
    account = [{"kind": "ServiceAccount", "name": "bkv-operator", "namespace": NAMESPACE}]
    pairs = sorted((r["kind"], r["metadata"]["name"], r["metadata"].get("namespace") or "") for r in every)
    bound = sorted((b["roleRef"]["kind"], b["roleRef"]["name"], b["metadata"].get("namespace") or "") for b in bindings)
    if pairs != bound or any(b["subjects"] != account for b in bindings):
        yield f"bindings {bound} do not give {pairs} to the operator's account alone"


def alerts(monitoring):
    """monitoring/rules.yaml with the runbook_url that the values ask for."""
    rules = yaml.safe_load((ROOT / "monitoring/rules.yaml").read_text())
    base, url = monitoring.get("runbookBase"), monitoring.get("prometheusRule", {}).get("runbookUrl")
    for rule in (rule for group in rules["groups"] for rule in group["rules"]):
        path = rule["annotations"]["runbook_url"]
        if base:
            page = path.removeprefix("docs/").removesuffix(".md")
            path = f"{base}/{page}.html#{rule['alert'].lower()}"
        elif url:
            path = f"{url}/{path.removeprefix('docs/runbooks/')}"
        rule["annotations"]["runbook_url"] = path
    return rules


def copies(values, all_):
    """The definition, the alerts and the dashboard arrive as they are in the sources."""
    crd = yaml.safe_load((ROOT / "crds/backupkeyvaults.bkv.dev.yaml").read_text())
    for got in only(all_, "CustomResourceDefinition"):
        if got["spec"] != crd["spec"] or got["metadata"]["name"] != crd["metadata"]["name"]:
            yield "the CRD is not the one of crds/"
        if got["metadata"]["annotations"].get("helm.sh/resource-policy") != "keep":
            yield "`helm uninstall` would delete the CRD, and with it every vault"
    monitoring = values.get("monitoring", {})
    for got in only(all_, "PrometheusRule"):
        if got["spec"] != alerts(monitoring):
            yield "the PrometheusRule does not hold monitoring/rules.yaml with the links to the runbooks"
    passed = [a for o in only(all_, "Deployment") for a in o["spec"]["template"]["spec"]["containers"][0]["args"] if "runbook" in a]
    base = monitoring.get("runbookBase")
    if passed != ([f"--runbook-base={base}"] if base else []):
        yield f"the operator gets {passed} for monitoring.runbookBase {base!r}"
    for got in only(all_, "ConfigMap", "bkv-dashboard"):
        if json.loads(got["data"]["bkv.json"]) != json.loads((ROOT / "monitoring/dashboard.json").read_text()):
            yield "the dashboard is not monitoring/dashboard.json"
    for kind, option in (("PodMonitor", "podMonitor"), ("PrometheusRule", "prometheusRule"), ("ConfigMap", "dashboard")):
        if bool(only(all_, kind)) != monitoring.get(option, {}).get("enabled", False):
            yield f"{kind}: there or not, against monitoring.{option}.enabled"


def pods(_, all_):
    """The restricted pod standard, a root that nothing is written to, bounded memory, no secret where many look."""
    specs = [("the operator", o["spec"]["template"]["spec"]) for o in only(all_, "Deployment")]
    specs += [("the test", o["spec"]) for o in only(all_, "Pod")]
    if len(specs) != 2:
        yield f"{len(specs)} kinds of pods, not two"
    for who, spec in specs:
        security = spec.get("securityContext", {})
        if security.get("runAsNonRoot") is not True or security.get("seccompProfile") != {"type": "RuntimeDefault"}:
            yield f"{who}: the pod's security context"
        if any(spec.get(field) for field in ("hostNetwork", "hostPID", "hostIPC", "volumes")):
            yield f"{who}: something of the host, or a volume"
        for container in spec["containers"] + spec.get("initContainers", []):
            want = {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}
            if container.get("securityContext") != want:
                yield f"{who}: the container's security context"
            if "memory" not in container.get("resources", {}).get("limits", {}):
                yield f"{who}: no limit of memory"
    operator, test = (spec for _, spec in specs)
    if test["automountServiceAccountToken"] is not False or "serviceAccountName" in test:
        yield "the test pod has rights"
    probes = [p for p in ("startupProbe", "livenessProbe", "readinessProbe") if p not in operator["containers"][0]]
    if probes:
        yield f"no {', '.join(probes)}"


def whole(values, all_):
    """What goes together: selectors, replicas and their budget."""
    deployment = only(all_, "Deployment")[0]
    labels = deployment["spec"]["template"]["metadata"]["labels"].items()
    selectors = [o["spec"]["selector"] for o in only(all_, "Service")]
    selectors += [o["spec"]["selector"]["matchLabels"] for o in only(all_, "PodDisruptionBudget") + only(all_, "PodMonitor") + [deployment]]
    if not all(s.items() <= labels for s in selectors):
        yield "a selector does not match the operator's pods"
    if any(s.items() <= o["metadata"]["labels"].items() for o in only(all_, "Pod") for s in selectors):
        yield "the test pod is taken for an operator"
    if len(only(all_, "PodDisruptionBudget")) != (values.get("replicas", 1) > 1):
        yield "a budget goes with two or more operators"
    arguments = deployment["spec"]["template"]["spec"]["containers"][0]["args"]
    served = sorted(a.removeprefix("--namespace=") for a in arguments if a.startswith("--namespace="))
    if served != ([] if values.get("scope") == "cluster" else sorted(values.get("namespaces") or [NAMESPACE])):
        yield f"the operator's arguments name {served}"


def golden(all_):
    """As text to compare. What is compared with its source elsewhere is left out, so that a change of it does not drown this."""
    for o in all_:
        if o["kind"] in ("CustomResourceDefinition", "PrometheusRule"):
            o["spec"] = "(compared with its source)"
        if o["kind"] == "ConfigMap":
            o["data"] = "(compared with its source)"
        if o["kind"] in ("Role", "ClusterRole"):
            o["rules"] = "(compared with rbac.yaml)"
    return "---\n".join(yaml.safe_dump(o, sort_keys=False, width=160) for o in all_)


bad = 0
for case in CASES:
    values = yaml.safe_load(case.read_text()) or {}
    all_ = objects(case)
    faults = [fault for judge in (roles, copies, pods, whole) for fault in judge(values, all_)]
    path = CHARTS / "golden" / case.name
    text = golden(all_)
    if "--write" in sys.argv:
        path.write_text(text)
    if not path.is_file() or path.read_text() != text:
        faults.append(f"differs from charts/golden/{case.name}: if that is right, charts/check.sh --write")
    for fault in faults:
        print(f"{case.stem}: {fault}", file=sys.stderr)
    bad += len(faults)
    print(f"case {case.stem}: {len(all_)} objects: {'bad' if faults else 'good'}")
sys.exit(1 if bad else 0)
