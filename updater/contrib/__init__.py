"""What the product can do without: readers of formats that one source of weights happens to have."""
