"""What an answer's text means, and when two answers are equal. Imports nothing of this project from outside itself."""
