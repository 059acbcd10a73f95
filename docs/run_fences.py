"""An extension of Markdown for the site: `python run` fences, which the tests run, are Python fences."""

import re

from markdown import Extension, Markdown
from markdown.preprocessors import Preprocessor

BEFORE_FENCES = 30
"""The priority of the extension that reads fences is 25."""


class _RunFences(Preprocessor):
    def run(self, lines: list[str]) -> list[str]:
        return [re.sub(r"^(\s*```python) run$", r"\1", line) for line in lines]


class RunFences(Extension):
    def extendMarkdown(self, md: Markdown) -> None:  # noqa: N802 the name that Markdown calls
        md.preprocessors.register(_RunFences(md), "run-fences", BEFORE_FENCES)


def makeExtension(**options: object) -> RunFences:  # noqa: N802 the name that Markdown calls
    return RunFences(**options)
