"""Commands about textual profiles as such; those about one user's are among the commands about users."""
