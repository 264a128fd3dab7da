"""What a user passes through: adapters, packed products, the decoder, maps to answers."""
