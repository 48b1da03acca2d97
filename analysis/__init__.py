"""The paper's tables and figures from a workspace: `python -m analysis.NAME --workspace runs`."""
