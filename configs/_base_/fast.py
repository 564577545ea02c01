# Faster training, the same recipe: one more line in the `_base_` of any config. What each switch
# does is told by `casvit_mm.speed.training.TrainingSpeed`.
speed = dict(
    channels_last=True,
    fold_norms=True,
    fused_optimizer=True,
    # Pays for its minutes of compilation in runs of hours.
    compile=False,
    # bf16 where the device is faster in it, which of a CPU a short measurement tells.
    precision='auto',
    # Between steps too, instead of handing it back to the system.
    keep_memory=True,
)
