"""YOLO: one text file per image, in the layouts of Ultralytics, Roboflow, CVAT and darknet."""
