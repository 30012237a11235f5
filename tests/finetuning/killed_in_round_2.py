"""Fine-tunes as it is told and kills itself, hard, once round 2 has a checkpoint and goes on behind it."""

from __future__ import annotations

import json
import os
import signal
import sys

from hf_cocondenser.finetuning.config import FinetuneConfig, MiningConfig
from hf_cocondenser.finetuning.finetune import finetune
from hf_cocondenser.finetuning.trainer import RetrieverTrainer


class Killed(RetrieverTrainer):
    """Dies in step 9; checkpoints stand at every sixth."""

    def training_step(self, *args, **kwargs):
        if "round2" in self.args.output_dir and self.state.global_step == 9:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().training_step(*args, **kwargs)


if __name__ == "__main__":
    import torch

    import hf_cocondenser.finetuning.training as training

    torch.set_num_threads(1)
    training.RetrieverTrainer = Killed
    checkpoint, data, output_dir, config, mining = json.loads(sys.argv[1])
    finetune(checkpoint, data, output_dir, FinetuneConfig(**config), MiningConfig(**mining))
