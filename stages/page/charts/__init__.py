"""The page's figures (Altair charts), their theme, their SVG files and their text alternatives."""
