"""What measures: how long a forward pass or a training step takes, and what that is to be held to.

Nothing here is imported with the package: the command ``casvit bench`` does.
"""
