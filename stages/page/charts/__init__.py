"""The page's figures (Altair), their theme, and their text alternatives."""
