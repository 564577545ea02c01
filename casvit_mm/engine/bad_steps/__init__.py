"""Steps in which numbers are not finite: kept out of the model, stored, and replayed."""
