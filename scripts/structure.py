"""Checks the shape of the Rust sources outside tests.

No file has more than 500 lines, the median is below 130, and no more than three files of a crate import each other in a circle. Imports are read as
text: paths that begin with crate, super or self, in `use` or inline, are resolved to the file of the longest module that they name. What lies below
#[cfg(test)] and in files named *_test.rs is left out.
"""

import pathlib
import re
import statistics
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
LONGEST, MEDIAN, CIRCLE = 500, 130, 3


def sources():
    """The src folders of all crates, without those that only tests use."""
    for folder in sorted((*ROOT.glob("services/*/src"), ROOT / "operator/src", *ROOT.glob("images/*/src"))):
        yield folder, [f for f in sorted(folder.rglob("*.rs")) if not f.stem.endswith("_test") and f.stem != "tests"]


def without_tests(text):
    """The text up to the module of tests, which comes last, and without test-only modules in other files."""
    text = re.split(r"^#\[cfg\((?:all\()?test\b[^\n]*\]\nmod \w+ \{", text, maxsplit=1, flags=re.M)[0]
    return re.sub(r"^\s*#\[cfg\(test\)\]\n[^\n]*;\n", "", text, flags=re.M)


def module(folder, file):
    """The path of the module that a file is: lib.rs, main.rs → (), a/mod.rs → (a,), a/b.rs → (a, b)."""
    parts = list(file.relative_to(folder).with_suffix("").parts)
    if parts[-1] == "mod" or (len(parts) == 1 and parts[0] in ("lib", "main")):
        parts.pop()
    return tuple(parts)


def expand(tree):
    """`a::{b, c::{d, e}}` → a::b, a::c::d, a::c::e."""
    head, brace, rest = tree.partition("{")
    if not brace:
        return [tree.split(" as ")[0].strip()]
    depth, item, items = 0, "", []
    for char in rest[: rest.rfind("}")]:
        depth += (char == "{") - (char == "}")
        if char == "," and depth == 0:
            items.append(item)
            item = ""
        else:
            item += char
    return [head.strip() + path for part in (*items, item) if part.strip() for path in expand(part.strip())]


def imports(text):
    text = re.sub(r"//[^\n]*", "", text)
    for tree in re.findall(r"^\s*(?:pub(?:\([\w ]+\))? )?use ((?:crate|super|self)\b[^;]*);", text, re.M):
        yield from expand(re.sub(r"\s+", " ", tree))
    yield from re.findall(r"\b(?:crate|super|self)(?:::\w+)+", re.sub(r"^\s*(?:pub(?:\([\w ]+\))? )?use [^;]*;", "", text, flags=re.M))


def graph(folder, files):
    by_module = {module(folder, file): file for file in files}
    edges = {file: set() for file in files}
    for file in files:
        here = module(folder, file)
        for path in imports(without_tests(file.read_text())):
            place, names = list(here), [name.strip() for name in path.split("::")]
            if names[0] == "crate":
                place = []
            names = names[1:] if names[0] in ("crate", "self") else names
            while names and names[0] == "super":
                place, names = place[:-1], names[1:]
            place += names
            while tuple(place) not in by_module and place:
                place.pop()
            target = by_module.get(tuple(place))
            if target and target != file:
                edges[file].add(target)
    return edges


def circles(edges):
    """Strongly connected components of more than one file (Tarjan)."""
    index, low, stack, found = {}, {}, [], []

    def visit(node):
        index[node] = low[node] = len(index)
        stack.append(node)
        for other in edges[node]:
            if other not in index:
                visit(other)
                low[node] = min(low[node], low[other])
            elif other in stack:
                low[node] = min(low[node], index[other])
        if low[node] == index[node]:
            component = []
            while not component or component[-1] != node:
                component.append(stack.pop())
            if len(component) > 1:
                found.append(sorted(component))

    for node in edges:
        if node not in index:
            visit(node)
    return found


def main():
    sys.setrecursionlimit(10_000)
    faults, lengths = [], []
    for folder, files in sources():
        for file in files:
            lines = without_tests(file.read_text()).count("\n")
            lengths.append(lines)
            if lines > LONGEST:
                faults.append(f"{file.relative_to(ROOT)}: {lines} lines, more than {LONGEST}")
        for circle in circles(graph(folder, files)):
            names = [str(file.relative_to(ROOT)) for file in circle]
            if len(names) > CIRCLE:
                faults.append(f"{len(names)} files import each other: {', '.join(names)}")
    median = statistics.median(lengths)
    if median >= MEDIAN:
        faults.append(f"the median file has {median} lines, not fewer than {MEDIAN}")
    print("\n".join(faults) or f"structure: good ({len(lengths)} files, median {median:g} lines, longest {max(lengths)})")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
