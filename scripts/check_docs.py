"""Checks the documentation without a network.

Every relative link of a page leads to a file that exists and, if it names a heading, to a heading of that page. Every page of docs/ stands in
SUMMARY.md. Every code block with a language parses: sh and bash by `bash -n`, toml, yaml and json by a parser.
"""

import json
import os
import pathlib
import re
import subprocess
import sys
import tomllib

try:
    import yaml
except ImportError:  # Debian's package python3-yaml belongs to the system's Python.
    if sys.executable == "/usr/bin/python3":
        raise
    os.execv("/usr/bin/python3", ["/usr/bin/python3", *sys.argv])

ROOT = pathlib.Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
FENCE = re.compile(r"^( *)(`{3,}|~{3,})\s*([\w-]*)[^\n]*\n(.*?)^\1\2[ \t]*$", re.M | re.S)
LINK = re.compile(r"(?<!!)\[(?:[^\[\]]|\[[^\]]*\])*\]\(([^()\s]+)\)")


def pages():
    """All Markdown files of the project that git knows, or all but build products where there is no git."""
    found = subprocess.run(["git", "-C", ROOT, "ls-files", "-co", "--exclude-standard", "*.md"], capture_output=True, text=True)
    if found.returncode == 0:
        return [ROOT / name for name in found.stdout.splitlines() if (ROOT / name).exists()]
    return [page for page in ROOT.rglob("*.md") if "target" not in page.relative_to(ROOT).parts]


def anchor(heading):
    """The name that mdBook and GitHub give to a heading."""
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).strip().lower()
    return re.sub(r"\s", "-", re.sub(r"[^\w\s-]", "", text))


def anchors(text):
    """All of a page, with numbers for those that occur more than once."""
    seen, names = {}, set()
    for heading in re.findall(r"^#{1,6} +(.*)$", FENCE.sub("", text), re.M):
        name = anchor(heading)
        names.add(name if name not in seen else f"{name}-{seen[name]}")
        seen[name] = seen.get(name, 0) + 1
    return names | set(re.findall(r'<a (?:id|name)="([^"]+)"', text))


def broken_links(page, text):
    for target in LINK.findall(re.sub(r"`[^`\n]*`", "", FENCE.sub("", text))):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, name = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        if not file.exists():
            yield f"the link {target} leads nowhere"
        elif name and file.suffix == ".md" and name not in anchors(file.read_text()):
            yield f"{path or 'this page'} has no heading for #{name}"


def broken_blocks(text):
    for indent, _, language, body in FENCE.findall(text):
        body = re.sub(f"^{indent}", "", body, flags=re.M)
        first = body.strip().split("\n")[0][:60]
        try:
            if language in ("sh", "bash", "shell"):
                checked = subprocess.run(["bash", "-n"], input=body, capture_output=True, text=True)
                if checked.returncode:
                    raise ValueError(checked.stderr.strip())
            elif language == "toml":
                tomllib.loads(body)
            elif language in ("yaml", "yml"):
                list(yaml.safe_load_all(body))
            elif language == "json":
                json.loads(body)
        except (ValueError, yaml.YAMLError) as error:
            yield f"the {language} block that begins with '{first}': {error}"


def main():
    faults = []
    for page in pages():
        text = page.read_text()
        faults += [f"{page.relative_to(ROOT)}: {fault}" for fault in (*broken_links(page, text), *broken_blocks(text))]
    listed = set(LINK.findall((DOCS / "SUMMARY.md").read_text()))
    for page in DOCS.rglob("*.md"):
        name = str(page.relative_to(DOCS))
        if name not in listed and name != "SUMMARY.md":
            faults.append(f"docs/{name}: SUMMARY.md does not list it")
    print("\n".join(faults) or "docs: links and code blocks are good")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
