"""What users had done by the ends of stages, and what updates of their texts are scored on."""
