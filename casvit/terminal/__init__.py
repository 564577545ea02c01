"""What commands show on the terminal: lines, warnings, a progress bar and tables of results."""
