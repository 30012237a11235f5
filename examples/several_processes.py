"""Pre-train with several processes: every span is contrasted with the spans of all of them.

    torchrun --nproc-per-node 2 examples/several_processes.py spans --model bert-base-uncased --output-dir runs/cocondenser

The result does not depend on their number: 2 processes with 64 documents each take the step of one process with 128.
"""

import argparse

from transformers import AutoTokenizer

from hf_cocondenser import CondenserForPreTraining, CondenserTrainer, CondenserTrainingArguments, SpanDataset

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument(
    "spans", help="folder that `hf-cocondenser prepare` or prepare_spans wrote, with held-out documents"
)
parser.add_argument("--model", default="bert-base-uncased")
parser.add_argument("--output-dir", default="runs/cocondenser")
parser.add_argument("--batch-size", type=int, default=128, help="documents of all processes together")
parser.add_argument("--max-steps", type=int, default=1000)
options = parser.parse_args()

args = CondenserTrainingArguments(options.output_dir, max_steps=options.max_steps, logging_steps=10)
args.per_device_train_batch_size = args.per_device_eval_batch_size = options.batch_size // args.world_size
trainer = CondenserTrainer(
    model=CondenserForPreTraining.from_backbone(options.model),
    args=args,
    train_dataset=SpanDataset(options.spans, pairs=True),
    eval_dataset=SpanDataset(options.spans, pairs=True, split="evaluation"),
    processing_class=AutoTokenizer.from_pretrained(options.model),
)
trainer.train()
metrics = trainer.evaluate()
trainer.save_model()  # the first process writes
if trainer.is_world_process_zero():
    print(f"{args.world_size} processes: held-out loss {metrics['eval_loss']:.3f}")
trainer.leave_process_group()
