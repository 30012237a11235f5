"""Fine-tunes as it is told and kills itself, hard: in round 2, behind a checkpoint, or in mining, with the hits at hand."""

from __future__ import annotations

import json
import os
import signal
import sys

from hf_cocondenser.finetuning.finetune import finetune
from hf_cocondenser.finetuning.trainer import RetrieverTrainer


class Killed(RetrieverTrainer):
    """Dies in step 9; checkpoints stand at every sixth."""

    def training_step(self, *args, **kwargs):
        if "round2" in self.args.output_dir and self.state.global_step == 9:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().training_step(*args, **kwargs)


def die(*args, **kwargs):
    """Stands in for the audit of what was mined, which comes before anything of it is written."""
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    import torch

    import hf_cocondenser.finetuning.negatives.mining as mining_step
    import hf_cocondenser.finetuning.training as training

    torch.set_num_threads(1)
    checkpoint, data, output_dir, config, mining, where = json.loads(sys.argv[1])
    if where == "round2":
        training.RetrieverTrainer = Killed
    else:
        mining_step.audit_pool = die
    finetune(checkpoint, data, output_dir, **config, **mining)
