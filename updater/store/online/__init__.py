"""What all online stores share: order of writes, encoded values, batched reads, erasure."""
