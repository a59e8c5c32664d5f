"""The schema refuses bad values and names their place. Every value is documented, and every documented value exists."""

import json
import sys

import yaml

from chart import CHARTS, template

bad = []
cases = yaml.safe_load((CHARTS / "refused.yaml").read_text())
for case in cases:
    done = template("-", stdin=yaml.safe_dump(case["values"]), api=case.get("api", True))
    if done.returncode == 0:
        bad.append(f"accepted, but should be refused: {case['values']}")
    elif case["error"] not in done.stderr:
        bad.append(f"{case['values']}: the error should contain “{case['error']}”, but is: {done.stderr.strip()}")
print(f"{len(cases)} bad values: {'not all refused' if bad else 'all refused, with the place named'}")


def open_objects(schema, path="values"):
    """Places where the schema would accept an unknown key. Maps of strings are strict in their values."""
    if schema.get("type") == "object" and path != "values.global":
        extra = schema.get("additionalProperties", True)
        if extra is not False and (extra is True or extra.get("type") != "string"):
            yield f"{path}: takes any key"
    if "description" not in schema and not path.endswith("[]"):
        yield f"{path}: no description"
    for name, part in schema.get("properties", {}).items():
        yield from open_objects(part, f"{path}.{name}")
    if "items" in schema:
        yield from open_objects(schema["items"], f"{path}[]")


def missing(values, schema, path="values"):
    """Values without a schema, and schemas without a value."""
    properties = schema.get("properties")
    if not isinstance(values, dict) or properties is None:
        return
    for name in values.keys() - properties.keys():
        yield f"{path}.{name}: not in the schema"
    for name in properties.keys() - values.keys() - {"global", "cpu"}:
        yield f"{path}.{name}: not in values.yaml"
    for name in values.keys() & properties.keys():
        yield from missing(values[name], properties[name], f"{path}.{name}")


def leaves(values, path=()):
    for name, value in values.items():
        if isinstance(value, dict) and value and path + (name,) not in MAPS:
            yield from leaves(value, path + (name,))
        else:
            yield path + (name,)


schema = json.loads((CHARTS / "bkv/values.schema.json").read_text())
text = (CHARTS / "bkv/values.yaml").read_text()
values = yaml.safe_load(text)
bad += open_objects(schema)
bad += missing(values, schema)

# A comment `# -- …` stands before each value (or the map that is given whole).
MAPS = {("resources",), ("monitoring", "dashboard", "labels")}
lines = text.splitlines()
documented = 0
for leaf in leaves(values):
    depth, name = len(leaf) - 1, leaf[-1]
    places = [i for i, line in enumerate(lines) if line.startswith("  " * depth + name + ":")]
    before = []
    for i in places:
        above = i - 1
        while above >= 0 and lines[above].lstrip().startswith("#"):
            before.append(lines[above].strip())
            above -= 1
    if any(line.startswith("# -- ") for line in before) or leaf[:2] == ("image", "digests"):
        documented += 1
    else:
        bad.append(f"values.yaml: {'.'.join(leaf)} has no comment `# -- …`")
print(f"{documented} values: {'see below' if bad else 'each with a schema and a comment'}")
for fault in bad:
    print(fault, file=sys.stderr)
sys.exit(1 if bad else 0)
