"""Alerts name figures that exist, entries of the runbook that exist, and fire when they should."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from node_offline import offline_node

PROMETHEUS = Path(__file__).parents[2] / "deploy" / "prometheus"
RULES: list[dict[str, Any]] = [
    rule
    for group in yaml.safe_load((PROMETHEUS / "alerts.yml").read_text())["groups"]
    for rule in group["rules"]
]


@pytest.fixture(scope="module")
def figures(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """The names of all series of a node."""
    node = offline_node(tmp_path_factory.mktemp("node"))
    try:
        text = node.metrics.text().decode()
    finally:
        node.stop()
    kinds = dict(re.findall(r"^# TYPE (\w+) (\w+)$", text, re.MULTILINE))
    histograms = {
        name + end
        for name, kind in kinds.items()
        if kind == "histogram"
        for end in ("_bucket", "_sum", "_count")
    }
    return set(kinds) | histograms


def test_alerts_ask_only_for_figures_that_a_node_has(figures: set[str]) -> None:
    asked = {name for rule in RULES for name in re.findall(r"\bphr_\w+", rule["expr"])}
    assert len(asked) >= 5
    assert asked <= figures


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_alert_has_a_severity_a_summary_and_an_entry_of_the_runbook(rule: dict[str, Any]) -> None:
    assert rule["labels"]["severity"] in {"page", "ticket"}
    assert rule["annotations"]["summary"]
    file, anchor = rule["annotations"]["runbook"].split("#")
    text = (PROMETHEUS.parents[1] / file).read_text()
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    assert anchor in {_anchor(heading) for heading in headings}


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not on this machine")
def test_alerts_fire_when_they_should() -> None:
    done = subprocess.run(
        ["promtool", "test", "rules", "alerts.test.yml"],
        cwd=PROMETHEUS,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def _anchor(heading: str) -> str:
    kept = re.sub(r"[^\w\- ]", "", heading.strip().lower())
    return kept.replace(" ", "-")
