"""What the scripts in the folder above share. Imports nothing from there but `classifier`."""
