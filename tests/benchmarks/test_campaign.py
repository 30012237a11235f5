"""The campaign of kills and damage, in its quick form; benchmarks/campaign.py has the long one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_no_kill_damage_or_second_process_gives_a_wrong_result_in_silence(tmp_path: Path):
    """Each trial ends with the undisturbed artefact, a refusal in one sentence, or a warning."""
    output = tmp_path / "campaign.json"
    command = [sys.executable, "-m", "benchmarks.campaign", "--trials", "1", "--output", str(output)]
    command += ["--commands", "prepare", "finetune"]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "PYTHONPATH": str(ROOT)}
    subprocess.run(command, cwd=ROOT, env=environment, check=True)
    result = json.loads(output.read_text())
    assert result["bad"] == []
    assert all(sum(counts.values()) for sections in result["counts"].values() for counts in sections.values())
