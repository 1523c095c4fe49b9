"""A live microphone, what is seen of it, and what is done when a keyword is heard."""
