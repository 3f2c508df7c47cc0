"""Makes `format-N.npz`, a checkpoint of the format that charlm writes now; run once a format, for ever.

    PYTHONPATH=.:tests python tests/values/make_format.py

The training is that of `make_trainer` in `tests/conftest.py`, which resumes from the file in
`tests/test_checkpoint.py`: what it gave then it must give for ever.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from conftest import make_trainer

from charlm.runs import checkpoint

HERE = Path(__file__).parent

with tempfile.TemporaryDirectory() as directory:
    trainer = make_trainer(Path(directory), model__cell="gru", model__dropout=0.1, train__optimizer="adamw")
    for _ in range(5):
        trainer.update()
    checkpoint.save(HERE / f"format-{checkpoint.FORMAT}.npz", trainer.snapshot())
    print([round(trainer.update().loss, 4) for _ in range(3)])
