"""Why a user's embedding is what it is: what changes when something is left out."""
