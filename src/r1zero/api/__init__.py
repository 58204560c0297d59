"""The face for programs: runs, evaluations and samples of what a program holds, by the same engine as the commands."""
