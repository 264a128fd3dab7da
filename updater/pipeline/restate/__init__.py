"""Recompute what rests on partitions that were rewritten after they had been processed."""
