"""The look at the data of a config that every run starts with."""
