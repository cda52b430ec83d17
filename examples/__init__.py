"""Small programs to begin with; each says in its first line how to run it."""
