"""What the longer commands do; each is one readable workflow."""
