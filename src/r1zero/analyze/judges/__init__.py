"""Who says what a response is: words (`rubrics`), rules, and language models."""
