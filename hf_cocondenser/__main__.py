"""`python -m hf_cocondenser` is `hf-cocondenser`; `torchrun -m hf_cocondenser pretrain ...` needs it."""

import sys

from hf_cocondenser.cli.main import main

sys.exit(main())
