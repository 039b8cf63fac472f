"""Records, configuration and errors that every part shares. Imports nothing else of flprivacy."""
