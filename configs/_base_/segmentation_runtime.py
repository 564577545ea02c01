_base_ = './default_runtime.py'
default_scope = 'mmseg'

default_hooks = dict(
    logger=dict(log_metric_by_epoch=False),
    checkpoint=dict(by_epoch=False, interval=4000, save_best='mIoU'),
    visualization=dict(_delete_=True, type='SegVisualizationHook'),
)
custom_hooks = [
    dict(type='LabelRangeHook'),
    dict(type='UnreadableFilesHook'),
    dict(type='PreviewHook'),
]
visualizer = dict(type='SegLocalVisualizer', alpha=0.5)
log_processor = dict(by_epoch=False)
