"""Small datasets with one trouble each, in a folder that CASVIT_TEST_DATA names."""

# The task for which each is checked.
TASKS = {
    **dict.fromkeys(
        (
            *('png_yolo', 'png_labelme', 'p_gif', 'bom', 'winpath', 'upperext', 'emptyall'),
            *('voc_space', 'voc12', 'lm_rot', 'y_bomcls', 'y_gbkcls', 'yolo_cvat'),
            *('yolo_valgone', 'yolo_otherlabels', 'yolo_obb', 'coco_kpt', 'coco_otherdir', 'lvis'),
        ),
        'detection',
    ),
    **dict.fromkeys(
        ('noarea', 'rlebytes', 'flatpoly', 'allcrowd', 'xyxy', 'dup', 'lm_special'), 'instance'
    ),
    **dict.fromkeys(('mmsegtut', 'city', 'ade', 'm_255', 'm_jpgnoname', 'rgbgray'), 'semantic'),
}
