"""What comes in: image files, videos and folders, tiles of large images, batches of one size."""
