"""What a report says, read from run directories: numbers, lengths, responses, groups of seeds."""
