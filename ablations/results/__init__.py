"""What came out: trial folders into frames, deltas, verdicts, tables, figures and reports."""
