"""What every room builds on: errors, files, hashes, params, progress, scratch. Imports nothing of the project."""
