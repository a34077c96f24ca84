"""Downloads and their pins: the package index and the Hugging Face hub. Only this room uses the network."""
