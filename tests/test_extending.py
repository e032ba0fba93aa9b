"""The examples of docs/extending.md run."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

EXAMPLES = re.findall(
    r"```python\n(.*?)```", (Path(__file__).parent.parent / "docs" / "extending.md").read_text(), re.DOTALL
)


@pytest.mark.parametrize("example", EXAMPLES)
def test_examples_run(example: str) -> None:
    """Each block of code on the page is executed; its own assertions hold."""
    exec(compile(example, "docs/extending.md", "exec"), {"__name__": "example"})
