"""Reads datasets in the formats that annotation tools write."""
