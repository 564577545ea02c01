"""The page on token mixers and other backbones, from records of ``casvit compare``."""
