"""docs/workloads.md says what is there, and its example runs."""

from __future__ import annotations

import re
from pathlib import Path

import harness.generators
from harness.workloads import WORKLOADS

NOT_GENERATORS = {"PENDING", "Completed", "Context", "Generator", "Pending", "Planned", "Step", "Stream", "worker_set"}
PAGE = (Path(__file__).parents[2] / "docs" / "workloads.md").read_text()


def test_every_workload_and_parameter_is_on_the_page() -> None:
    """With its default, as the code has it: in its own section, or where the parameters of all are."""
    sections = dict(re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL))
    for name, workload in WORKLOADS.items():
        said = sections[name] + sections["What every workload can be asked for"]
        for parameter, field in workload.Parameters.model_fields.items():
            row = re.search(rf"^\| `{parameter}` \| `?([^|`]+?)`? \|", said, re.MULTILINE)
            assert row is not None, f"{name}: parameter {parameter} is not on docs/workloads.md"
            assert row[1] == str(field.default)


def test_every_generator_is_on_the_page() -> None:
    """The vocabulary is complete: all functions that harness.generators offers."""
    words = set(harness.generators.__all__) - NOT_GENERATORS
    missing = {word for word in words if not re.search(rf"`{word}[`(]", PAGE)}
    assert not missing


def test_the_example_runs() -> None:
    """Its own assertions hold."""
    (example,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    exec(compile(example, "docs/workloads.md", "exec"), {"__name__": "example"})
