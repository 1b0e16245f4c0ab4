"""What pre-training buys a recogniser of speech: none, in another language, in Japanese."""
