"""Other backbones with the features and the arguments of CAS-ViT, to compare it with."""
