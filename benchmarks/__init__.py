"""Side-by-side timings and simulations: each one command."""
