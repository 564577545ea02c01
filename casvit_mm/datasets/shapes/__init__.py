"""Generated datasets, which need no download and train in minutes."""
