"""Which checkpoint a run goes on from, and whether what it holds belongs to the run."""
