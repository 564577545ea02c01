"""Parts of the reader of images with semantic masks: names of classes, lists, layouts."""
