"""The page about speed."""
