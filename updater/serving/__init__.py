"""Questions about users over HTTP, beside Feast's own server of features."""
