"""Training: the pure step, epochs of it, the loop with its checkpoints, and the run directory."""

from gen_jax.train.checkpoint import restore_best, restore_latest, save_checkpoint, saved_epochs
from gen_jax.train.game_step import GameLoss, init_game_state, make_game_step
from gen_jax.train.loop import NonFiniteError, fit
from gen_jax.train.metrics import METRICS_FILE, MetricsLog, read_metrics, summary_writer, write_json, write_whole
from gen_jax.train.optimizer import ScheduleName, adam, learning_rate_schedule
from gen_jax.train.run_directory import RESULT_FILE, open_run, read_config, read_result
from gen_jax.train.step import (
    Loss,
    TrainState,
    batch_mean,
    evaluation_params,
    init_state,
    make_step,
    scan_epoch,
    steps_per_epoch,
    stream_epoch,
)

__all__ = [
    "METRICS_FILE",
    "RESULT_FILE",
    "GameLoss",
    "Loss",
    "MetricsLog",
    "NonFiniteError",
    "ScheduleName",
    "TrainState",
    "adam",
    "batch_mean",
    "evaluation_params",
    "fit",
    "init_game_state",
    "init_state",
    "learning_rate_schedule",
    "make_game_step",
    "make_step",
    "open_run",
    "read_config",
    "read_metrics",
    "read_result",
    "restore_best",
    "restore_latest",
    "save_checkpoint",
    "saved_epochs",
    "scan_epoch",
    "steps_per_epoch",
    "stream_epoch",
    "summary_writer",
    "write_json",
    "write_whole",
]
