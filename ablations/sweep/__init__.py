"""How it runs: configurations into trainings, trainings onto hardware, results into records."""
