"""Training: the pure step, epochs of it, the loop with its checkpoints, `fit`, and the run directory."""

from gen_jax.train.checkpoint import restore_best, restore_latest, save_checkpoint, saved_epochs
from gen_jax.train.devices import Devices, devices_for, num_devices
from gen_jax.train.fit import PROGRAMS, SOME_STEPS, FitKeys, fit, fit_keys, on_stored, programs, start, validation
from gen_jax.train.game_step import make_game_step, staged_step
from gen_jax.train.hosts import LostProcessError, by_first, connect, is_first, lost_processes_told
from gen_jax.train.loop import CHECKPOINTS, Fitted, NonFiniteError, check_best_metric, check_epochs, run_epochs
from gen_jax.train.metrics import METRICS_FILE, PARTIAL, MetricsLog, read_metrics, summary_writer, write_json, write_whole
from gen_jax.train.optimizer import ScheduleName, adam, clip_weights, learning_rate_schedule, rmsprop
from gen_jax.train.run_directory import (
    CONFIG_FILE,
    LOCK_FILE,
    RESULT_FILE,
    folder_lock,
    list_runs,
    open_run,
    read_config,
    read_result,
    store_config,
)
from gen_jax.train.step import (
    Step,
    TrainState,
    batch_mean,
    decay_of_half_life,
    epoch_rows,
    evaluation_params,
    init_state,
    make_step,
    scan_batches,
    scan_epoch,
    steps_per_call,
    steps_per_epoch,
    stream_epoch,
    update_ema,
)
