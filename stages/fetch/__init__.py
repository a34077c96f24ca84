"""Downloads and their pins: the package index, the Hugging Face hub and GitHub. Only this room uses the network."""
