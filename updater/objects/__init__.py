"""Objects: bytes under names, put and read whole, in a directory or an S3 bucket. Nothing is renamed or locked."""
