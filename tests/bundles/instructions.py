"""The numbered steps of CONTRIBUTING.md, carried out as they stand there."""

import json
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

SECTION = "## Make a bundle from another one"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.M | re.S)
NAMES = r"(?:`[^`]+`,?\s*)+"


@dataclass(frozen=True)
class Step:
    """A heading ``### 1. Copy`` and what stands below it."""

    number: int
    title: str
    text: str


def headings(document):
    """Headings outside of code blocks, and the text up to the next one."""
    found, fenced = [("", [])], False
    for line in document.splitlines():
        fenced ^= line.startswith("```")
        if line.startswith("#") and not fenced:
            found.append((line, []))
        else:
            found[-1][1].append(line)
    return [(heading, "\n".join(lines)) for heading, lines in found]


def read_steps(document):
    """The steps of the section in their order."""
    steps, inside = [], False
    for heading, text in headings(document):
        if heading.startswith("## "):
            inside = heading == SECTION
        elif inside and (match := re.fullmatch(r"### (\d+)\. (.*)", heading)):
            steps.append(Step(int(match[1]), match[2], text))
    return steps


def commands(step):
    """The lines of a step's shell blocks."""
    return [line for language, block in BLOCK.findall(step.text) if language == "bash" for line in block.splitlines()]


def carry_out(step, root):
    """Do what a step says in the repository at ``root``; what is not understood is an error."""
    rest = step.text
    while match := re.search(rf"{BLOCK.pattern}|^\*\*In `([^`]+)`, remove:\*\* ({NAMES})", rest, re.M | re.S):
        language, block, file, names = match.groups()
        if file:
            edit_config(root / file, removed=re.findall(r"`([^`]+)`", names))
        elif language == "bash":
            subprocess.run(["bash", "-euc", block], cwd=root, check=True)
        else:
            put(rest[: match.start()].strip().split("\n\n")[-1], block, root)
        rest = rest[match.end() :]


def put(sentence, block, root):
    """Put a block where the sentence before it says: **In `FILE`, set:**, **after the line**, or **Write `FILE`:**."""
    sentence = re.sub(r"\s+", " ", sentence)
    if match := re.match(r"\*\*In `([^`]+)`, set:\*\*", sentence):
        edit_config(root / match[1], put=json.loads(block))
    elif match := re.match(r"\*\*In `([^`]+)`, after the line `([^`]+)`:\*\*", sentence):
        lines = (root / match[1]).read_text().splitlines()
        place = [line.strip() for line in lines].index(match[2]) + 1
        (root / match[1]).write_text("\n".join([*lines[:place], block.rstrip("\n"), *lines[place:], ""]))
    elif match := re.match(r"\*\*Write `([^`]+)`:\*\*", sentence):
        (root / match[1]).parent.mkdir(parents=True, exist_ok=True)
        (root / match[1]).write_text(block)
    else:
        raise ValueError(f"nobody knows where this belongs: {sentence!r}")


def edit_config(path, removed=(), put=None):
    """Remove and replace settings of a config, those inside others by MONAI's ids."""
    config = json.loads(Path(path).read_text())
    for name in removed:
        *above, last = (int(key) if key.isdigit() else key for key in name.split("#"))
        node = config
        for key in above:
            node = node[key]
        del node[last]
    path.write_text(json.dumps(config | (put or {}), indent=4) + "\n")
