"""Reading data sets in the formats that labelling tools write."""
