_base_ = './default_runtime.py'
default_scope = 'mmpretrain'

default_hooks = dict(visualization=dict(_delete_=True, type='VisualizationHook'))
custom_hooks = [dict(type='UnreadableFilesHook'), dict(type='PreviewHook')]
visualizer = dict(type='UniversalVisualizer')
