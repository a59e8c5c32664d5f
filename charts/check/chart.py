"""Renders the chart."""

import os
import subprocess
from pathlib import Path

import yaml

CHARTS = Path(__file__).resolve().parents[1]
ROOT = CHARTS.parent
CASES = sorted((CHARTS / "cases").glob("*.yaml"))
NAMESPACE = "bkv-system"
KIND = "bkv.dev/v1alpha1/BackupKeyVault"


def helm(*arguments, stdin=None):
    return subprocess.run([os.environ["HELM"], *arguments], input=stdin, capture_output=True, text=True, check=False)


def template(values, stdin=None, api=True):
    """The process: stdout has the objects, stderr what is wrong."""
    knows = ["--api-versions", KIND] if api else []
    return helm("template", "bkv", str(CHARTS / "bkv"), "--namespace", NAMESPACE, "--values", str(values), *knows, stdin=stdin)


def objects(values):
    done = template(values)
    if done.returncode != 0:
        raise SystemExit(f"{values}: {done.stderr}")
    return [o for o in yaml.safe_load_all(done.stdout) if o]
