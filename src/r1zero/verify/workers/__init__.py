"""Graders in processes that can be killed: pool, process, program, and what runs in them beside our own rules."""
