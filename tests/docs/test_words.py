"""Words that read as if translated stay out of comments, docstrings, messages, help texts and pages.

A phrase that is right in its place can be written in another way; there are no exceptions to maintain.
"""

import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = (ROOT / "zart_redis", ROOT / "workers", ROOT / "docs")
FILES = sorted(
    [path for folder in FOLDERS for path in folder.rglob("*") if path.suffix in (".py", ".lua", ".md")]
    + [*ROOT.glob("*.md")]
)
FORBIDDEN = {
    r"\banswers\b(?! the)|\banswers? (?:how|whether|if|with|its)\b": "returns",
    r"\bgo(?:es)? on\b|\bgoing on\b": "continue",
    r"\bof (?:its|their|his|her) own\b": "its own ..., a separate ..., a private ...",
    r"\b(?:that|what|which|it|one) (?:is|are) (?-i:none)\b|\b(?:status|run|scope|fence) is none\b": "say what is wrong",
    r"\btold\b": "notified, given",
    r"\btells? (?:what|how|which|where|whether|why|of|to|that|more)\b": "says, shows, reports",
    r"\banew\b": "again",
    r"\bfor ever\b": "forever",
    r"\bput(?:s|ting)? (?:off|away)\b": "postpone, close, stop",
    r"\bby that\b": "with it",
    r"\bwhoever\b": "the caller, the process that",
    r"\bstands? (?:for|in|behind|between|still|where)\b": "is, represents, means",
    r"\b(?:it|one|record|result|values?) stands?\b": "is kept, counts",
    r"\bupon\b": "on",
    r"\bat hand\b": "available",
    r"\ball in\b": "in total",
    r"\bso much is\b": "leave it out",
    r"\bbeside\b": "next to, with, compared with",
    r"\b(?:doom(?:ed)?|insist|poke|facets?|bury|let go)\b": "the term of the glossary",
    r"\b(?:lest|whence|thereby|hence|albeit|nought|aught)\b": "plain words",
    r"\bis wanted\b|\bare wanted\b": "expected ...",
    r"\bin its hands\b": "holds, runs",
    r"\bforth and back\b": "back and forth",
}


def texts_of(path: Path) -> Iterator[str]:
    """What people read in a file: comments and strings of code, pages without their code."""
    source = path.read_text()
    if path.suffix == ".md":
        yield re.sub(r"^```.*?^```$", "", source, flags=re.MULTILINE | re.DOTALL)
    elif path.suffix == ".lua":
        yield from re.findall(r"--.*|'[^'\n]*'|\"[^\"\n]*\"", source)
    else:
        kinds = {tokenize.COMMENT, tokenize.STRING, getattr(tokenize, "FSTRING_MIDDLE", tokenize.STRING)}
        tokens = tokenize.generate_tokens(io.StringIO(source).readline)
        yield from (token.string for token in tokens if token.type in kinds)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_file_reads_idiomatically(path: Path) -> None:
    found = []
    for text in texts_of(path):
        line = " ".join(text.split())
        for phrase, instead in FORBIDDEN.items():
            found += [
                f"{line[max(match.start() - 40, 0) : match.end() + 20]!r}: {instead}"
                for match in re.finditer(phrase, line, re.IGNORECASE)
            ]
    assert not found, "\n".join(found)
