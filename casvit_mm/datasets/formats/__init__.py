"""Reading datasets in the formats that labelling tools write."""
