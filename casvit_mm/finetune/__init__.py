"""Fine-tuning on one's own data: the plan, its config, and the batch that fits into memory."""
