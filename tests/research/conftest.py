"""The tiny collection and checkpoints of fine-tuning."""

from tests.finetuning.conftest import backbone_folder, beir_folder, t5_folder  # noqa: F401
