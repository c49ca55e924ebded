"""Boxes, regions and their losses: SSD, R-CNN, R-FCN, YOLO."""
