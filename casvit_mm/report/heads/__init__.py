"""The page of the heads that work with CAS-ViT."""
