# Faster training with the same recipe: add this file to the `_base_` of any config. The switches
# are documented in `casvit_mm.speed.training.TrainingSpeed`.
speed = dict(
    channels_last=True,
    fold_norms=True,
    fused_optimizer=True,
    # Compilation takes minutes, so it pays off in runs of hours.
    compile=False,
    # bf16 if the device is faster with it; on a CPU, a short measurement decides.
    precision='auto',
    # Keeps freed memory between steps instead of returning it to the system.
    keep_memory=True,
)
