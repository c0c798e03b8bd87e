"""A callback for tests: the process is killed, as by a power cut, where KILL_AT="epoch,batch" says.

KILL_BY="SIGTERM" sends another signal than SIGKILL.
"""

import os
import signal

import pytorch_lightning as pl


class KillAt(pl.Callback):
    """Sends a signal to its own process after a batch; does nothing where KILL_AT is not set."""

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        """Kills."""
        if os.environ.get("KILL_AT") == f"{trainer.current_epoch},{batch_idx}":
            os.kill(os.getpid(), signal.Signals[os.environ.get("KILL_BY", "SIGKILL")])
