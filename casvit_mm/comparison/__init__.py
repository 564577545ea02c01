"""Compares the token mixers of CAS-ViT and other backbones: cost, speed, receptive field.

Nothing here is imported with the package, only by the command ``casvit compare``.
"""
