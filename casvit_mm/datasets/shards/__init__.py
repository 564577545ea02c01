"""Datasets in tar shards with an index, on this machine or another: written, and read by member."""
