"""A plain model of the laws, and random transitions on a real Redis compared with it after each step."""
